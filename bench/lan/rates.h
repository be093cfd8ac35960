// Counters over time, and rates from them. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bench/lan/result.h"

namespace shardswarm::bench {

// Bytes since some moment; they never go down.
struct Counters {
  std::uint64_t received = 0, sent = 0;
};

struct CounterSample {
  double seconds = 0;
  Counters counters;
};

constexpr std::size_t kRatePointsMax = 240;

// Rates from `samples`, which are in the order of time: one point for each sample but the first,
// or, where these are more than `points_max`, for as many of them at a time as needed. Samples of
// one moment are one.
std::vector<RatePoint> rates_of(std::span<const CounterSample> samples,
                                std::size_t points_max = kRatePointsMax);

// From the last sample that is not after `begin` to the first that is not before `end`, where there
// are such.
std::vector<CounterSample> during(std::span<const CounterSample> samples, double begin, double end);

// What came and went from the first to the last.
Counters carried_in(std::span<const CounterSample> samples);

}  // namespace shardswarm::bench
