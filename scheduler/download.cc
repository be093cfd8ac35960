#include "scheduler/download.h"

#include <algorithm>
#include <cassert>
#include <map>
#include <utility>

#include "piece/limits.h"
#include "scheduler/rarity.h"
#include "scheduler/rate.h"

namespace shardswarm {
namespace {

// Beyond the round trip: what the other side needs to read the piece and get its turn.
constexpr Duration kSlack = std::chrono::milliseconds(20);
// An offer whose peer claimed nothing for this long does not block the window: all of it may be
// leased to others.
constexpr Duration kOfferQuiet = std::chrono::milliseconds(100);
constexpr Duration kLateMin = std::chrono::milliseconds(500);
constexpr std::size_t kPiecesAheadMin = 2;

enum class State : std::uint8_t { kUnwanted, kOpen, kOffered, kAsked, kArrived, kDone };

}  // namespace

DownloadOptions::DownloadOptions()
    : window_bytes_min(limits::kWindowBytesMin), window_bytes_max(limits::kWindowBytesMax) {}

class DownloadScheduler::Impl {
 public:
  Impl(std::uint32_t pieces, PieceBytes bytes, DownloadOptions options)
      : bytes_(std::move(bytes)),
        options_(options),
        state_(pieces, State::kUnwanted),
        holders_(pieces, 0),
        rarity_(pieces, options.seed) {}

  struct Asked {
    Time since{};
    std::uint32_t arrived = 0;  // bytes
    bool claimed = false;
  };
  struct Peer {
    explicit Peer(std::uint32_t pieces) : have(pieces), offerable(pieces), offered(pieces) {}
    PieceSet have;
    PieceSet offerable;  // open, and nobody else holds them: to be offered
    PieceSet offered;
    std::map<PieceIndex, Asked> asked;
    std::map<PieceIndex, Time> refused;  // until when
    std::uint64_t outstanding = 0;       // bytes of `asked`
    std::uint64_t credit = 0;            // given with offers, not yet claimed
    Time last_claim{};
    Time last_byte{};
    Duration rtt = std::chrono::milliseconds(1);
    RateMeter rate;
    std::uint64_t scanned_epoch = 0;  // nothing to pull was found at this epoch
    bool rtt_known = false;
    bool banned = false;
    bool snubbed = false;
  };

  void want(const PieceSet& pieces) {
    pieces.for_each([this](PieceIndex piece) {
      if (state(piece) != State::kUnwanted) return;
      ++missing_;
      make_open(piece);
    });
  }

  void add_peer(PeerKey key, Time now) {
    auto& peer = peers_.try_emplace(key, static_cast<std::uint32_t>(state_.size())).first->second;
    peer.last_byte = peer.last_claim = now;
  }

  void remove_peer(PeerKey key) {
    const auto it = peers_.find(key);
    if (it == peers_.end()) return;
    take_back(key, it->second);
    const PieceSet held = it->second.have;
    peers_.erase(it);
    withdraw_.erase(key);
    held.for_each([this](PieceIndex piece) { lose_holder(piece); });
  }

  void peer_has(PeerKey key, std::span<const PieceRun> runs) {
    const auto it = peers_.find(key);
    if (it == peers_.end() || it->second.banned) return;
    for (const PieceRun& run : runs) {
      for (std::uint32_t i = 0; i < run.count; ++i) {
        const PieceIndex piece(run.first.value + i);
        if (it->second.have.insert(piece)) gain_holder(piece, it->second);
      }
    }
    ++epoch_;
  }

  void peer_lost(PeerKey key, std::span<const PieceRun> runs) {
    const auto it = peers_.find(key);
    if (it == peers_.end()) return;
    for (const PieceRun& run : runs) {
      for (std::uint32_t i = 0; i < run.count; ++i) {
        const PieceIndex piece(run.first.value + i);
        if (!it->second.have.contains(piece)) continue;
        release(key, it->second, piece);
        it->second.have.erase(piece);
        lose_holder(piece);
      }
    }
  }

  void measured_round_trip(PeerKey key, Duration rtt) {
    if (const auto it = peers_.find(key); it != peers_.end()) {
      Peer& peer = it->second;
      peer.rtt = peer.rtt_known ? std::min(peer.rtt, rtt) : rtt;
      peer.rtt_known = true;
    }
  }

