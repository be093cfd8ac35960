// Who was given the first copy of which piece, and until when others are sent to that taker for it.
// What lapsed is remembered for a while: if it is passed on then, that says how long it takes.
// Not thread-safe. Time is handed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "piece/digest.h"
#include "scheduler/download.h"

namespace shardswarm {

class Leases {
 public:
  explicit Leases(Duration min) : min_(min) {}  // no lease is shorter

  struct Lease {
    PeerKey taker;
    NodeId taker_id;
    std::uint32_t copies = 0;  // that the giver had sent then, this one counted
    Time since{};
    Time deadline{};  // when lapsed: to be forgotten
    bool lapsed = false;
  };

  const Lease* find(PieceIndex piece) const {  // lapsed or not
    const auto it = by_piece_.find(piece);
    return it == by_piece_.end() ? nullptr : &it->second;
  }
  // `lease`: to whom, and which copy; its times are set here. `bytes` are queued for the taker, at
  // this rate (bytes a second; 0: not known). Replaces.
  void give(PieceIndex piece, const Lease& lease, std::uint64_t bytes, double rate, Time now) {
    end(piece);
    Lease& given = by_piece_.emplace(piece, lease).first->second;
    given.since = now;
    given.deadline = now + std::max(min_, expected(bytes, rate));
    by_deadline_.emplace(given.deadline, piece);
  }
  void end(PieceIndex piece) {
    const auto it = by_piece_.find(piece);
    if (it == by_piece_.end()) return;
    by_deadline_.erase({it->second.deadline, piece});
    by_piece_.erase(it);
  }
  // A third peer has it from the taker. REQUIRES: find(piece) != nullptr.
  void passed_on(PieceIndex piece, Time now) {
    const Duration took = std::min(now - by_piece_.at(piece).since, kUsualMax);
    usual_ = usual_ ? *usual_ + (took - *usual_) / kUsualOf : took;
    end(piece);
  }
  void end_of(PeerKey taker) {
    std::erase_if(by_piece_, [&](const auto& entry) {
      if (entry.second.taker != taker) return false;
      by_deadline_.erase({entry.second.deadline, entry.first});
      return true;
    });
  }
  // Those that lapse now: their takers kept the piece to themselves so far. One entry a lease.
  std::vector<PeerKey> expire(Time now) {
    std::vector<PeerKey> takers;
    while (!by_deadline_.empty() && by_deadline_.begin()->first <= now) {
      const PieceIndex piece = by_deadline_.begin()->second;
      Lease& lease = by_piece_.at(piece);
      if (lease.lapsed) {
        end(piece);
        continue;
      }
      by_deadline_.erase(by_deadline_.begin());
      takers.push_back(lease.taker);
      lease.lapsed = true;
      lease.deadline = now + kRemembered;
      by_deadline_.emplace(lease.deadline, piece);
    }
    return takers;
  }
  std::optional<Time> next_deadline() const {
    if (by_deadline_.empty()) return std::nullopt;
    return by_deadline_.begin()->first;
  }

 private:
  static constexpr int kUsualOf = 8;  // pieces passed on, roughly
  static constexpr int kMargin = 3;
  static constexpr Duration kUnmeasured = std::chrono::seconds(2);
  // Longer leases would make the time longer that they measure: a taker's backlog, or what two
  // peers that know each other agree on.
  static constexpr Duration kUsualMax = std::chrono::seconds(2);
  static constexpr Duration kRemembered = std::chrono::seconds(10);

  // Twice what its queue takes, and three times what passing on usually takes: at 200 Mbit/s,
  // 8 nodes, that is 0.6 s, and with twice the queue alone (0.5 s) honest takers let leases lapse.
  Duration expected(std::uint64_t bytes, double rate) const {
    const Duration usual = usual_ ? kMargin * *usual_ : kUnmeasured;
    if (rate == 0) return std::max(usual, kUnmeasured);
    const double seconds = std::min(2 * static_cast<double>(bytes) / rate, 3600.0);
    return std::max(usual,
                    std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds)));
  }

  Duration min_;
  std::optional<Duration> usual_;  // from giving a piece to its being passed on
  std::map<PieceIndex, Lease> by_piece_;
  std::set<std::pair<Time, PieceIndex>> by_deadline_;
};

}  // namespace shardswarm
