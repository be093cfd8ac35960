// What the requesting side remembers, and how pieces change their state. Private to
// scheduler/download*.cc.
#pragma once

#include <algorithm>
#include <map>
#include <utility>

#include "piece/limits.h"
#include "scheduler/download.h"
#include "scheduler/rarity.h"
#include "scheduler/rate.h"

namespace shardswarm {

class DownloadScheduler::Impl {
 public:
  Impl(std::uint32_t pieces, PieceBytes bytes, DownloadOptions options)
      : bytes_(std::move(bytes)),
        options_(options),
        state_(pieces, State::kUnwanted),
        holders_(pieces, 0),
        rarity_(pieces, options.seed) {}

  // An open piece is asked of nobody; an arrived one is being verified.
  enum class State : std::uint8_t { kUnwanted, kOpen, kOffered, kAsked, kArrived, kDone };

  struct Asked {
    Time since{};
    std::uint32_t arrived = 0;  // bytes
    bool claimed = false;
  };
  struct Peer {
    explicit Peer(std::uint32_t pieces)
        : have(pieces), offerable(pieces), offered(pieces), withdrawn(pieces) {}
    PieceSet have;
    PieceSet offerable;  // open, and nobody else holds them: to be offered
    PieceSet offered;
    PieceSet withdrawn;  // what it was asked for no more: a claim may have crossed that
    std::map<PieceIndex, Asked> asked;
    std::map<PieceIndex, Time> refused;  // until when
    std::uint64_t outstanding = 0;       // bytes of `asked`
    std::uint64_t credit = 0;            // given with offers, not yet claimed
    Time last_claim{};
    Time last_byte{};
    Duration rtt = std::chrono::milliseconds(1);
    RateMeter rate;
    std::uint64_t scanned_epoch = 0;  // nothing to pull was found at this epoch
    bool near = true;
    bool rtt_known = false;
    bool banned = false;
    bool snubbed = false;
  };
  void want(const PieceSet& pieces);
  void add_peer(PeerKey key, Time now, bool near);
  void remove_peer(PeerKey key);
  void peer_has(PeerKey key, std::span<const PieceRun> runs);
  void peer_lost(PeerKey key, std::span<const PieceRun> runs);
  void measured_round_trip(PeerKey key, Duration rtt);
  bool claimed(PeerKey key, PieceIndex piece, Time now);
  void bytes_arrived(PeerKey key, PieceIndex piece, std::uint32_t bytes, Time now);
  void arrived(PeerKey key, PieceIndex piece);
  void verified(PieceIndex piece);
  void failed(PeerKey key, PieceIndex piece);
  void dropped(PieceIndex piece) {
    if (state(piece) == State::kArrived) make_open(piece);
  }

  void rejected(PeerKey key, std::span<const PieceRun> runs, Time now);

  Decision decide(Time now);
  std::optional<Time> next_deadline() const;
  void pause(bool paused) {
    resumed_ |= paused_ && !paused;
    paused_ = paused;
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
        withdraw_offer(key, owner, piece);
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
      withdraw_offer(key, peer, piece);
      if (const auto asked = peer.asked.find(piece); asked != peer.asked.end()) {
        note_withdraw(key, piece);
        drop_asked(peer, asked);
      }
    }
  }
  void withdraw_offer(PeerKey key, Peer& peer, PieceIndex piece) {
    if (!peer.offered.erase(piece)) return;
    note_withdraw(key, piece);
  }
  // Somebody claimed it or has sent some of it.
  bool arriving(PieceIndex piece) const {
    return std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
      const auto asked = entry.second.asked.find(piece);
      return asked != entry.second.asked.end() &&
             (asked->second.claimed || asked->second.arrived > 0);
    });
  }
  void note_withdraw(PeerKey key, PieceIndex piece) {
    withdraw_[key].push_back(piece);
    peers_.at(key).withdrawn.insert(piece);
  }

  // --- deciding ---
  std::uint64_t window(const Peer& peer) const;
  // When a piece of this peer is late: twice what its queue should take.
  Time late_at(const Peer& peer, const Asked& asked) const;
  void forgive_pause(Time now);
  void check_stalls(Time now);
  void expire_refusals(Peer& peer, Time now);
  void offer(PeerKey key, Peer& peer, Time now, Decision& decision);
  void pull(PeerKey key, Peer& peer, Time now, Decision& decision);
  void endgame(Time now, Decision& decision);
  bool near_answers(PieceIndex piece) const;
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
  Time decided_{};  // when decide() was last called
  bool paused_ = false;
  bool resumed_ = false;  // since the last decision
};

}  // namespace shardswarm
