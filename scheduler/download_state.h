// What the requesting side remembers, and how pieces change their state. Private to
// scheduler/download*.cc.
#pragma once

#include <algorithm>
#include <map>
#include <utility>

#include "base/flat_map.h"
#include "base/limits.h"
#include "scheduler/download.h"
#include "scheduler/rate.h"
#include "scheduler/urgency.h"

namespace shardswarm {

class DownloadScheduler::Impl {
 public:
  Impl(std::uint32_t pieces, PieceBytes bytes, DownloadOptions options)
      : bytes_(std::move(bytes)),
        options_(std::move(options)),
        state_(pieces, State::kUnwanted),
        holders_(pieces, 0),
        wanters_(pieces, 0),
        pullable_(pieces),
        order_(pieces, options_.seed) {}

  // An open piece is asked of nobody; an arrived one is being verified.
  enum class State : std::uint8_t { kUnwanted, kOpen, kOffered, kAsked, kArrived, kDone };

  struct Asked {
    Time since{};
    std::uint32_t arrived = 0;  // bytes
    bool claimed = false;
    bool pulled = false;  // else chosen by the peer
  };
  struct Peer {
    explicit Peer(std::uint32_t pieces)
        : have(pieces), wants(pieces), offerable(pieces), offered(pieces), withdrawn(pieces) {}
    PieceSet have;
    PieceSet wants;      // and does not have
    PieceSet offerable;  // open, and nobody else holds them: to be offered
    PieceSet offered;
    PieceSet withdrawn;  // unasked: its CLAIM may have crossed that
    std::map<PieceIndex, Asked> asked;
    std::map<PieceIndex, Time> refused;  // until when
    std::uint64_t outstanding = 0;       // bytes of `asked`
    std::uint64_t credit = 0;            // given with offers, not yet claimed
    Time last_claim{};
    Time renewed{};             // when what was offered was offered again, for want of claims
    Duration claim_interval{};  // of offers, on average; 0: not known
    Time last_byte{};
    Time since{};  // when it was added
    Duration rtt = std::chrono::milliseconds(1);
    RateMeter rate;
    std::uint32_t pullable = 0;  // pieces of pullable_ that it has
    bool exhausted = false;      // nothing to pull was found, and no such piece has come since
    bool left_to_near = false;   // of an exhausted far one: near peers hold what it could be asked
    bool near = true;
    bool source = false;  // it had everything when we met
    bool rtt_known = false;
    bool banned = false;
    bool snubbed = false;
  };
  void want(const PieceSet& pieces);
  void add_peer(PeerKey key, Time now, bool near);
  void remove_peer(PeerKey key);
  void forget_holder(Peer& peer);
  void peer_has(PeerKey key, std::span<const PieceRun> runs);
  bool may_decide(PieceIndex piece) const;
  void peer_lost(PeerKey key, std::span<const PieceRun> runs);
  void peer_wants(PeerKey key, std::span<const PieceRun> runs);
  void measured_round_trip(PeerKey key, Duration rtt);
  bool claimed(PeerKey key, PieceIndex piece, Time now);
  bool begins(PeerKey key, PieceIndex piece, Time now);
  void cancelled(PeerKey key, std::span<const PieceRun> runs);
  void bytes_arrived(PeerKey key, PieceIndex piece, std::uint32_t bytes, Time now);
  void arrived(PeerKey key, PieceIndex piece);
  void verified(PieceIndex piece);
  void failed(PeerKey key, PieceIndex piece);
  void dropped(PieceIndex piece) {
    if (state(piece) == State::kArrived) make_open(piece);
  }

  void rejected(PeerKey key, std::span<const PieceRun> runs, Time now);

  Decision decide(Time now);
  std::optional<Time> next_deadline() const { return undecided_ ? find_deadline() : deadline_; }
  void undecided() { undecided_ = true; }
  void pause(bool paused) {
    resumed_ |= paused_ && !paused;
    paused_ = paused;
  }

  void forgive(PeerKey key, Time now) {
    if (const auto it = peers_.find(key); it != peers_.end()) forgive(it->second, now);
  }

