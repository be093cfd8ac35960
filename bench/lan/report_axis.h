// Axes of the report's charts: where the ticks stand and what they say. Pure.
#pragma once

#include <string>
#include <vector>

namespace shardswarm::bench {

// A length of time or a rate along an edge of a chart, which begins at 0.
struct Axis {
  double most = 0;            // the value at the far end, in `unit`
  std::vector<double> ticks;  // from 0, in steps of 1, 2 or 5 times a power of ten
  std::string unit;           // "s", "ms", "Mbit/s"
};

// At most `steps` steps. `most` is in seconds, or in bits a second; 0 gives an axis with the tick
// 0. REQUIRES: steps >= 2.
Axis time_axis(double most, int steps);
Axis rate_axis(double most, int steps);

// Where a tick stands, in percent of the axis.
double percent_of(const Axis& axis, double tick);

// "0", "0.5", "20": without the unit.
std::string tick_text(double tick);

// HTML: the labels below a chart, each with its unit, and the labels to the left of one, without.
std::string labels_below(const Axis& axis);
std::string labels_beside(const Axis& axis);

}  // namespace shardswarm::bench
