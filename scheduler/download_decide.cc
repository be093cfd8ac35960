// Who is asked for what now.
#include <algorithm>
#include <utility>

#include "scheduler/download_state.h"

namespace shardswarm {
namespace {

// Beyond the round trip: what the other side needs to read the piece and get its turn.
constexpr Duration kSlack = std::chrono::milliseconds(20);
// An offer whose peer claimed nothing for this long does not block the window: all of it may be
// leased to others.
constexpr Duration kOfferQuiet = std::chrono::milliseconds(100);
// After this long the two sides count credit differently, or a message went astray between them.
constexpr Duration kOfferRenewed = std::chrono::seconds(2);
constexpr std::size_t kPiecesAheadMin = 2;
constexpr Duration kLateMin = std::chrono::milliseconds(500);

std::vector<PieceRun> runs_of(std::vector<PieceIndex> pieces) {
  std::sort(pieces.begin(), pieces.end());
  pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
  std::vector<PieceRun> runs;
  for (const PieceIndex piece : pieces) {
    if (!runs.empty() && runs.back().first.value + runs.back().count == piece.value) {
      ++runs.back().count;
    } else {
      runs.push_back({piece, 1});
    }
  }
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
  for (auto& [key, peer] : peers_) {
    peer.last_byte = std::max(peer.last_byte, now);
    for (auto& [piece, asked] : peer.asked) asked.since = std::max(asked.since, now);
  }
}

void DownloadScheduler::Impl::check_stalls(Time now) {
  for (auto& [key, peer] : peers_) {
    if (peer.asked.empty() || now - peer.last_byte < options_.stall) continue;
    for (const auto& [piece, asked] : peer.asked) note_withdraw(key, piece);
    peer.snubbed = true;
    peer.last_byte = now;
    // Others first: from this one again only after the retry time.
    while (!peer.asked.empty()) {
      const PieceIndex piece = peer.asked.begin()->first;
      peer.refused[piece] = now + options_.retry;
      release(key, peer, piece);
    }
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
    ++epoch_;
    if (state(piece) == State::kOpen && holders_[piece.value] == 1 && peer.have.contains(piece)) {
      peer.offerable.insert(piece);
    }
  }
}

void DownloadScheduler::Impl::offer(PeerKey key, Peer& peer, Time now, Decision& decision) {
  if (peer.offerable.empty() && peer.offered.empty()) return;
  // No claim is in sight when the other side counts credit differently than we do, be it for a
  // message that crossed ours: what was offered is offered again.
  const bool quiet = now - peer.last_claim >= kOfferRenewed;
  if (quiet && peer.outstanding == 0 && !peer.offered.empty()) {
    peer.credit = 0;
    peer.offerable |= peer.offered;
  }
  const std::uint64_t room = window(peer);
  const std::uint64_t used = peer.outstanding + peer.credit;
  // More credit in portions: one message for a quarter of the window, not one a piece.
  // But what is left may be too little for any of the pieces: then nothing would ever come.
  const bool starved = peer.outstanding == 0 && peer.credit < limits::kPieceBytesMax;
  const bool refill = starved || used + std::max<std::uint64_t>(room / 4, 1) <= room;
  if (peer.offerable.empty() && !refill) return;
  Ask ask{.peer = key, .pieces = peer.offerable.runs(), .credit_bytes = 0, .any = true};
  peer.offerable.for_each([this](PieceIndex piece) { set(piece, State::kOffered); });
  peer.offered |= peer.offerable;
  peer.offerable.clear();
  // A credit below one piece would never be used.
  const std::uint64_t least = limits::kPieceBytesMax;
  if (used < room) ask.credit_bytes = room - used;
  if (peer.credit + ask.credit_bytes < least) ask.credit_bytes = least - peer.credit;
  if (peer.credit == 0) peer.last_claim = now;
  peer.credit += ask.credit_bytes;
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

void DownloadScheduler::Impl::pull(PeerKey key, Peer& peer, Time now, Decision& decision) {
  if (peer.scanned_epoch == epoch_) return;
  const std::uint64_t room = window(peer);
  const bool offers_flow = now - peer.last_claim < std::max(kOfferQuiet, 2 * peer.rtt);
  const std::uint64_t credit = offers_flow ? peer.credit : 0;
  std::vector<PieceIndex> picked;
  std::size_t i = 0;
  const auto full = [&] {
    return peer.outstanding + credit >= room &&
           (credit > 0 || peer.asked.size() >= kPiecesAheadMin);
  };
  while (i < rarity_.size() && !full()) {
    const PieceIndex piece = rarity_[i];
    if (!peer.have.contains(piece) || peer.refused.contains(piece) ||
        (!peer.near && near_answers(piece))) {
      ++i;
      continue;
    }
    rarity_.erase(piece, holders_[piece.value]);
    add_asked(peer, piece, bytes_(piece), now);
    picked.push_back(piece);
  }
  if (i >= rarity_.size()) peer.scanned_epoch = epoch_;
  if (picked.empty()) return;
  decision.ask.push_back(
      {.peer = key, .pieces = runs_of(std::move(picked)), .credit_bytes = 0, .any = false});
}

bool DownloadScheduler::Impl::in_endgame() const {
  if (missing_ == 0 || rarity_.size() > 0) return false;
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
      add_asked(*other, piece, bytes_(piece), now);
      decision.ask.push_back(
          {.peer = other_key, .pieces = {{piece, 1}}, .credit_bytes = 0, .any = false});
    }
  }
}

Decision DownloadScheduler::Impl::decide(Time now) {
  Decision decision;
  decided_ = now;
  forgive_pause(now);
  check_stalls(now);
  if (!paused_) {
    for (auto& [key, peer] : peers_) {
      if (peer.banned) continue;
      expire_refusals(peer, now);
      offer(key, peer, now, decision);
    }
    // Peers that deliver are asked before those that were silent.
    for (const bool snubbed : {false, true}) {
      for (auto& [key, peer] : peers_) {
        if (!peer.banned && peer.snubbed == snubbed) pull(key, peer, now, decision);
      }
    }
    endgame(now, decision);
  }
  for (auto& [key, pieces] : withdraw_) {
    decision.withdraw.push_back({.peer = key, .pieces = runs_of(std::move(pieces))});
  }
  withdraw_.clear();
  return decision;
}

std::optional<Time> DownloadScheduler::Impl::next_deadline() const {
  std::optional<Time> next;
  const auto at = [&](Time due) {
    if (due > decided_ && (!next || due < *next)) next = due;  // earlier ones were dealt with
  };
  if (paused_) return next;
  const bool ending = in_endgame();
  for (const auto& [key, peer] : peers_) {
    if (!peer.asked.empty()) at(peer.last_byte + options_.stall);
    if (peer.outstanding == 0 && !peer.offered.empty()) at(peer.last_claim + kOfferRenewed);
    for (const auto& [piece, until] : peer.refused) at(until);
    // Pulls that wait for an offer to fall quiet.
    if (peer.credit > 0 && rarity_.size() > 0 && peer.scanned_epoch != epoch_) {
      at(peer.last_claim + std::max(kOfferQuiet, 2 * peer.rtt));
    }
    if (!ending) continue;
    for (const auto& [piece, asked] : peer.asked) {
      at(late_at(peer, asked));
    }
  }
  return next;
}

}  // namespace shardswarm