  std::uint32_t missing() const { return missing_; }
  std::uint32_t unavailable() const {
    std::uint32_t n = 0;
    for (std::size_t i = 0; i < state_.size(); ++i) {
      n += state_[i] == State::kOpen && holders_[i] == 0 ? 1U : 0U;
    }
    return n;
  }
  bool has_missing(PeerKey key) const {
    const Peer* peer = find(key);
    if (peer == nullptr || peer->banned || missing_ == 0) return false;
    for (auto at = peer->have.next(PieceIndex(0)); at;
         at = peer->have.next(PieceIndex(at->value + 1))) {
      if (state(*at) != State::kUnwanted && state(*at) != State::kDone) return true;
    }
    return false;
  }
  std::uint32_t holders(PieceIndex piece) const { return holders_[piece.value]; }
  const Peer* find(PeerKey key) const {
    const auto it = peers_.find(key);
    return it == peers_.end() ? nullptr : &it->second;
  }

 private:
  State state(PieceIndex piece) const { return state_[piece.value]; }
  void set(PieceIndex piece, State state) { state_[piece.value] = state; }

  // --- an open piece stands in one place: offerable to its only holder, or to be pulled ---
  void make_open(PieceIndex piece) {
    set(piece, State::kOpen);
    place(piece);
  }
  bool to_be_offered(std::uint32_t holders) const { return holders == 1 && options_.late_binding; }
  void place(PieceIndex piece) {
    const std::uint32_t holders = holders_[piece.value];
    if (holders == 0) return;
    if (!to_be_offered(holders)) {
      make_pullable(piece);
      return;
    }
    for (auto& [key, peer] : peers_) {
      if (peer.have.contains(piece) && !peer.refused.contains(piece)) peer.offerable.insert(piece);
    }
  }
  void unplace(PieceIndex piece) {
    if (pullable_.contains(piece)) {
      make_unpullable(piece);
      return;
    }
    for (auto& [key, peer] : peers_) peer.offerable.erase(piece);
  }
  std::uint32_t level(PieceIndex piece) const {
    const std::uint32_t rarity = rarity_class(holders_[piece.value], wanters_[piece.value]);
    return (options_.rank ? options_.rank(piece) * kRarityClasses : 0) + rarity;
  }
  void make_pullable(PieceIndex piece) {
    pullable_.insert(piece);
    order_.insert(piece, level(piece));
    for (auto& [key, peer] : peers_) {
      if (peer.have.contains(piece)) count_pullable(peer);
    }
  }
  void make_unpullable(PieceIndex piece) {
    pullable_.erase(piece);
    order_.erase(piece);
    for (auto& [key, peer] : peers_) {
      if (peer.have.contains(piece)) --peer.pullable;
    }
  }
  static void count_pullable(Peer& peer) {
    ++peer.pullable;
    peer.exhausted = false;
  }
  // Pieces that far peers left to a near one may be theirs now.
  void near_gave_way() {
    for (auto& [key, peer] : peers_) {
      if (!peer.near) peer.exhausted = false;
    }
  }
  void reorder(PieceIndex piece) {
    if (pullable_.contains(piece)) order_.move(piece, level(piece));
  }

  // REQUIRES: the peer's `have` was changed just before, here and below.
  void gain_holder(PieceIndex piece, Peer& peer) {
    const std::uint32_t before = holders_[piece.value]++;
    if (peer.wants.erase(piece)) --wanters_[piece.value];
    if (state(piece) == State::kOffered && before == 1) {
      // No longer the only one: whoever is free may be asked.
      for (auto& [other, owner] : peers_) withdraw_offer(other, owner, piece);
      make_open(piece);
    } else if (pullable_.contains(piece)) {
      count_pullable(peer);
      reorder(piece);
    } else if (state(piece) == State::kOpen) {
      unplace(piece);
      place(piece);
    }
  }
  void lose_holder(PieceIndex piece, Peer& peer) {
    const std::uint32_t left = --holders_[piece.value];
    if (pullable_.contains(piece)) --peer.pullable;
    if (state(piece) != State::kOpen) return;
    if (pullable_.contains(piece) && left > 0 && !to_be_offered(left)) {
      reorder(piece);
    } else {
      unplace(piece);
      place(piece);
    }
  }
  void lose_wanter(PieceIndex piece) {
    --wanters_[piece.value];
    reorder(piece);
  }

