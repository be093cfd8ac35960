// How far a host's clock is from the controller's, from round trips. Pure.
#pragma once

#include <span>

namespace shardswarm::bench {

// One question and its answer; seconds, of the clock of whoever looked at it.
struct RoundTrip {
  double asked = 0;     // controller
  double there = 0;     // host
  double answered = 0;  // controller
};

// controller time = host time - offset, wrong by at most `error`: the host's look at its clock was
// at some moment of the round trip.
struct ClockFit {
  double offset = 0;
  double error = 0;
};

// From the shortest round trip: the others have waited somewhere. REQUIRES: one at least.
ClockFit fit_clock(std::span<const RoundTrip> trips);

}  // namespace shardswarm::bench
