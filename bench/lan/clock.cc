#include "bench/lan/clock.h"

#include <algorithm>

namespace shardswarm::bench {

ClockFit fit_clock(std::span<const RoundTrip> trips) {
  const auto length = [](const RoundTrip& trip) { return trip.answered - trip.asked; };
  const RoundTrip& best = *std::ranges::min_element(trips, {}, length);
  return {.offset = best.there - (best.asked + best.answered) / 2, .error = length(best) / 2};
}

}  // namespace shardswarm::bench