  // --- what is under way ---
  Asked& add_asked(Peer& peer, PieceIndex piece, std::uint32_t bytes, Time now) {
    set(piece, State::kAsked);
    if (peer.outstanding == 0) {
      peer.rate.busy(now);
      peer.last_byte = std::max(peer.last_byte, now);
    }
    if (outstanding_ == 0) rate_.busy(now);
    peer.outstanding += bytes;
    outstanding_ += bytes;
    return peer.asked.emplace(piece, Asked{.since = now}).first->second;
  }
  void drop_asked(Peer& peer, std::map<PieceIndex, Asked>::iterator asked) {
    peer.outstanding -= bytes_(asked->first);
    outstanding_ -= bytes_(asked->first);
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
      withdraw_offer(key, peer, piece);
      if (const auto asked = peer.asked.find(piece); asked != peer.asked.end()) {
        note_withdraw(key, piece);
        drop_asked(peer, asked);
      }
    }
  }
  void withdraw_offer(PeerKey key, Peer& peer, PieceIndex piece) {
    if (!peer.offered.erase(piece)) return;
    note_unasked(key, piece);
  }
  // Somebody claimed it or has sent some of it.
  bool arriving(PieceIndex piece) const {
    return std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
      const auto asked = entry.second.asked.find(piece);
      return asked != entry.second.asked.end() &&
             (asked->second.claimed || asked->second.arrived > 0);
    });
  }
  // Nothing of it shall come from this peer any more; or, where it was only waiting there, unless
  // the peer has claimed it: its CLAIM may be on its way.
  void note_withdraw(PeerKey key, PieceIndex piece) { withdraw_[key].push_back(piece); }
  void note_unasked(PeerKey key, PieceIndex piece) {
    unasked_[key].push_back(piece);
    peers_.at(key).withdrawn.insert(piece);
  }

  // --- deciding ---
  void take_over(Time now, Decision& decision);
  std::uint64_t window(const Peer& peer) const;
  // When a piece of this peer is late: twice what its queue should take.
  Time late_at(const Peer& peer, const Asked& asked) const;
  static void forgive(Peer& peer, Time now) {
    peer.last_byte = std::max(peer.last_byte, now);
    for (auto& [piece, asked] : peer.asked) asked.since = std::max(asked.since, now);
  }
  void forgive_pause(Time now);
  Duration quiet(const Peer& peer) const;
  bool offers_flow(const Peer& peer, Time now) const;
  std::uint64_t room_in_all() const;  // within outstanding_bytes_max
  void check_stalls(Time now);
  void expire_refusals(Peer& peer, Time now);
  PieceSet to_offer(const Peer& peer, std::uint64_t room) const;
  void offer(PeerKey key, Peer& peer, Time now, Decision& decision);
  std::optional<PieceIndex> next_pull(Peer& peer, bool past_near) const;
  bool pulls(const Peer& peer, Time now) const;
  bool may_pull(const Peer& peer, Time now) const;
  std::optional<double> near_rate(Time now) const;
  using Pulled = std::map<PeerKey, std::vector<PieceIndex>>;
  void pull_from(std::vector<std::pair<PeerKey, Peer*>> free, bool past_near, Time now,
                 Pulled& pulled);
  void pull(Time now, Decision& decision);
  void endgame(Time now, Decision& decision);
  bool near_answers(PieceIndex piece) const;
  bool in_endgame() const;
  std::optional<Time> find_deadline() const;

  PieceBytes bytes_;
  DownloadOptions options_;
  std::vector<State> state_;
  std::vector<std::uint16_t> holders_;
  std::vector<std::uint16_t> wanters_;  // peers that want it and do not have it
  PieceSet pullable_;
  UrgencyOrder order_;  // of pullable_
  FlatMap<PeerKey, Peer> peers_;
  std::map<PeerKey, std::vector<PieceIndex>> withdraw_;
  std::map<PeerKey, std::vector<PieceIndex>> unasked_;
  std::uint32_t missing_ = 0;
  RateMeter rate_;  // of all peers together
  std::uint64_t outstanding_ = 0;
  PeerKey last_pull_;
  std::uint64_t room_ = 0;        // room_in_all(), and what the last decision left of it
  Time stalls_due_{};             // no peer is due to be found silent before
  Time decided_{};                // when it was last decided
  bool undecided_ = true;         // something changed since
  std::optional<Time> deadline_;  // of find_deadline() then; bytes that came since only defer it
  bool paused_ = false;
  bool resumed_ = false;  // since the last decision
};

}  // namespace shardswarm