  bool claimed(PeerKey key, PieceIndex piece, Time now) {
    const auto it = peers_.find(key);
    if (it == peers_.end() || it->second.banned) return false;
    Peer& peer = it->second;
    if (const auto asked = peer.asked.find(piece); asked != peer.asked.end()) {
      asked->second.claimed = true;
      peer.last_claim = now;
      return true;
    }
    if (state(piece) == State::kAsked) {
      for (auto& [other, owner] : peers_) {
        const auto theirs = owner.asked.find(piece);
        if (theirs == owner.asked.end()) continue;
        if (theirs->second.claimed || theirs->second.arrived > 0) return false;
        drop_asked(owner, theirs);
        note_withdraw(other, piece);
      }
    } else if (state(piece) == State::kOffered) {
      for (auto& [other, owner] : peers_) {
        if (!owner.offered.erase(piece)) continue;
        if (&owner != &peer) note_withdraw(other, piece);
      }
    } else if (state(piece) == State::kOpen) {
      unplace(piece);
    } else {
      return false;
    }
    const std::uint32_t bytes = bytes_(piece);
    peer.credit -= std::min<std::uint64_t>(peer.credit, bytes);
    peer.last_claim = now;
    add_asked(peer, piece, bytes, now).claimed = true;
    return true;
  }

  void bytes_arrived(PeerKey key, PieceIndex piece, std::uint32_t bytes, Time now) {
    const auto it = peers_.find(key);
    if (it == peers_.end()) return;
    Peer& peer = it->second;
    peer.last_byte = now;
    peer.snubbed = false;
    peer.rate.add(bytes, now);
    if (const auto asked = peer.asked.find(piece); asked != peer.asked.end()) {
      asked->second.arrived += bytes;
    }
  }

  void arrived(PeerKey key, PieceIndex piece) {
    for (auto& [other, peer] : peers_) {
      const auto asked = peer.asked.find(piece);
      if (asked == peer.asked.end()) continue;
      if (other != key) note_withdraw(other, piece);
      drop_asked(peer, asked);
    }
    if (state(piece) == State::kAsked) set(piece, State::kArrived);
  }

  void verified(PieceIndex piece) {
    if (state(piece) == State::kDone || state(piece) == State::kUnwanted) return;
    forget(piece);
    set(piece, State::kDone);
    --missing_;
  }

  void failed(PeerKey key, PieceIndex piece) {
    if (const auto it = peers_.find(key); it != peers_.end() && !it->second.banned) {
      take_back(key, it->second);
      it->second.banned = true;
      const PieceSet held = std::exchange(
          it->second.have, PieceSet(static_cast<std::uint32_t>(state_.size())));
      held.for_each([this](PieceIndex p) { lose_holder(p); });
    }
    dropped(piece);
  }

  void dropped(PieceIndex piece) {
    if (state(piece) == State::kArrived) make_open(piece);
  }

  void rejected(PeerKey key, std::span<const PieceRun> runs, Time now) {
    const auto it = peers_.find(key);
    if (it == peers_.end()) return;
    for (const PieceRun& run : runs) {
      for (std::uint32_t i = 0; i < run.count; ++i) {
        const PieceIndex piece(run.first.value + i);
        const bool ours = it->second.asked.contains(piece) || it->second.offered.contains(piece);
        if (!ours) continue;
        it->second.refused[piece] = now + options_.retry;
        release(key, it->second, piece);
      }
    }
  }

  Decision decide(Time now);
  std::optional<Time> next_deadline() const;
  void pause(bool paused) { paused_ = paused; }

  std::uint32_t missing() const { return missing_; }
  std::uint32_t unavailable() const {
    std::uint32_t n = 0;
    for (std::size_t i = 0; i < state_.size(); ++i) {
      n += state_[i] == State::kOpen && holders_[i] == 0 ? 1U : 0U;
    }
    return n;
  }
  std::uint32_t holders(PieceIndex piece) const { return holders_[piece.value]; }
  const Peer* find(PeerKey key) const {
    const auto it = peers_.find(key);
    return it == peers_.end() ? nullptr : &it->second;
  }

 private:
  State state(PieceIndex piece) const { return state_[piece.value]; }
  void set(PieceIndex piece, State state) { state_[piece.value] = state; }

  // --- an open piece stands in one place: offerable to its only holder, or in the rarity order ---
  void make_open(PieceIndex piece) {
    set(piece, State::kOpen);
    ++epoch_;
    place(piece);
  }
  void place(PieceIndex piece) {
    const std::uint32_t holders = holders_[piece.value];
    if (holders >= 2) {
      rarity_.insert(piece, holders);
    } else if (holders == 1) {
      for (auto& [key, peer] : peers_) {
        if (peer.have.contains(piece) && !peer.refused.contains(piece)) {
          peer.offerable.insert(piece);
        }
      }
    }
  }
  void unplace(PieceIndex piece) {
    if (rarity_.contains(piece)) {
      rarity_.erase(piece, holders_[piece.value]);
      return;
    }
    for (auto& [key, peer] : peers_) peer.offerable.erase(piece);
  }

