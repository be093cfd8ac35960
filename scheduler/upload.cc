#include "scheduler/upload.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "piece/limits.h"
#include "scheduler/leases.h"
#include "scheduler/rate.h"

namespace shardswarm {
namespace {

// Among pieces sent before, the rarest of this many is taken: a bound on the cost of one choice.
constexpr std::size_t kConsidered = 1024;
// A taker whose rate is not known yet.
constexpr Duration kLeaseUnmeasured = std::chrono::seconds(2);
constexpr std::uint32_t kLapsesMax = 2;
constexpr Duration kHeldBack = std::chrono::seconds(1);
// A new peer is presumed to be connected to everybody: without that each of five peers that start
// together gets its own first copy of much before the first PEERS are answered.
constexpr Duration kPresumedConnected = std::chrono::seconds(1);

void append(std::vector<PieceRun>& runs, PieceIndex piece) {
  if (!runs.empty() && runs.back().first.value + runs.back().count == piece.value) {
    ++runs.back().count;
  } else {
    runs.push_back({piece, 1});
  }
}

template <class F>
void for_pieces(std::span<const PieceRun> runs, F&& f) {
  for (const PieceRun& run : runs) {
    for (std::uint32_t i = 0; i < run.count; ++i) f(PieceIndex(run.first.value + i));
  }
}

}  // namespace

class UploadScheduler::Impl {
 public:
  Impl(std::uint32_t pieces, PieceBytes bytes, UploadOptions options)
      : size_(pieces),
        bytes_(std::move(bytes)),
        options_(options),
        have_(pieces),
        sent_once_(pieces),
        times_sent_(pieces, 0),
        holders_(pieces, 0) {}

  struct Peer {
    Peer(std::uint32_t pieces, const NodeId& node)
        : id(node), have(pieces), wants(pieces), pulled(pieces), offered(pieces) {}
    NodeId id;
    PieceSet have;
    PieceSet wants;
    PieceSet pulled;
    PieceSet offered;
    std::set<NodeId> connected;
    std::optional<Time> presumed_until;  // counts as connected to all
    std::uint64_t credit = 0;
    std::uint64_t queued = 0;  // bytes chosen and not sent
    std::uint32_t lapses = 0;
    std::optional<Time> held_until;  // first copies wait for others
    RateMeter rate;
  };
  void add_peer(PeerKey key, const NodeId& id, Time now) {
    peers_.try_emplace(key, size_, id).first->second.presumed_until = now + kPresumedConnected;
  }

  void remove_peer(PeerKey key) {
    const auto it = peers_.find(key);
    if (it == peers_.end()) return;
    it->second.have.for_each([this](PieceIndex piece) { --holders_[piece.value]; });
    peers_.erase(it);
    leases_.end_of(key);
  }

  void peer_has(PeerKey key, std::span<const PieceRun> runs) {
    Peer* peer = find(key);
    if (peer == nullptr) return;
    for_pieces(runs, [&](PieceIndex piece) {
      if (!peer->have.insert(piece)) return;
      ++holders_[piece.value];
      if (const auto* lease = leases_.find(piece); lease != nullptr && lease->taker != key) {
        leases_.end(piece);
      }
    });
  }

  Refused asked(PeerKey key, std::span<const PieceRun> runs, std::uint64_t credit, bool any) {
    Refused refused;
    Peer* peer = find(key);
    if (peer == nullptr) return refused;
    for_pieces(runs, [&](PieceIndex piece) {
      if (!have_.contains(piece)) {
        append(refused.not_here, piece);
      } else if (any) {
        peer->offered.insert(piece);
      } else if (leased_away(*peer, key, piece)) {
        append(refused.leased, piece);
      } else {
        peer->pulled.insert(piece);
      }
    });
    peer->credit =
        std::min(peer->credit + std::min(credit, limits::kCreditBytesMax), limits::kCreditBytesMax);
    return refused;
  }

  std::vector<PieceRun> withdrawn(PeerKey key, std::span<const PieceRun> runs,
                                  std::uint64_t credit) {
    std::vector<PieceRun> waiting;
    Peer* peer = find(key);
    if (peer == nullptr) return waiting;
    for_pieces(runs, [&](PieceIndex piece) {
      const bool pulled = peer->pulled.erase(piece);
      if (peer->offered.erase(piece) || pulled) append(waiting, piece);
    });
    peer->credit -= std::min(peer->credit, credit);
    return waiting;
  }

  void expire(Time now) {
    expired_ = now;
    for (auto& [key, peer] : peers_) {
      if (peer.presumed_until && *peer.presumed_until <= now) peer.presumed_until.reset();
    }
    for (const PeerKey key : leases_.expire(now)) {
      if (Peer* taker = find(key)) ++taker->lapses;
    }
  }

