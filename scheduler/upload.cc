#include "scheduler/upload.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <set>
#include <utility>

#include "base/flat_map.h"
#include "base/limits.h"
#include "scheduler/leases.h"
#include "scheduler/piece_runs.h"
#include "scheduler/upload_peer.h"
#include "scheduler/urgency.h"

namespace shardswarm {
namespace {

// First copies that others wait for are passed over: a bound on the cost of one choice.
constexpr std::size_t kConsidered = 1024;
constexpr std::uint32_t kFirstCopiesSpread = 256;
// Up to so many requests are looked at one by one.
constexpr std::size_t kFewRequests = 64;
constexpr Duration kHeldBack = std::chrono::seconds(1);
// A new peer is presumed to be connected to everybody: without that each of five peers that start
// together gets its own first copy of much before the first PEERS are answered.
constexpr Duration kPresumedConnected = std::chrono::seconds(1);

}  // namespace

class UploadScheduler::Impl {
 public:
  Impl(std::uint32_t pieces, PieceBytes bytes, UploadOptions options)
      : size_(pieces),
        bytes_(std::move(bytes)),
        options_(options),
        have_(pieces),
        unsent_(pieces),
        times_sent_(pieces, 0),
        holders_(pieces, 0),
        given_(pieces, 0),
        wanters_(pieces, 0),
        contenders_(pieces, 0),
        order_(pieces, options.seed),
        random_(options.seed),
        leases_(options.lease_min) {}

  using Peer = UploadPeer;

  void add_peer(PeerKey key, const NodeId& id, Time now) {
    Peer& peer = peers_.try_emplace(key, size_, id).first->second;
    peer.presumed_until = now + kPresumedConnected;
    wakes_.emplace(*peer.presumed_until, key);
  }

  void remove_peer(PeerKey key) {
    const auto it = peers_.find(key);
    if (it == peers_.end()) return;
    it->second.given.for_each([this](PieceIndex piece) { --given_[piece.value]; });
    it->second.wants.for_each([this](PieceIndex piece) { --wanters_[piece.value]; });
    const PieceSet changed = it->second.given | it->second.wants;
    it->second.have.for_each([this](PieceIndex piece) { lose_holder(piece); });
    changed.for_each([this](PieceIndex piece) { reorder(piece); });
    if (it->second.lapsed()) {
      --lapsed_;
    } else {
      leave_contest(it->second);
    }
    peers_.erase(it);
    leases_.end_of(key);
    freed_ = true;
  }

  void peer_has(PeerKey key, std::span<const PieceRun> runs, Time now) {
    Peer* peer = find(key);
    if (peer == nullptr) return;
    for_pieces(runs, [&](PieceIndex piece) {
      if (!peer->have.insert(piece)) return;
      end_request(*peer, piece);
      if (peer->wants.erase(piece)) --wanters_[piece.value];
      if (peer->given.erase(piece)) --given_[piece.value];
      ++holders_[piece.value];
      unsent_.erase(piece);
      reorder(piece);
      if (const auto* lease = leases_.find(piece); lease != nullptr && lease->taker != key) {
        end_lease(piece, *lease, now);
      }
    });
  }

  void peer_lost(PeerKey key, std::span<const PieceRun> runs) {
    Peer* peer = find(key);
    if (peer == nullptr) return;
    for_pieces(runs, [&](PieceIndex piece) {
      if (peer->have.erase(piece)) lose_holder(piece);
    });
  }

  void peer_wants(PeerKey key, std::span<const PieceRun> runs) {
    Peer* peer = find(key);
    if (peer == nullptr) return;
    const PieceSet before = std::exchange(peer->wants, PieceSet(size_));
    for (const PieceRun& run : runs) peer->wants.insert(run);
    peer->wants -= peer->have;
    (before - peer->wants).for_each([this](PieceIndex piece) {
      --wanters_[piece.value];
      reorder(piece);
    });
    (peer->wants - before).for_each([this](PieceIndex piece) {
      ++wanters_[piece.value];
      reorder(piece);
    });
  }

  void peer_connected_to(PeerKey key, const std::vector<NodeId>& nodes) {
    Peer* peer = find(key);
    if (peer == nullptr) return;
    peer->connected.clear();
    for (const NodeId& node : nodes) peer->connected.push_back(short_id(node));
    std::sort(peer->connected.begin(), peer->connected.end());
    freed_ = true;
  }

