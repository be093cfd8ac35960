// Who is asked for what now.
#include <algorithm>
#include <tuple>
#include <utility>

#include "scheduler/download_state.h"
#include "scheduler/piece_runs.h"

namespace shardswarm {
namespace {

// Beyond the round trip: what the other side needs to read the piece and get its turn.
constexpr Duration kSlack = std::chrono::milliseconds(20);
// An offer whose peer claimed nothing for this long does not block the window: all of it may be
// leased to others.
constexpr Duration kOfferQuiet = std::chrono::milliseconds(100);
constexpr Duration kOfferUnmeasured = std::chrono::seconds(1);
// 8 nodes, 400 Mbit/s, 1.1 GB: with 4, 8, 16 times the source sends 1.03, 1.021, 1.015 copies.
constexpr int kQuietIntervals = 16;
// After this long the two sides count credit differently, or a message went astray between them.
constexpr Duration kOfferRenewed = std::chrono::seconds(2);
constexpr std::size_t kPiecesAheadMin = 2;
// In order: what is offered ahead of the credit, in windows of each peer.
constexpr std::uint64_t kWindowsOffered = 4;
// Up to so many pieces are looked at one by one.
constexpr std::uint32_t kFewPullable = 64;
// A far peer is asked for what near ones hold when they all are busy and bring together less than
// this part of what it brings; while its rate is not known, once it has been here for so long: what
// it is asked until then is little.
constexpr double kNearRateShare = 0.25;
constexpr Duration kFarUnmeasured = std::chrono::seconds(5);
constexpr Duration kLateMin = std::chrono::milliseconds(500);

std::vector<PieceRun> runs_of(std::vector<PieceIndex> pieces) {
  std::sort(pieces.begin(), pieces.end());
  pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
  std::vector<PieceRun> runs;
  for (const PieceIndex piece : pieces) append(runs, piece);
  return runs;
}

}  // namespace

std::uint64_t DownloadScheduler::Impl::window(const Peer& peer) const {
  if (peer.snubbed) return options_.window_bytes_min;
  const double rate = peer.rate.bytes_per_second();
  if (rate == 0) return std::min(4 * options_.window_bytes_min, options_.window_bytes_max);
  const double seconds = std::chrono::duration<double>(peer.rtt + kSlack).count();
  const auto bytes = static_cast<std::uint64_t>(std::min(rate * seconds, 1e15));
  return std::clamp(bytes, options_.window_bytes_min, options_.window_bytes_max);
}

Time DownloadScheduler::Impl::late_at(const Peer& peer, const Asked& asked) const {
  const double rate = peer.rate.bytes_per_second();
  const double seconds = rate == 0 ? 0 : 2 * static_cast<double>(peer.outstanding) / rate;
  return asked.since + peer.rtt +
         std::max(kLateMin, std::chrono::duration_cast<Duration>(
                                std::chrono::duration<double>(std::min(seconds, 3600.0))));
}

// Silence while we did not read says nothing about the peers.
void DownloadScheduler::Impl::forgive_pause(Time now) {
  if (!paused_ && !std::exchange(resumed_, false)) return;
  for (auto& [key, peer] : peers_) forgive(peer, now);
}

// A source that serves others, too, comes back after a while: so many times what it took so far.
Duration DownloadScheduler::Impl::quiet(const Peer& peer) const {
  const Duration usual =
      peer.claim_interval == Duration{} ? kOfferUnmeasured : kQuietIntervals * peer.claim_interval;
  return std::max(std::clamp(usual, kOfferQuiet, kOfferRenewed), 2 * peer.rtt);
}

bool DownloadScheduler::Impl::offers_flow(const Peer& peer, Time now) const {
  return now - peer.last_claim < quiet(peer);
}

// Credit does not count: what was given to each of many peers may be used by few of them.
std::uint64_t DownloadScheduler::Impl::room_in_all() const {
  const double rate = rate_.bytes_per_second();
  const double bytes = rate * std::chrono::duration<double>(options_.in_all).count();
  std::uint64_t most = std::max(options_.in_all_bytes_min, static_cast<std::uint64_t>(bytes));
  if (options_.outstanding_bytes_max != 0) most = std::min(most, options_.outstanding_bytes_max);
  if (outstanding_ < most) return most - outstanding_;
  if (options_.outstanding_bytes_max != 0 || rate == 0) return 0;
  // Of a slow peer no more counts than it brings in the time in which all together bring `most`:
  // what it owes beyond that comes late, and must not keep the others waiting.
  const double seconds = static_cast<double>(most) / rate;
  std::uint64_t used = 0;
  for (const auto& [key, peer] : peers_) {
    if (peer.snubbed) continue;
    const double soon = peer.rate.bytes_per_second() * seconds;
    used +=
        soon == 0 ? peer.outstanding : std::min(peer.outstanding, static_cast<std::uint64_t>(soon));
  }
  return most - std::min(used, most);
}

void DownloadScheduler::Impl::check_stalls(Time now) {
  if (now < stalls_due_) return;
  stalls_due_ = now + options_.stall;  // of who is asked from now on; bytes only defer the others
  for (auto& [key, peer] : peers_) {
    if (peer.asked.empty()) continue;
    if (now - peer.last_byte < options_.stall) {
      stalls_due_ = std::min(stalls_due_, peer.last_byte + options_.stall);
      continue;
    }
    for (const auto& [piece, asked] : peer.asked) note_withdraw(key, piece);
    peer.snubbed = true;
    peer.last_byte = now;
    // Others first: from this one again only after the retry time.
    while (!peer.asked.empty()) {
      const PieceIndex piece = peer.asked.begin()->first;
      peer.refused[piece] = now + options_.retry;
      release(key, peer, piece);
    }
    if (peer.near) near_gave_way();
  }
}

void DownloadScheduler::Impl::expire_refusals(Peer& peer, Time now) {
  for (auto it = peer.refused.begin(); it != peer.refused.end();) {
    if (it->second > now) {
      ++it;
      continue;
    }
    const PieceIndex piece = it->first;
    it = peer.refused.erase(it);
    peer.exhausted = false;
    const bool only_here = to_be_offered(holders_[piece.value]) && peer.have.contains(piece);
    if (only_here && state(piece) == State::kOpen) peer.offerable.insert(piece);
  }
}

// Out of order, all that may be; in order, the first of it: enough for each of our peers to be
// given another part of it by the same uploader.
PieceSet DownloadScheduler::Impl::to_offer(const Peer& peer, std::uint64_t room) const {
  if (!options_.rank) return peer.offerable;
  const auto bytes_of = [this](const PieceSet& pieces) {
    std::uint64_t bytes = 0;
    pieces.for_each([&](PieceIndex piece) { bytes += bytes_(piece); });
    return bytes;
  };
  const std::uint64_t ahead = kWindowsOffered * room * (peers_.size() + 1);
  std::uint64_t offered = bytes_of(peer.offered);
  PieceSet next(peer.offerable.size());
  if (offered >= ahead / 2) return next;
  std::vector<std::pair<std::uint32_t, PieceIndex>> by_rank;
  peer.offerable.for_each(
      [&](PieceIndex piece) { by_rank.emplace_back(options_.rank(piece), piece); });
  std::sort(by_rank.begin(), by_rank.end());
  for (const auto& [rank, piece] : by_rank) {
    if (offered >= ahead) break;
    next.insert(piece);
    offered += bytes_(piece);
  }
  return next;
}

void DownloadScheduler::Impl::offer(PeerKey key, Peer& peer, Time now, Decision& decision) {
  if (peer.banned || (peer.offerable.empty() && peer.offered.empty())) return;
  // No claim is in sight when the other side counts credit differently than we do, be it for a
  // message that crossed ours: what was offered is offered again.
  const bool quiet = now - std::max(peer.last_claim, peer.renewed) >= kOfferRenewed;
  const bool renew = quiet && peer.outstanding == 0 && !peer.offered.empty();
  if (renew) {
    peer.renewed = now;
    peer.credit = 0;
    peer.offered.for_each([this](PieceIndex piece) { set(piece, State::kOpen); });
    peer.offerable |= peer.offered;
    peer.offered.clear();
  }
  const std::uint64_t room = window(peer);
  const std::uint64_t used = peer.outstanding + peer.credit;
  // More credit in portions: one message for a quarter of the window, not one a piece.
  const bool starved = peer.outstanding == 0 && peer.credit == 0;
  const bool refill = starved || used + std::max<std::uint64_t>(room / 4, 1) <= room;
  if (peer.offerable.empty() && !refill) return;
  const PieceSet further = to_offer(peer, room);
  if (further.empty() && !refill) return;
  Ask ask{.peer = key, .pieces = further.runs(), .credit_bytes = 0, .any = true};
  further.for_each([this](PieceIndex piece) { set(piece, State::kOffered); });
  peer.offered |= further;
  peer.offerable -= further;
  if (used < room) ask.credit_bytes = std::min(room - used, room_);
  if (starved) ask.credit_bytes = std::max<std::uint64_t>(ask.credit_bytes, 1);  // a piece
  if (peer.credit == 0 && !renew) peer.last_claim = now;  // else it might never seem quiet
  peer.credit += ask.credit_bytes;
  room_ -= std::min(room_, ask.credit_bytes);
  decision.ask.push_back(std::move(ask));
}

// Whether a near peer may be asked for it, now or when its window has room.
bool DownloadScheduler::Impl::near_answers(PieceIndex piece) const {
  return std::ranges::any_of(peers_, [piece](const auto& entry) {
    const Peer& peer = entry.second;
    return peer.near && !peer.banned && !peer.snubbed && peer.have.contains(piece) &&
           !peer.refused.contains(piece);
  });
}

// `past_near`: also what near peers hold.
std::optional<PieceIndex> DownloadScheduler::Impl::next_pull(Peer& peer, bool past_near) const {
  if (!past_near) peer.left_to_near = false;
  const auto usable = [&](PieceIndex piece) {
    if (!peer.have.contains(piece) || peer.refused.contains(piece)) return false;
    if (peer.near || past_near || !near_answers(piece)) return true;
    peer.left_to_near = true;
    return false;
  };
  // One in so many of the order is this peer's: found at once, by and large.
  if (peer.pullable > kFewPullable) return order_.find(usable);
  std::optional<PieceIndex> best;
  const auto have = peer.have.words();
  const auto open = pullable_.words();
  for (std::size_t w = 0; w < open.size(); ++w) {
    for (std::uint64_t bits = have[w] & open[w]; bits != 0; bits &= bits - 1) {
      const PieceIndex piece(static_cast<std::uint32_t>(w * 64) +
                             static_cast<std::uint32_t>(std::countr_zero(bits)));
      if (!usable(piece)) continue;
      if (!best || order_.before(piece, *best)) best = piece;
    }
  }
  return best;
}

// Whether its window has room for another pull.
bool DownloadScheduler::Impl::pulls(const Peer& peer, Time now) const {
  return !peer.exhausted && may_pull(peer, now);
}

// The same, whether or not there is a piece for it.
bool DownloadScheduler::Impl::may_pull(const Peer& peer, Time now) const {
  if (peer.banned || peer.pullable == 0) return false;
  const bool flows = offers_flow(peer, now);
  // What others have is asked of others while this one gives what nobody else can.
  if (flows && !(peer.offered.empty() && peer.offerable.empty())) return false;
  const std::uint64_t credit = flows ? peer.credit : 0;
  return peer.outstanding + credit < window(peer) ||
         (credit == 0 && peer.asked.size() < kPiecesAheadMin);
}

// What near peers bring together that hold something to be pulled; nothing while one of them could
// be asked for more, or its rate is not known.
std::optional<double> DownloadScheduler::Impl::near_rate(Time now) const {
  double all = 0;
  for (const auto& [key, peer] : peers_) {
    if (!peer.near || peer.banned || peer.snubbed || peer.pullable == 0) continue;
    const double rate = peer.rate.bytes_per_second();
    if (rate == 0 || pulls(peer, now)) return std::nullopt;
    all += rate;
  }
  return all;
}

// One piece after the other, from the peer that owes least: what is asked of a busy one comes late.
// Peers that deliver are asked before those that were silent, and sources after those that fetch
// themselves: what these have they pass on for nothing, the uplinks of sources are the dearest.
void DownloadScheduler::Impl::pull_from(std::vector<std::pair<PeerKey, Peer*>> free, bool past_near,
                                        Time now, Pulled& pulled) {
  while (room_ > 0 && !free.empty()) {
    const auto least = std::min_element(free.begin(), free.end(), [](const auto& a, const auto& b) {
      return std::tuple(a.second->snubbed, a.second->source, a.second->outstanding) <
             std::tuple(b.second->snubbed, b.second->source, b.second->outstanding);
    });
    auto& [key, peer] = *least;
    const auto piece = next_pull(*peer, past_near);
    if (piece) {
      make_unpullable(*piece);
      add_asked(*peer, *piece, bytes_(*piece), now).pulled = true;
      room_ -= std::min<std::uint64_t>(room_, bytes_(*piece));
      pulled[key].push_back(*piece);
      last_pull_ = key;
    } else if (past_near) {
      peer->left_to_near = false;
    } else {
      peer->exhausted = true;
    }
    if (!piece || !may_pull(*peer, now)) free.erase(least);
  }
}

void DownloadScheduler::Impl::pull(Time now, Decision& decision) {
  std::vector<std::pair<PeerKey, Peer*>> free;
  for (auto it = peers_.upper_bound(last_pull_); it != peers_.end(); ++it) {
    if (pulls(it->second, now)) free.emplace_back(it->first, &it->second);
  }
  for (auto it = peers_.begin(); it != peers_.end() && it->first <= last_pull_; ++it) {
    if (pulls(it->second, now)) free.emplace_back(it->first, &it->second);
  }
  Pulled pulled;
  pull_from(std::move(free), false, now, pulled);
  if (const auto near = room_ > 0 ? near_rate(now) : std::nullopt) {
    free.clear();
    for (auto& [key, peer] : peers_) {
      if (!peer.exhausted || !peer.left_to_near || peer.snubbed || !may_pull(peer, now)) continue;
      const double rate = peer.rate.bytes_per_second();
      const bool faster =
          rate == 0 ? now - peer.since >= kFarUnmeasured : *near < kNearRateShare * rate;
      if (faster) free.emplace_back(key, &peer);
    }
    pull_from(std::move(free), true, now, pulled);
  }
  for (auto& [key, pieces] : pulled) {
    decision.ask.push_back(
        {.peer = key, .pieces = runs_of(std::move(pieces)), .credit_bytes = 0, .any = false});
  }
}

// Nothing is left to be asked for: who owes nothing takes over from who owes most.
void DownloadScheduler::Impl::take_over(Time now, Decision& decision) {
  if (!in_endgame()) return;
  for (auto& [key, peer] : peers_) {
    if (peer.banned || peer.snubbed || peer.outstanding > 0) continue;
    std::pair<PeerKey, Peer*> most{};
    PieceIndex last;  // asked of it last: its turn is the furthest
    for (auto& [other, from] : peers_) {
      if (from.asked.size() < 2) continue;  // else to and fro
      if (most.second != nullptr && from.outstanding <= most.second->outstanding) continue;
      Time since{};
      for (const auto& [piece, asked] : from.asked) {
        // What was asked just now would be cancelled before it is asked for.
        const bool waits = asked.pulled && !asked.claimed && asked.since != now;
        if (!waits || !peer.have.contains(piece) || peer.refused.contains(piece)) continue;
        if (most.second == &from && asked.since < since) continue;
        most = {other, &from};
        last = piece;
        since = asked.since;
      }
    }
    if (most.second == nullptr) continue;
    note_unasked(most.first, last);
    drop_asked(*most.second, most.second->asked.find(last));
    add_asked(peer, last, bytes_(last), now).pulled = true;
    decision.ask.push_back({.peer = key, .pieces = {{last, 1}}, .credit_bytes = 0, .any = false});
  }
}

bool DownloadScheduler::Impl::in_endgame() const {
  if (missing_ == 0 || order_.size() > 0) return false;
  return std::all_of(peers_.begin(), peers_.end(), [](const auto& entry) {
    return entry.second.offered.empty() && entry.second.offerable.empty();
  });
}

void DownloadScheduler::Impl::endgame(Time now, Decision& decision) {
  if (!in_endgame()) return;
  for (auto& [key, peer] : peers_) {
    for (const auto& [piece, asked] : peer.asked) {
      if (late_at(peer, asked) > now) continue;
      // At most two askers a piece; the further one must be free.
      std::size_t askers = 0;
      PeerKey other_key;
      Peer* other = nullptr;
      for (auto& [candidate_key, candidate] : peers_) {
        askers += candidate.asked.contains(piece) ? 1U : 0U;
        if (candidate.asked.contains(piece) || !candidate.have.contains(piece) ||
            candidate.refused.contains(piece) || candidate.outstanding >= window(candidate)) {
          continue;
        }
        if (other == nullptr || candidate.outstanding < other->outstanding) {
          other = &candidate;
          other_key = candidate_key;
        }
      }
      if (askers > 1 || other == nullptr) continue;
      add_asked(*other, piece, bytes_(piece), now).pulled = true;
      decision.ask.push_back(
          {.peer = other_key, .pieces = {{piece, 1}}, .credit_bytes = 0, .any = false});
    }
  }
}

Decision DownloadScheduler::Impl::decide(Time now) {
  Decision decision;
  if (!undecided_ && (!deadline_ || now < *deadline_)) return decision;
  decided_ = now;
  forgive_pause(now);
  check_stalls(now);
  if (!paused_) {
    room_ = room_in_all();
    for (auto& [key, peer] : peers_) {
      if (peer.banned) continue;
      expire_refusals(peer, now);
      offer(key, peer, now, decision);
    }
    pull(now, decision);
    take_over(now, decision);
    endgame(now, decision);
  }
  for (auto& [key, pieces] : withdraw_) {
    decision.withdraw.push_back({.peer = key, .pieces = runs_of(std::move(pieces))});
  }
  withdraw_.clear();
  for (auto& [key, pieces] : unasked_) {
    decision.withdraw.push_back(
        {.peer = key, .pieces = runs_of(std::move(pieces)), .unclaimed = true});
  }
  unasked_.clear();
  undecided_ = false;
  deadline_ = find_deadline();
  return decision;
}

std::optional<Time> DownloadScheduler::Impl::find_deadline() const {
  std::optional<Time> next;
  const auto at = [&](Time due) {
    if (due > decided_ && (!next || due < *next)) next = due;  // earlier ones were dealt with
  };
  if (paused_) return next;
  const bool ending = in_endgame();
  for (const auto& [key, peer] : peers_) {
    if (!peer.asked.empty()) at(peer.last_byte + options_.stall);
    if (peer.outstanding == 0 && !peer.offered.empty()) {
      at(std::max(peer.last_claim, peer.renewed) + kOfferRenewed);
    }
    for (const auto& [piece, until] : peer.refused) at(until);
    // Pulls that wait for an offer to fall quiet.
    if (peer.pullable > 0 && !peer.exhausted && offers_flow(peer, decided_)) {
      at(peer.last_claim + quiet(peer));
    }
    if (!ending) continue;
    for (const auto& [piece, asked] : peer.asked) {
      at(late_at(peer, asked));
    }
  }
  return next;
}

}  // namespace shardswarm
