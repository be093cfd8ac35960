#include "scheduler/download.h"

#include <algorithm>
#include <utility>

#include "scheduler/download_state.h"
#include "scheduler/piece_runs.h"

namespace shardswarm {

DownloadOptions::DownloadOptions()
    : window_bytes_min(limits::kWindowBytesMin), window_bytes_max(limits::kWindowBytesMax) {}

void DownloadScheduler::Impl::want(const PieceSet& pieces) {
  pieces.for_each([this](PieceIndex piece) {
    if (state(piece) != State::kUnwanted) return;
    ++missing_;
    make_open(piece);
  });
}

void DownloadScheduler::Impl::add_peer(PeerKey key, Time now, bool near) {
  auto& peer = peers_.try_emplace(key, static_cast<std::uint32_t>(state_.size())).first->second;
  peer.since = peer.last_byte = peer.last_claim = now;
  peer.near = near;
}

void DownloadScheduler::Impl::remove_peer(PeerKey key) {
  const auto it = peers_.find(key);
  if (it == peers_.end()) return;
  take_back(key, it->second);
  forget_holder(it->second);
  it->second.wants.for_each([this](PieceIndex piece) { lose_wanter(piece); });
  if (it->second.near) near_gave_way();
  peers_.erase(it);
  withdraw_.erase(key);
  unasked_.erase(key);
}

// Nothing is asked of it any more.
void DownloadScheduler::Impl::forget_holder(Peer& peer) {
  const PieceSet held = std::exchange(peer.have, PieceSet(peer.have.size()));
  held.for_each([&](PieceIndex piece) { lose_holder(piece, peer); });
}

void DownloadScheduler::Impl::peer_has(PeerKey key, std::span<const PieceRun> runs) {
  const auto it = peers_.find(key);
  if (it == peers_.end() || it->second.banned) return;
  Peer& peer = it->second;
  const bool first = peer.have.empty();
  for_pieces(runs, [&](PieceIndex piece) {
    if (!peer.have.insert(piece)) return;
    undecided_ = undecided_ || may_decide(piece);
    gain_holder(piece, peer);
  });
  if (first) peer.source = peer.have.complete();
}

// Whether a further holder of the piece may change what is asked of whom. Most HAVEs change
// nothing: in a large swarm they are most of what comes.
bool DownloadScheduler::Impl::may_decide(PieceIndex piece) const {
  switch (state(piece)) {
    case State::kUnwanted:
    case State::kArrived:
    case State::kDone:
      return false;
    case State::kOpen:  // with all asked for that may be, the next arrival comes first
      return !pullable_.contains(piece) || room_ > 0 || outstanding_ == 0;
    default:
      return true;
  }
}

void DownloadScheduler::Impl::peer_wants(PeerKey key, std::span<const PieceRun> runs) {
  const auto it = peers_.find(key);
  if (it == peers_.end()) return;
  Peer& peer = it->second;
  const PieceSet before = std::exchange(peer.wants, PieceSet(peer.wants.size()));
  for (const PieceRun& run : runs) peer.wants.insert(run);
  peer.wants -= peer.have;
  (before - peer.wants).for_each([this](PieceIndex piece) { lose_wanter(piece); });
  (peer.wants - before).for_each([this](PieceIndex piece) {
    ++wanters_[piece.value];
    reorder(piece);
  });
}

void DownloadScheduler::Impl::peer_lost(PeerKey key, std::span<const PieceRun> runs) {
  const auto it = peers_.find(key);
  if (it == peers_.end()) return;
  for (const PieceRun& run : runs) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      const PieceIndex piece(run.first.value + i);
      if (!it->second.have.contains(piece)) continue;
      release(key, it->second, piece);
      it->second.have.erase(piece);
      lose_holder(piece, it->second);
    }
  }
  if (it->second.near) near_gave_way();
}

void DownloadScheduler::Impl::measured_round_trip(PeerKey key, Duration rtt) {
  if (const auto it = peers_.find(key); it != peers_.end()) {
    Peer& peer = it->second;
    peer.rtt = peer.rtt_known ? std::min(peer.rtt, rtt) : rtt;
    peer.rtt_known = true;
  }
}

