#include "scheduler/download.h"

#include <algorithm>
#include <utility>

#include "scheduler/download_state.h"

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
  peer.last_byte = peer.last_claim = now;
  peer.near = near;
}

void DownloadScheduler::Impl::remove_peer(PeerKey key) {
  const auto it = peers_.find(key);
  if (it == peers_.end()) return;
  take_back(key, it->second);
  const PieceSet held = it->second.have;
  peers_.erase(it);
  withdraw_.erase(key);
  ++epoch_;  // far peers may have left its pieces to it
  held.for_each([this](PieceIndex piece) { lose_holder(piece); });
}

void DownloadScheduler::Impl::peer_has(PeerKey key, std::span<const PieceRun> runs) {
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

void DownloadScheduler::Impl::peer_lost(PeerKey key, std::span<const PieceRun> runs) {
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
  ++epoch_;
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
  // What the uploader chose from an offer has used up credit there, welcome or not; also when its
  // choice crossed our withdrawal. In doubt it is charged: that only gives too much.
  const bool withdrawn = peer.withdrawn.erase(piece);
  const bool offered = peer.offered.contains(piece);
  if (withdrawn || offered) {
    peer.credit -= std::min<std::uint64_t>(peer.credit, bytes_(piece));
  }
  if (const auto asked = peer.asked.find(piece); asked != peer.asked.end()) {
    asked->second.claimed = true;
    peer.last_claim = now;
    return true;
  }
  if (!withdrawn && !offered) return false;  // never asked for
  switch (state(piece)) {
    case State::kAsked:
      if (arriving(piece)) return false;
      for (auto& [other, owner] : peers_) {
        const auto theirs = owner.asked.find(piece);
        if (theirs == owner.asked.end()) continue;
        drop_asked(owner, theirs);
        note_withdraw(other, piece);
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
  peer.last_claim = now;
  add_asked(peer, piece, bytes_(piece), now).claimed = true;
  return true;
}

void DownloadScheduler::Impl::bytes_arrived(PeerKey key, PieceIndex piece, std::uint32_t bytes,
                                            Time now) {
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
    const PieceSet held =
        std::exchange(it->second.have, PieceSet(static_cast<std::uint32_t>(state_.size())));
    held.for_each([this](PieceIndex p) { lose_holder(p); });
  }
  dropped(piece);
}

void DownloadScheduler::Impl::rejected(PeerKey key, std::span<const PieceRun> runs, Time now) {
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

// --- the interface ---

DownloadScheduler::DownloadScheduler(std::uint32_t pieces, PieceBytes bytes,
                                     DownloadOptions options)
    : impl_(std::make_unique<Impl>(pieces, std::move(bytes), options)) {}
DownloadScheduler::~DownloadScheduler() = default;

void DownloadScheduler::want(const PieceSet& pieces) { impl_->want(pieces); }
void DownloadScheduler::add_peer(PeerKey peer, Time now, bool near) {
  impl_->add_peer(peer, now, near);
}
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
bool DownloadScheduler::has_missing(PeerKey peer) const { return impl_->has_missing(peer); }
std::uint32_t DownloadScheduler::unavailable() const { return impl_->unavailable(); }

}  // namespace shardswarm
