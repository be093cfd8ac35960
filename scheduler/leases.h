// Who was given the first copy of which piece, and until when others are sent to that taker for it.
// Not thread-safe. Time is handed in.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "piece/digest.h"
#include "piece/ids.h"
#include "scheduler/download.h"
#include "scheduler/time.h"

namespace shardswarm {

class Leases {
 public:
  struct Lease {
    PeerKey taker;
    NodeId taker_id;
    Time deadline{};
  };

  const Lease* find(PieceIndex piece) const {
    const auto it = by_piece_.find(piece);
    return it == by_piece_.end() ? nullptr : &it->second;
  }
  // REQUIRES: find(piece) == nullptr.
  void give(PieceIndex piece, const Lease& lease) {
    by_piece_.emplace(piece, lease);
    by_deadline_.emplace(lease.deadline, piece);
  }
  void end(PieceIndex piece) {
    const auto it = by_piece_.find(piece);
    if (it == by_piece_.end()) return;
    by_deadline_.erase({it->second.deadline, piece});
    by_piece_.erase(it);
  }
  void end_of(PeerKey taker) {
    std::erase_if(by_piece_, [&](const auto& entry) {
      if (entry.second.taker != taker) return false;
      by_deadline_.erase({entry.second.deadline, entry.first});
      return true;
    });
  }
  // Ends the leases that lapsed: their takers kept the piece to themselves. One entry a lease.
  std::vector<PeerKey> expire(Time now) {
    std::vector<PeerKey> takers;
    while (!by_deadline_.empty() && by_deadline_.begin()->first <= now) {
      const PieceIndex piece = by_deadline_.begin()->second;
      takers.push_back(by_piece_.at(piece).taker);
      end(piece);
    }
    return takers;
  }
  std::optional<Time> next_deadline() const {
    if (by_deadline_.empty()) return std::nullopt;
    return by_deadline_.begin()->first;
  }

 private:
  std::map<PieceIndex, Lease> by_piece_;
  std::set<std::pair<Time, PieceIndex>> by_deadline_;
};

}  // namespace shardswarm