bool DownloadScheduler::Impl::claimed(PeerKey key, PieceIndex piece, Time now) {
  const auto it = peers_.find(key);
  if (it == peers_.end() || it->second.banned) return false;
  Peer& peer = it->second;
  const auto asked = peer.asked.find(piece);
  // All that the uploader chose from offers has used up credit there, welcome or not: its choice
  // may have crossed our withdrawal.
  if (asked == peer.asked.end() || !asked->second.pulled) {
    peer.credit -= std::min<std::uint64_t>(peer.credit, bytes_(piece));
  }
  if (asked != peer.asked.end()) {
    asked->second.claimed = true;
    peer.last_claim = now;
    return true;
  }
  const bool withdrawn = peer.withdrawn.erase(piece);
  if (!withdrawn && !peer.offered.contains(piece)) return false;  // never asked for
  switch (state(piece)) {
    case State::kAsked:
      if (arriving(piece)) return false;
      for (auto& [other, owner] : peers_) {
        const auto theirs = owner.asked.find(piece);
        if (theirs == owner.asked.end()) continue;
        drop_asked(owner, theirs);
        note_unasked(other, piece);
      }
      break;
    case State::kOffered:
      for (auto& [other, owner] : peers_) {
        if (&owner == &peer) {
          owner.offered.erase(piece);
        } else {
          withdraw_offer(other, owner, piece);
        }
      }
      break;
    case State::kOpen:
      unplace(piece);
      break;
    default:
      return false;
  }
  const Duration interval = now - peer.last_claim;
  peer.claim_interval =
      peer.claim_interval == Duration{} ? interval : (3 * peer.claim_interval + interval) / 4;
  peer.last_claim = now;
  add_asked(peer, piece, bytes_(piece), now).claimed = true;
  return true;
}

bool DownloadScheduler::Impl::begins(PeerKey key, PieceIndex piece, Time now) {
  const auto it = peers_.find(key);
  if (it == peers_.end() || it->second.banned) return false;
  const auto asked = it->second.asked.find(piece);
  if (asked == it->second.asked.end()) return claimed(key, piece, now);
  asked->second.claimed = true;
  return true;
}

void DownloadScheduler::Impl::bytes_arrived(PeerKey key, PieceIndex piece, std::uint32_t bytes,
                                            Time now) {
  const auto it = peers_.find(key);
  if (it == peers_.end()) return;
  Peer& peer = it->second;
  peer.last_byte = now;
  const double rate = peer.rate.bytes_per_second();
  peer.rate.add(bytes, now);
  rate_.add(bytes, now);
  // Every frame comes by here: most change nothing to decide on.
  if (std::exchange(peer.snubbed, false) || peer.rate.bytes_per_second() != rate) undecided();
  if (const auto asked = peer.asked.find(piece); asked != peer.asked.end()) {
    asked->second.arrived += bytes;
  }
}

void DownloadScheduler::Impl::arrived(PeerKey key, PieceIndex piece) {
  for (auto& [other, peer] : peers_) {
    const auto asked = peer.asked.find(piece);
    if (asked == peer.asked.end()) continue;
    if (other != key) note_withdraw(other, piece);
    drop_asked(peer, asked);
  }
  if (state(piece) == State::kAsked) set(piece, State::kArrived);
}

void DownloadScheduler::Impl::verified(PieceIndex piece) {
  if (state(piece) == State::kDone || state(piece) == State::kUnwanted) return;
  forget(piece);
  set(piece, State::kDone);
  --missing_;
}

void DownloadScheduler::Impl::failed(PeerKey key, PieceIndex piece) {
  if (const auto it = peers_.find(key); it != peers_.end() && !it->second.banned) {
    take_back(key, it->second);
    it->second.banned = true;
    forget_holder(it->second);
    if (it->second.near) near_gave_way();
  }
  dropped(piece);
}

