#include "bench/lan/rates.h"

#include <algorithm>

namespace shardswarm::bench {

std::vector<RatePoint> rates_of(std::span<const CounterSample> samples, std::size_t points_max) {
  std::vector<RatePoint> points;
  if (samples.size() < 2) return points;
  const std::size_t step = std::max<std::size_t>(1, (samples.size() - 2) / points_max + 1);
  const CounterSample* last = &samples.front();
  for (std::size_t at = 1; at < samples.size(); ++at) {
    const CounterSample& sample = samples[at];
    const bool due = at % step == 0 || at + 1 == samples.size();
    const double seconds = sample.seconds - last->seconds;
    if (!due || seconds <= 0) continue;
    const auto rate = [&](std::uint64_t Counters::* which) {
      return static_cast<double>(sample.counters.*which - last->counters.*which) / seconds;
    };
    points.push_back({.seconds = sample.seconds,
                      .received = rate(&Counters::received),
                      .sent = rate(&Counters::sent)});
    last = &sample;
  }
  return points;
}

std::vector<CounterSample> during(std::span<const CounterSample> samples, double begin,
                                  double end) {
  auto first = std::ranges::upper_bound(samples, begin, {}, &CounterSample::seconds);
  if (first != samples.begin()) --first;
  auto last = std::ranges::lower_bound(samples, end, {}, &CounterSample::seconds);
  if (last != samples.end()) ++last;
  if (last <= first) return {};
  return {first, last};
}

Counters carried_in(std::span<const CounterSample> samples) {
  if (samples.empty()) return {};
  const Counters& first = samples.front().counters;
  const Counters& last = samples.back().counters;
  return {.received = last.received - first.received, .sent = last.sent - first.sent};
}

}  // namespace shardswarm::bench