  std::optional<PieceIndex> choose(PeerKey key, Time now) {
    Peer* peer = find(key);
    if (peer == nullptr || (peer->pulled.empty() && (peer->offered.empty() || peer->credit == 0))) {
      return std::nullopt;
    }
    auto piece = first_copy(*peer, key, true);
    if (!piece) piece = further_copy(*peer, key);
    if (!piece && peer->lapses >= kLapsesMax) piece = held_back(*peer, key, now);
    if (!piece) return std::nullopt;
    peer->held_until.reset();
    take(*peer, key, *piece, now);
    return piece;
  }

  void unsent(PeerKey key, PieceIndex piece) {
    if (Peer* peer = find(key))
      peer->queued -= std::min<std::uint64_t>(peer->queued, bytes_(piece));
    if (times_sent_[piece.value] > 0) --times_sent_[piece.value];
    if (times_sent_[piece.value] == 0) sent_once_.erase(piece);
    if (const auto* lease = leases_.find(piece); lease != nullptr && lease->taker == key) {
      leases_.end(piece);
    }
  }

  void sent(PeerKey key, PieceIndex, std::uint32_t bytes, Time now) {
    Peer* peer = find(key);
    if (peer == nullptr) return;
    peer->queued -= std::min<std::uint64_t>(peer->queued, bytes);
    peer->rate.add(bytes, now);
  }

  std::optional<Time> next_deadline() const {
    std::optional<Time> next = leases_.next_deadline();
    const auto at = [&](std::optional<Time> due) {
      if (due && *due > expired_ && (!next || *due < *next)) next = due;
    };
    for (const auto& [key, peer] : peers_) {
      at(peer.presumed_until);
      at(peer.held_until);
    }
    return next;
  }

  bool wants_of_us(PeerKey key) const {
    const auto it = peers_.find(key);
    return it != peers_.end() && (it->second.wants - it->second.have).intersects(have_);
  }

  std::uint32_t only_here() const {
    PieceSet wanted(size_);
    PieceSet elsewhere(size_);
    for (const auto& [key, peer] : peers_) {
      wanted |= peer.wants;
      elsewhere |= peer.have;
    }
    return ((wanted & have_) - elsewhere).count();
  }

  Peer* find(PeerKey key) {
    const auto it = peers_.find(key);
    return it == peers_.end() ? nullptr : &it->second;
  }
  PieceSet& have() { return have_; }
  void drop(PieceIndex piece) {
    have_.erase(piece);
    leases_.end(piece);
    for (auto& [key, peer] : peers_) {
      peer.pulled.erase(piece);
      peer.offered.erase(piece);
    }
  }
  std::uint32_t size() const { return size_; }

 private:
  bool leased_away(const Peer& peer, PeerKey key, PieceIndex piece) const {
    const auto* lease = leases_.find(piece);
    return lease != nullptr && lease->taker != key &&
           (peer.presumed_until || peers_.at(lease->taker).presumed_until ||
            peer.connected.contains(lease->taker_id));
  }

  bool affordable(const Peer& peer, PieceIndex piece) const {
    return peer.pulled.contains(piece) || bytes_(piece) <= peer.credit;
  }

  // A first copy for a peer that let leases lapse, and gets nothing else: those who wait for it may
  // never take it.
  std::optional<PieceIndex> held_back(Peer& peer, PeerKey key, Time now) const {
    const auto piece = first_copy(peer, key, false);
    if (!piece) return std::nullopt;
    if (!peer.held_until) peer.held_until = now + kHeldBack;
    return *peer.held_until <= now ? piece : std::nullopt;
  }