  Refused asked(PeerKey key, std::span<const PieceRun> runs, std::uint64_t credit, bool any) {
    Refused refused;
    Peer* peer = find(key);
    if (peer == nullptr) return refused;
    for_pieces(runs, [&](PieceIndex piece) {
      if (!have_.contains(piece)) {
        append(refused.not_here, piece);
      } else if (any) {
        request(*peer, peer->offered, piece);
      } else if (leased_away(*peer, key, piece)) {
        append(refused.leased, piece);
      } else {
        request(*peer, peer->pulled, piece);
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
      if (end_request(*peer, piece).pulled) append(waiting, piece);
    });
    peer->credit -= std::min(peer->credit, credit);
    freed_ |= lapsed_ > 0;
    return waiting;
  }

  void expire(Time now) {
    while (!wakes_.empty() && wakes_.begin()->first <= now) {
      Peer* peer = find(wakes_.begin()->second);
      wakes_.erase(wakes_.begin());
      freed_ = true;
      if (peer != nullptr && peer->presumed_until && *peer->presumed_until <= now) {
        peer->presumed_until.reset();
      }
    }
    for (const PeerKey key : leases_.expire(now)) {
      freed_ = true;
      Peer* taker = find(key);
      if (taker == nullptr || taker->lapses == kLapsesKept) continue;
      if (++taker->lapses != kLapsesMax) continue;
      ++lapsed_;
      leave_contest(*taker);
    }
  }

  std::optional<PieceIndex> choose(PeerKey key, Copy copy, Time now) {
    Peer* peer = find(key);
    if (peer == nullptr || (peer->pulled.empty() && (peer->offered.empty() || peer->credit == 0))) {
      return std::nullopt;
    }
    auto piece = first_copy(*peer, true);
    if (!piece && copy == Copy::kFirst) return std::nullopt;
    if (!piece) piece = further_copy(*peer, key);
    if (!piece && peer->lapsed()) piece = held_back(*peer, key, now);
    if (!piece) return std::nullopt;
    peer->held_until.reset();
    take(*peer, key, *piece, now);
    return piece;
  }

  void unsent(PeerKey key, PieceIndex piece) {
    if (Peer* peer = find(key)) {
      peer->queued -= std::min<std::uint64_t>(peer->queued, bytes_(piece));
      if (peer->given.erase(piece)) --given_[piece.value];
      reorder(piece);
    }
    freed_ = true;
    if (times_sent_[piece.value] > 0) --times_sent_[piece.value];
    maybe_unsent(piece);
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
    if (!wakes_.empty() && (!next || wakes_.begin()->first < *next)) next = wakes_.begin()->first;
    return next;
  }
  bool take_freed() { return std::exchange(freed_, false); }

  std::uint32_t missing(PeerKey key) const {
    const auto it = peers_.find(key);
    if (it == peers_.end()) return 0;
    const Peer& peer = it->second;
    return peer.wants.count() - std::min(peer.wants.count(), peer.given.count());
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
  void gain(PieceIndex piece) {
    if (!have_.insert(piece)) return;
    order_.insert(piece, level(piece));
    maybe_unsent(piece);
  }
  void drop(PieceIndex piece) {
    if (!have_.erase(piece)) return;
    order_.erase(piece);
    unsent_.erase(piece);
    leases_.end(piece);
    for (auto& [key, peer] : peers_) end_request(peer, piece);
  }
  std::uint32_t size() const { return size_; }

 private:
  // Enough to tell nodes apart, in a quarter of the memory: with 200 peers that name 200 each, it
  // counts. Who finds an id with the same 8 bytes gets others' first copies a lease later.
  static std::uint64_t short_id(const NodeId& id) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, id.bytes.data(), sizeof bytes);
    return bytes;
  }

  std::uint32_t level(PieceIndex piece) const {
    return rarity_class(std::uint32_t{holders_[piece.value]} + given_[piece.value],
                        wanters_[piece.value]);
  }
  void reorder(PieceIndex piece) {
    if (order_.contains(piece)) order_.move(piece, level(piece));
  }
  void maybe_unsent(PieceIndex piece) {
    if (have_.contains(piece) && times_sent_[piece.value] == 0 && holders_[piece.value] == 0) {
      unsent_.insert(piece);
    }
  }
  void lose_holder(PieceIndex piece) {
    --holders_[piece.value];
    maybe_unsent(piece);
    reorder(piece);
  }

