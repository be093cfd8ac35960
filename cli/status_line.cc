#include "cli/status_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace shardswarm::cli {
namespace {

constexpr std::size_t kBarMin = 10;
constexpr std::size_t kBarMax = 40;
constexpr std::size_t kNarrow = 40;  // columns below which one space stands between parts

std::string percent_text(double fraction) {
  // Rounded down: 100 % is said only when all is there.
  return fmt::format("{:3} %", static_cast<int>(std::floor(std::clamp(fraction, 0.0, 1.0) * 100)));
}

std::string bar_text(double fraction, std::size_t width) {
  const auto full =
      static_cast<std::size_t>(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(width));
  return fmt::format("[{:#<{}}{:.<{}}]", "", full, "", width - full);
}

// A part of the line, in the order in which parts are shown.
struct Part {
  std::string text;
  bool shown = false;
};

std::string joined(const std::vector<Part>& parts, std::string_view gap) {
  std::string line;
  for (const Part& part : parts) {
    if (!part.shown || part.text.empty()) continue;
    if (!line.empty()) line += gap;
    line += part.text;
  }
  return line;
}

enum Place : std::uint8_t { kPercent, kBar, kState, kAmount, kRate, kLeft, kPeers, kPlaces };

std::vector<Part> parts_of(const Status& status, const std::string& state) {
  std::vector<Part> parts(kPlaces);
  if (status.fraction) parts[kPercent].text = percent_text(*status.fraction);
  parts[kState] = {state, true};
  parts[kAmount].text = status.amount;
  parts[kRate].text = status.rate;
  parts[kLeft].text = status.time_left;
  parts[kPeers].text = status.peers;
  return parts;
}

}  // namespace

std::string status_line(const Status& status, std::size_t columns) {
  // The last column stays free: writing there would wrap the line on some terminals.
  const std::size_t room = columns > 1 ? columns - 1 : 1;
  const std::string_view gap = columns < kNarrow ? " " : "  ";
  const std::string& small = status.short_state.empty() ? status.state : status.short_state;
  std::vector<Part> parts = parts_of(status, small);
  const auto show = [&](Place place) {
    parts[place].shown = true;
    const bool fits = joined(parts, gap).size() <= room;
    parts[place].shown = fits;
    return fits;
  };
  constexpr std::size_t kPercentAndMore = 16;  // a cut-off state beside the percent says more
  if (room >= kPercentAndMore) {
    parts[kPercent].shown = true;
  } else {
    show(kPercent);
  }
  // The whole clause matters more than figures that do not change meanwhile.
  parts[kState].text = status.state;
  if (joined(parts, gap).size() > room) parts[kState].text = small;
  for (const Place place : {kLeft, kRate, kAmount, kPeers}) show(place);
  const std::size_t used = joined(parts, gap).size();
  constexpr std::size_t kFrame = 4;  // two brackets, two spaces
  if (status.fraction && parts[kPercent].shown && used + kFrame + kBarMin <= room) {
    parts[kBar] = {bar_text(*status.fraction, std::min(room - used - kFrame, kBarMax)), true};
  }
  return joined(parts, gap).substr(0, room);
}

std::string status_text(const Status& status) {
  std::vector<Part> parts = parts_of(status, status.state);
  for (Part& part : parts) part.shown = true;
  return joined(parts, "  ");
}

}  // namespace shardswarm::cli