  void gain_holder(PieceIndex piece, Peer& peer) {
    const std::uint32_t before = holders_[piece.value]++;
    if (state(piece) == State::kOffered && before == 1) {
      // No longer the only one: whoever is free may be asked.
      for (auto& [key, owner] : peers_) {
        if (owner.offered.erase(piece)) note_withdraw(key, piece);
      }
      make_open(piece);
      return;
    }
    if (state(piece) != State::kOpen) return;
    if (before == 0) {
      if (!peer.refused.contains(piece)) peer.offerable.insert(piece);
    } else if (before == 1) {
      for (auto& [key, owner] : peers_) owner.offerable.erase(piece);
      rarity_.insert(piece, 2);
    } else {
      rarity_.one_more(piece, before);
    }
  }
  void lose_holder(PieceIndex piece) {
    const std::uint32_t before = holders_[piece.value]--;
    if (state(piece) != State::kOpen) return;
    if (before > 2) {
      rarity_.one_less(piece, before);
    } else {
      if (rarity_.contains(piece)) rarity_.erase(piece, before);
      for (auto& [key, peer] : peers_) peer.offerable.erase(piece);
      place(piece);
    }
  }

  // --- what is under way ---
  Asked& add_asked(Peer& peer, PieceIndex piece, std::uint32_t bytes, Time now) {
    set(piece, State::kAsked);
    if (peer.outstanding == 0) {
      peer.rate.busy(now);
      peer.last_byte = std::max(peer.last_byte, now);
    }
    peer.outstanding += bytes;
    return peer.asked.emplace(piece, Asked{.since = now}).first->second;
  }
  void drop_asked(Peer& peer, std::map<PieceIndex, Asked>::iterator asked) {
    peer.outstanding -= bytes_(asked->first);
    peer.asked.erase(asked);
  }
  bool asked_of_anyone(PieceIndex piece) const {
    return std::any_of(peers_.begin(), peers_.end(),
                       [&](const auto& entry) { return entry.second.asked.contains(piece); });
  }
  // This peer will not send it: somebody else may.
  void release(PeerKey, Peer& peer, PieceIndex piece) {
    if (const auto asked = peer.asked.find(piece); asked != peer.asked.end()) {
      drop_asked(peer, asked);
      if (state(piece) == State::kAsked && !asked_of_anyone(piece)) make_open(piece);
    } else if (peer.offered.erase(piece)) {
      make_open(piece);
    }
  }
  void take_back(PeerKey key, Peer& peer) {
    while (!peer.asked.empty()) release(key, peer, peer.asked.begin()->first);
    const PieceSet offered = peer.offered;
    offered.for_each([&](PieceIndex piece) { release(key, peer, piece); });
    peer.credit = 0;
  }
  void forget(PieceIndex piece) {
    if (state(piece) == State::kOpen) unplace(piece);
    for (auto& [key, peer] : peers_) {
      if (peer.offered.erase(piece)) note_withdraw(key, piece);
      if (const auto asked = peer.asked.find(piece); asked != peer.asked.end()) {
        note_withdraw(key, piece);
        drop_asked(peer, asked);
      }
    }
  }
  void note_withdraw(PeerKey key, PieceIndex piece) { withdraw_[key].push_back(piece); }

  // --- deciding ---
  std::uint64_t window(const Peer& peer) const {
    if (peer.snubbed) return options_.window_bytes_min;
    const double rate = peer.rate.bytes_per_second();
    if (rate == 0) return std::min(4 * options_.window_bytes_min, options_.window_bytes_max);
    const double seconds = std::chrono::duration<double>(peer.rtt + kSlack).count();
    const auto bytes = static_cast<std::uint64_t>(std::min(rate * seconds, 1e15));
    return std::clamp(bytes, options_.window_bytes_min, options_.window_bytes_max);
  }
  // When a piece of this peer is late: twice what its queue should take.
  Time late_at(const Peer& peer, const Asked& asked) const {
    const double rate = peer.rate.bytes_per_second();
    const double seconds =
        rate == 0 ? 0 : 2 * static_cast<double>(peer.outstanding) / rate;
    return asked.since + peer.rtt +
           std::max(kLateMin, std::chrono::duration_cast<Duration>(
                                  std::chrono::duration<double>(std::min(seconds, 3600.0))));
  }
  void check_stalls(Time now);
  void expire_refusals(Peer& peer, Time now);
  void offer(PeerKey key, Peer& peer, Time now, Decision& decision);
  void pull(PeerKey key, Peer& peer, Time now, Decision& decision);
  void endgame(Time now, Decision& decision);
  bool in_endgame() const;