  // Requested pieces, all of which are here. Those of peers that let leases lapse contend with
  // nobody: see first_copy().
  void request(Peer& peer, SparseSet& set, PieceIndex piece) {
    if (!peer.lapsed() && !peer.requests(piece)) ++contenders_[piece.value];
    set.insert(piece);
  }
  struct Ended {
    bool pulled = false;
    bool offered = false;
  };
  Ended end_request(Peer& peer, PieceIndex piece) {
    const Ended ended{.pulled = peer.pulled.erase(piece), .offered = peer.offered.erase(piece)};
    if ((ended.pulled || ended.offered) && !peer.lapsed()) --contenders_[piece.value];
    return ended;
  }
  void enter_contest(const Peer& peer) {
    for_requests(peer, [this](PieceIndex piece) { ++contenders_[piece.value]; });
  }
  void leave_contest(const Peer& peer) {
    for_requests(peer, [this](PieceIndex piece) { --contenders_[piece.value]; });
  }
  template <class Visit>
  static void for_requests(const Peer& peer, Visit visit) {
    peer.pulled.for_each(visit);
    peer.offered.for_each([&](PieceIndex piece) {
      if (!peer.pulled.contains(piece)) visit(piece);
    });
  }

  // A third peer has it: from the taker, if that has it and we sent it to nobody else since.
  void end_lease(PieceIndex piece, const Leases::Lease& lease, Time now) {
    freed_ = true;
    Peer* taker = find(lease.taker);
    const bool passed_on =
        taker != nullptr && taker->have.contains(piece) && times_sent_[piece.value] == lease.copies;
    if (!passed_on) {
      leases_.end(piece);
      return;
    }
    leases_.passed_on(piece, now);
    if (taker->lapses == 0) return;
    if (taker->lapses == kLapsesMax) {
      --lapsed_;
      enter_contest(*taker);
    }
    --taker->lapses;
  }

  bool leased_away(const Peer& peer, PeerKey key, PieceIndex piece) const {
    const auto* lease = leases_.find(piece);
    return lease != nullptr && !lease->lapsed && lease->taker != key &&
           (peer.presumed_until || peers_.at(lease->taker).presumed_until ||
            std::binary_search(peer.connected.begin(), peer.connected.end(),
                               short_id(lease->taker_id)));
  }

  bool affordable(const Peer& peer, PieceIndex piece) const {
    return peer.pulled.contains(piece) || peer.credit > 0;
  }

  // A first copy for a peer that let leases lapse, and gets nothing else: those who wait for it may
  // never take it.
  std::optional<PieceIndex> held_back(Peer& peer, PeerKey key, Time now) {
    const auto piece = first_copy(peer, false);
    if (!piece) return std::nullopt;
    if (!peer.held_until) {
      peer.held_until = now + kHeldBack;
      wakes_.emplace(*peer.held_until, key);
    }
    return *peer.held_until <= now ? piece : std::nullopt;
  }

  // A peer that let leases lapse gets a first copy only if nobody else is waiting for it.
  bool others_first(const Peer& peer, PieceIndex piece) const {
    return peer.lapsed() && contenders_[piece.value] > 0 && unsent_.contains(piece);
  }

  std::optional<PieceIndex> first_copy(const Peer& peer, bool others_go_first) {
    std::optional<PieceIndex> found = next_unsent(peer, PieceIndex(0));
    if (!found) return found;
    // Not past the last piece: nothing is found from there.
    const auto ahead = static_cast<std::uint32_t>(random_() % kFirstCopiesSpread);
    if (ahead < size_ - found->value) {
      const auto later = next_unsent(peer, PieceIndex(found->value + ahead));
      if (later && later->value - found->value < kFirstCopiesSpread) found = later;
    }
    for (std::size_t considered = 0; found && considered < kConsidered; ++considered) {
      if (!(others_go_first && others_first(peer, *found)) && affordable(peer, *found))
        return found;
      found = next_unsent(peer, PieceIndex(found->value + 1));
    }
    return std::nullopt;
  }

  std::optional<PieceIndex> next_unsent(const Peer& peer, PieceIndex from) const {
    const auto pulled = next_common(peer.pulled, unsent_, from);
    const auto offered = next_common(peer.offered, unsent_, from);
    return pulled && offered ? std::min(*pulled, *offered) : pulled ? pulled : offered;
  }

  std::optional<PieceIndex> further_copy(const Peer& peer, PeerKey key) const {
    const auto may = [&](PieceIndex piece) {
      return (peer.pulled.contains(piece) || (peer.credit > 0 && peer.offered.contains(piece))) &&
             !others_first(peer, piece) && !leased_away(peer, key, piece);
    };
    // One in so many of the order is requested: found at once, by and large.
    if (peer.pulled.count() + peer.offered.count() > kFewRequests) return order_.find(may);
    std::optional<PieceIndex> best;
    const auto consider = [&](PieceIndex piece) {
      if ((!best || order_.before(piece, *best)) && may(piece)) best = piece;
    };
    peer.pulled.for_each(consider);
    peer.offered.for_each(consider);
    return best;
  }

