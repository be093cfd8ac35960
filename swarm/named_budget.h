// What a peer may name of a model's pieces.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>

#include "base/ids.h"
#include "base/limits.h"
#include "base/time.h"

namespace shardswarm {

// limits::kNamedTimesMax. Kept as the time at which the peer has all of it again, so that nothing
// need be done meanwhile.
class NamedBudget {
 public:
  // Whether it was kept. `times`: of all pieces of the model, beside those named.
  bool spend(std::span<const PieceRun> named, std::uint32_t times, std::uint32_t pieces, Time now) {
    double spent = 0;
    for (const PieceRun& run : named) spent += run.count;
    spent = spent / std::max(pieces, limits::kNamedPiecesMin) + times;
    constexpr std::chrono::duration<double> kRefill(limits::kNamedRefillSeconds);
    const std::chrono::duration<double> most = kRefill * limits::kNamedTimesMax;
    const std::chrono::duration<double> left = std::max(full_at_, now) - now + spent * kRefill;
    if (left > most) return false;
    full_at_ = now + std::chrono::duration_cast<Duration>(left);
    return true;
  }

 private:
  Time full_at_{};
};

}  // namespace shardswarm
