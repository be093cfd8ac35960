#include "bench/lan/report_axis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "bench/lan/report_text.h"

namespace shardswarm::bench {
namespace {

constexpr double kNearTheEnd = 90;  // percent: a label there ends at its tick, to stay in the chart

// How many whole steps there are up to `most`; one that ends there within rounding counts.
int whole_steps(double most, double step) {
  return static_cast<int>(std::floor(most / step * (1 + 1e-9)));
}

// The smallest of ..., 0.5, 1, 2, 5, 10, ... of which there are at most `steps` up to `most`.
double round_step(double most, int steps) {
  const double power = std::pow(10, std::floor(std::log10(most / steps)));
  for (const double factor : {1, 2, 5}) {
    if (whole_steps(most, factor * power) <= steps) return factor * power;
  }
  return 10 * power;
}

Axis axis_of(double most, int steps, std::string unit) {
  Axis axis{.most = most, .ticks = {0}, .unit = std::move(unit)};
  if (most <= 0) return axis;
  const double step = round_step(most, steps);
  for (int at = 1; at <= whole_steps(most, step); ++at) axis.ticks.push_back(at * step);
  return axis;
}

}  // namespace

Axis time_axis(double most, int steps) {
  return most < 1 ? axis_of(1000 * most, steps, "ms") : axis_of(most, steps, "s");
}

Axis rate_axis(double most, int steps) {
  constexpr std::array<std::pair<double, const char*>, 4> kUnits = {
      {{1e9, "Gbit/s"}, {1e6, "Mbit/s"}, {1e3, "kbit/s"}, {1, "bit/s"}}};
  const auto* unit =
      std::ranges::find_if(kUnits, [&](const auto& one) { return most >= one.first; });
  if (unit == kUnits.end()) --unit;
  return axis_of(most / unit->first, steps, unit->second);
}

double percent_of(const Axis& axis, double tick) {
  return axis.most > 0 ? 100 * tick / axis.most : 0;
}

std::string tick_text(double tick) { return fmt::format("{:.6g}", tick); }

std::string labels_below(const Axis& axis) {
  std::string page = R"(<div class="axis below">)";
  for (const double tick : axis.ticks) {
    const double at = percent_of(axis, tick);
    add(page, R"(<span class="{}" style="left:{:.3f}%">{} {}</span>)",
        tick == 0           ? "first"
        : at >= kNearTheEnd ? "last"
                            : "",
        at, tick_text(tick), axis.unit);
  }
  return page + "</div>";
}

std::string labels_beside(const Axis& axis) {
  std::string page = R"(<div class="axis beside">)";
  for (const double tick : axis.ticks) {
    add(page, R"(<span style="bottom:{:.3f}%">{}</span>)", percent_of(axis, tick), tick_text(tick));
  }
  return page + "</div>";
}

}  // namespace shardswarm::bench