  void take(Peer& peer, PeerKey key, PieceIndex piece, Time now) {
    const std::uint32_t bytes = bytes_(piece);
    const auto [pulled, offered] = end_request(peer, piece);
    if (!peer.have.contains(piece) && peer.given.insert(piece)) ++given_[piece.value];
    reorder(piece);
    if (offered && !pulled) peer.credit -= std::min<std::uint64_t>(peer.credit, bytes);
    if (peer.queued == 0) peer.rate.busy(now);
    peer.queued += bytes;
    if (times_sent_[piece.value] < 0xffff) ++times_sent_[piece.value];
    unsent_.erase(piece);
    freed_ |= lapsed_ > 0;
    if (!options_.leases || holders_[piece.value] > 0) return;
    if (const auto* lease = leases_.find(piece); lease != nullptr && !lease->lapsed) return;
    const bool others_want = std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
      return entry.first != key && entry.second.wants.contains(piece);
    });
    if (!others_want) return;
    leases_.give(piece, {.taker = key, .taker_id = peer.id, .copies = times_sent_[piece.value]},
                 peer.queued, peer.rate.bytes_per_second(), now);
  }

  std::uint32_t size_;
  PieceBytes bytes_;
  UploadOptions options_;
  PieceSet have_;
  SparseSet unsent_;  // of these, what was never sent
  std::vector<std::uint16_t> times_sent_;
  std::vector<std::uint16_t> holders_;     // connected peers that hold the piece
  std::vector<std::uint16_t> given_;       // peers that it was given to and that do not hold it yet
  std::vector<std::uint16_t> wanters_;     // peers that want it and do not hold it
  std::vector<std::uint16_t> contenders_;  // peers that requested it, but for lapsed ones
  FlatMap<PeerKey, Peer> peers_;
  UrgencyOrder order_;  // of have_
  std::mt19937_64 random_;
  Leases leases_;
  std::set<std::pair<Time, PeerKey>> wakes_;  // ends of presumptions, and of holding back
  std::uint32_t lapsed_ = 0;                  // peers whose first copies wait for others
  bool freed_ = false;
};

UploadScheduler::UploadScheduler(std::uint32_t pieces, PieceBytes bytes, UploadOptions options)
    : impl_(std::make_unique<Impl>(pieces, std::move(bytes), options)) {}
UploadScheduler::~UploadScheduler() = default;

void UploadScheduler::have(std::span<const PieceRun> pieces) {
  for_pieces(pieces, [this](PieceIndex piece) { impl_->gain(piece); });
}
void UploadScheduler::lost(std::span<const PieceRun> pieces) {
  for_pieces(pieces, [this](PieceIndex piece) { impl_->drop(piece); });
}
void UploadScheduler::add_peer(PeerKey peer, const NodeId& id, Time now) {
  impl_->add_peer(peer, id, now);
}
void UploadScheduler::remove_peer(PeerKey peer) { impl_->remove_peer(peer); }
void UploadScheduler::peer_has(PeerKey peer, std::span<const PieceRun> pieces, Time now) {
  impl_->peer_has(peer, pieces, now);
}
void UploadScheduler::peer_lost(PeerKey peer, std::span<const PieceRun> pieces) {
  impl_->peer_lost(peer, pieces);
}
void UploadScheduler::peer_wants(PeerKey peer, std::span<const PieceRun> pieces) {
  impl_->peer_wants(peer, pieces);
}
void UploadScheduler::peer_connected_to(PeerKey peer, const std::vector<NodeId>& nodes) {
  impl_->peer_connected_to(peer, nodes);
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
std::optional<PieceIndex> UploadScheduler::choose(PeerKey peer, Copy copy, Time now) {
  return impl_->choose(peer, copy, now);
}
void UploadScheduler::unsent(PeerKey peer, PieceIndex piece) { impl_->unsent(peer, piece); }
void UploadScheduler::sent(PeerKey peer, PieceIndex piece, std::uint32_t bytes, Time now) {
  impl_->sent(peer, piece, bytes, now);
}
std::optional<Time> UploadScheduler::next_deadline() const { return impl_->next_deadline(); }
bool UploadScheduler::take_freed() { return impl_->take_freed(); }
std::uint32_t UploadScheduler::missing(PeerKey peer) const { return impl_->missing(peer); }
bool UploadScheduler::wants_of_us(PeerKey peer) const { return impl_->wants_of_us(peer); }
std::uint32_t UploadScheduler::only_here() const { return impl_->only_here(); }

}  // namespace shardswarm