void DownloadScheduler::Impl::rejected(PeerKey key, std::span<const PieceRun> runs, Time now) {
  const auto it = peers_.find(key);
  if (it == peers_.end()) return;
  bool gave_way = false;
  for (const PieceRun& run : runs) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      const PieceIndex piece(run.first.value + i);
      const bool ours = it->second.asked.contains(piece) || it->second.offered.contains(piece);
      if (!ours) continue;
      gave_way = true;
      it->second.refused[piece] = now + options_.retry;
      release(key, it->second, piece);
    }
  }
  if (gave_way && it->second.near) near_gave_way();
  // It may have refused the offer as such, before it knew the model: then its credit was lost, too.
  if (it->second.offered.empty()) it->second.credit = 0;
}

void DownloadScheduler::Impl::cancelled(PeerKey key, std::span<const PieceRun> runs) {
  const auto it = peers_.find(key);
  if (it == peers_.end()) return;
  for (const PieceRun& run : runs) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      const PieceIndex piece(run.first.value + i);
      if (it->second.asked.contains(piece)) release(key, it->second, piece);
    }
  }
}

// --- the interface ---

DownloadScheduler::DownloadScheduler(std::uint32_t pieces, PieceBytes bytes,
                                     DownloadOptions options)
    : impl_(std::make_unique<Impl>(pieces, std::move(bytes), std::move(options))) {}
DownloadScheduler::~DownloadScheduler() = default;

DownloadScheduler::Impl& DownloadScheduler::changing() {
  impl_->undecided();
  return *impl_;
}

void DownloadScheduler::want(const PieceSet& pieces) { changing().want(pieces); }
void DownloadScheduler::add_peer(PeerKey peer, Time now, bool near) {
  changing().add_peer(peer, now, near);
}
void DownloadScheduler::remove_peer(PeerKey peer) { changing().remove_peer(peer); }
void DownloadScheduler::peer_has(PeerKey peer, std::span<const PieceRun> pieces) {
  impl_->peer_has(peer, pieces);
}
void DownloadScheduler::peer_lost(PeerKey peer, std::span<const PieceRun> pieces) {
  changing().peer_lost(peer, pieces);
}
void DownloadScheduler::peer_wants(PeerKey peer, std::span<const PieceRun> pieces) {
  impl_->peer_wants(peer, pieces);
}
void DownloadScheduler::measured_round_trip(PeerKey peer, Duration rtt) {
  changing().measured_round_trip(peer, rtt);
}
bool DownloadScheduler::claimed(PeerKey peer, PieceIndex piece, Time now) {
  return changing().claimed(peer, piece, now);
}
bool DownloadScheduler::begins(PeerKey peer, PieceIndex piece, Time now) {
  return changing().begins(peer, piece, now);
}
void DownloadScheduler::cancelled(PeerKey peer, std::span<const PieceRun> pieces) {
  changing().cancelled(peer, pieces);
}
void DownloadScheduler::bytes_arrived(PeerKey peer, PieceIndex piece, std::uint32_t bytes,
                                      Time now) {
  impl_->bytes_arrived(peer, piece, bytes, now);
}
void DownloadScheduler::arrived(PeerKey peer, PieceIndex piece) { changing().arrived(peer, piece); }
void DownloadScheduler::verified(PieceIndex piece) { changing().verified(piece); }
void DownloadScheduler::failed(PeerKey peer, PieceIndex piece) { changing().failed(peer, piece); }
void DownloadScheduler::dropped(PieceIndex piece) { changing().dropped(piece); }
void DownloadScheduler::rejected(PeerKey peer, std::span<const PieceRun> pieces, Time now) {
  changing().rejected(peer, pieces, now);
}
Decision DownloadScheduler::decide(Time now) { return impl_->decide(now); }
std::optional<Time> DownloadScheduler::next_deadline() const { return impl_->next_deadline(); }
void DownloadScheduler::pause(bool paused) { changing().pause(paused); }
void DownloadScheduler::forgive(PeerKey peer, Time now) { changing().forgive(peer, now); }
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
bool DownloadScheduler::has_missing(PeerKey peer) const { return impl_->has_missing(peer); }
std::uint32_t DownloadScheduler::unavailable() const { return impl_->unavailable(); }

}  // namespace shardswarm