  std::optional<PieceIndex> first_copy(const Peer& peer, PeerKey key, bool others_go_first) const {
    std::optional<PieceIndex> found = next_unsent(peer, PieceIndex(0));
    for (std::size_t considered = 0; found && considered < kConsidered; ++considered) {
      // A peer that let leases lapse gets a first copy only if nobody else is waiting for it.
      const bool others_first =
          others_go_first && peer.lapses >= kLapsesMax &&
          std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
            return entry.first != key && entry.second.lapses < kLapsesMax &&
                   (entry.second.pulled.contains(*found) || entry.second.offered.contains(*found));
          });
      if (!others_first && affordable(peer, *found)) return found;
      found = next_unsent(peer, PieceIndex(found->value + 1));
    }
    return std::nullopt;
  }

  // Word by word: 774,000 pieces are 12,000 words.
  std::optional<PieceIndex> next_unsent(const Peer& peer, PieceIndex from) const {
    const auto pulled = peer.pulled.words();
    const auto offered = peer.offered.words();
    const auto sent = sent_once_.words();
    const auto have = have_.words();
    for (std::size_t w = from.value / 64; w < have.size(); ++w) {
      std::uint64_t bits = (pulled[w] | offered[w]) & have[w] & ~sent[w];
      if (w == from.value / 64) bits &= ~std::uint64_t{0} << (from.value % 64);
      if (bits != 0) {
        return PieceIndex(static_cast<std::uint32_t>(w * 64) +
                          static_cast<std::uint32_t>(std::countr_zero(bits)));
      }
    }
    return std::nullopt;
  }

  std::optional<PieceIndex> further_copy(const Peer& peer, PeerKey key) const {
    std::optional<PieceIndex> best;
    std::size_t considered = 0;
    for (const PieceSet* set : {&peer.pulled, &peer.offered}) {
      for (auto piece = set->next(PieceIndex(0)); piece && considered < kConsidered;
           piece = set->next(PieceIndex(piece->value + 1))) {
        if (!have_.contains(*piece) || !sent_once_.contains(*piece)) continue;
        ++considered;
        if (leased_away(peer, key, *piece) || !affordable(peer, *piece)) continue;
        if (!best || holders_[piece->value] < holders_[best->value]) best = piece;
      }
    }
    return best;
  }

  void take(Peer& peer, PeerKey key, PieceIndex piece, Time now) {
    const std::uint32_t bytes = bytes_(piece);
    const bool pulled = peer.pulled.erase(piece);
    const bool offered = peer.offered.erase(piece);
    if (offered && !pulled) peer.credit -= bytes;
    if (peer.queued == 0) peer.rate.busy(now);
    peer.queued += bytes;
    if (times_sent_[piece.value] < 0xffff) ++times_sent_[piece.value];
    sent_once_.insert(piece);
    if (!options_.leases || holders_[piece.value] > 0 || leases_.find(piece) != nullptr) return;
    const bool others_want = std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
      return entry.first != key && entry.second.wants.contains(piece);
    });
    if (!others_want) return;
    const double rate = peer.rate.bytes_per_second();
    Duration expected = kLeaseUnmeasured;
    if (rate > 0) {
      const double seconds = std::min(2 * static_cast<double>(peer.queued) / rate, 3600.0);
      expected = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
    }
    leases_.give(piece, {key, peer.id, now + std::max(options_.lease_min, expected)});
  }

  std::uint32_t size_;
  PieceBytes bytes_;
  UploadOptions options_;
  PieceSet have_;
  PieceSet sent_once_;
  std::vector<std::uint16_t> times_sent_;
  std::vector<std::uint16_t> holders_;  // connected peers that hold the piece
  std::map<PeerKey, Peer> peers_;
  Leases leases_;
  Time expired_{};  // when expire() was last called
};

UploadScheduler::UploadScheduler(std::uint32_t pieces, PieceBytes bytes, UploadOptions options)
    : impl_(std::make_unique<Impl>(pieces, std::move(bytes), options)) {}
UploadScheduler::~UploadScheduler() = default;

void UploadScheduler::have(std::span<const PieceRun> pieces) {
  for (const PieceRun& run : pieces) impl_->have().insert(run);
}
void UploadScheduler::lost(std::span<const PieceRun> pieces) {
  for_pieces(pieces, [this](PieceIndex piece) { impl_->drop(piece); });
}
void UploadScheduler::add_peer(PeerKey peer, const NodeId& id, Time now) {
  impl_->add_peer(peer, id, now);
}
void UploadScheduler::remove_peer(PeerKey peer) { impl_->remove_peer(peer); }
void UploadScheduler::peer_has(PeerKey peer, std::span<const PieceRun> pieces) {
  impl_->peer_has(peer, pieces);
}
void UploadScheduler::peer_wants(PeerKey peer, std::span<const PieceRun> pieces) {
  if (auto* found = impl_->find(peer)) {
    found->wants.clear();
    for (const PieceRun& run : pieces) found->wants.insert(run);
  }
}
void UploadScheduler::peer_connected_to(PeerKey peer, std::vector<NodeId> nodes) {
  if (auto* found = impl_->find(peer)) {
    found->connected = std::set<NodeId>(nodes.begin(), nodes.end());
  }
}
UploadScheduler::Refused UploadScheduler::asked(PeerKey peer, std::span<const PieceRun> pieces,
                                                std::uint64_t credit_bytes, bool any) {
  return impl_->asked(peer, pieces, credit_bytes, any);
}
std::vector<PieceRun> UploadScheduler::withdrawn(PeerKey peer, std::span<const PieceRun> pieces,
                                                 std::uint64_t credit_bytes) {
  return impl_->withdrawn(peer, pieces, credit_bytes);
}
void UploadScheduler::expire(Time now) { impl_->expire(now); }
std::optional<PieceIndex> UploadScheduler::choose(PeerKey peer, Time now) {
  return impl_->choose(peer, now);
}
void UploadScheduler::unsent(PeerKey peer, PieceIndex piece) { impl_->unsent(peer, piece); }
void UploadScheduler::sent(PeerKey peer, PieceIndex piece, std::uint32_t bytes, Time now) {
  impl_->sent(peer, piece, bytes, now);
}
std::optional<Time> UploadScheduler::next_deadline() const { return impl_->next_deadline(); }
bool UploadScheduler::wants_of_us(PeerKey peer) const { return impl_->wants_of_us(peer); }
std::uint32_t UploadScheduler::only_here() const { return impl_->only_here(); }

}  // namespace shardswarm