  PieceBytes bytes_;
  DownloadOptions options_;
  std::vector<State> state_;
  std::vector<std::uint16_t> holders_;
  RarityOrder rarity_;
  std::map<PeerKey, Peer> peers_;
  std::map<PeerKey, std::vector<PieceIndex>> withdraw_;
  std::uint64_t epoch_ = 1;  // counts what may give an idle peer something to pull
  std::uint32_t missing_ = 0;
  bool paused_ = false;
};

namespace {

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

void DownloadScheduler::Impl::check_stalls(Time now) {
  for (auto& [key, peer] : peers_) {
    if (paused_) peer.last_byte = std::max(peer.last_byte, now);
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
  const std::uint64_t room = window(peer);
  const std::uint64_t used = peer.outstanding + peer.credit;
  // More credit in portions: one message for a quarter of the window, not one a piece.
  const bool refill = used + std::max<std::uint64_t>(room / 4, 1) <= room;
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
    if (!peer.have.contains(piece) || peer.refused.contains(piece)) {
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
  const auto at = [&next](Time due) {
    if (!next || due < *next) next = due;
  };
  if (paused_) return next;
  const bool ending = in_endgame();
  for (const auto& [key, peer] : peers_) {
    if (!peer.asked.empty()) at(peer.last_byte + options_.stall);
    for (const auto& [piece, until] : peer.refused) at(until);
    // Pulls that wait for an offer to fall quiet.
    if (peer.credit > 0 && rarity_.size() > 0 && peer.scanned_epoch != epoch_) {
      at(peer.last_claim + std::max(kOfferQuiet, 2 * peer.rtt));
    }
    if (!ending) continue;
    for (const auto& [piece, asked] : peer.asked) {
      // Once late it is asked elsewhere, or nobody else has it: then other events decide.
      if (const Time late = late_at(peer, asked); late > peer.last_byte) at(late);
    }
  }
  return next;
}

// --- the interface ---

DownloadScheduler::DownloadScheduler(std::uint32_t pieces, PieceBytes bytes,
                                     DownloadOptions options)
    : impl_(std::make_unique<Impl>(pieces, std::move(bytes), options)) {}
DownloadScheduler::~DownloadScheduler() = default;

void DownloadScheduler::want(const PieceSet& pieces) { impl_->want(pieces); }
void DownloadScheduler::add_peer(PeerKey peer, Time now) { impl_->add_peer(peer, now); }
void DownloadScheduler::remove_peer(PeerKey peer) { impl_->remove_peer(peer); }
void DownloadScheduler::peer_has(PeerKey peer, std::span<const PieceRun> pieces) {
  impl_->peer_has(peer, pieces);
}
void DownloadScheduler::peer_lost(PeerKey peer, std::span<const PieceRun> pieces) {
  impl_->peer_lost(peer, pieces);
}
void DownloadScheduler::measured_round_trip(PeerKey peer, Duration rtt) {
  impl_->measured_round_trip(peer, rtt);
}
bool DownloadScheduler::claimed(PeerKey peer, PieceIndex piece, Time now) {
  return impl_->claimed(peer, piece, now);
}
void DownloadScheduler::bytes_arrived(PeerKey peer, PieceIndex piece, std::uint32_t bytes,
                                      Time now) {
  impl_->bytes_arrived(peer, piece, bytes, now);
}
void DownloadScheduler::arrived(PeerKey peer, PieceIndex piece) { impl_->arrived(peer, piece); }
void DownloadScheduler::verified(PieceIndex piece) { impl_->verified(piece); }
void DownloadScheduler::failed(PeerKey peer, PieceIndex piece) { impl_->failed(peer, piece); }
void DownloadScheduler::dropped(PieceIndex piece) { impl_->dropped(piece); }
void DownloadScheduler::rejected(PeerKey peer, std::span<const PieceRun> pieces, Time now) {
  impl_->rejected(peer, pieces, now);
}
Decision DownloadScheduler::decide(Time now) { return impl_->decide(now); }
std::optional<Time> DownloadScheduler::next_deadline() const { return impl_->next_deadline(); }
void DownloadScheduler::pause(bool paused) { impl_->pause(paused); }
bool DownloadScheduler::done() const { return impl_->missing() == 0; }
std::uint32_t DownloadScheduler::missing() const { return impl_->missing(); }
std::uint64_t DownloadScheduler::outstanding_bytes(PeerKey peer) const {
  const auto* found = impl_->find(peer);
  return found == nullptr ? 0 : found->outstanding;
}
double DownloadScheduler::rate_bytes_per_second(PeerKey peer) const {
  const auto* found = impl_->find(peer);
  return found == nullptr ? 0 : found->rate.bytes_per_second();
}
std::uint32_t DownloadScheduler::availability(PieceIndex piece) const {
  return impl_->holders(piece);
}
std::uint32_t DownloadScheduler::unavailable() const { return impl_->unavailable(); }

}  // namespace shardswarm
