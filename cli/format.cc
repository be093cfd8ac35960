#include "cli/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.h"

namespace shardswarm::cli {
namespace {

std::string scaled(double value, const char* suffix) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B{}", value, suffix)
                   : fmt::format("{:.2f} {}{}", value, kUnits[unit], suffix);
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) { return scaled(static_cast<double>(bytes), ""); }

std::string rate_text(double bytes_per_second) { return scaled(bytes_per_second, "/s"); }

std::string seconds_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string short_rate_text(double bytes_per_second) {
  constexpr std::array kUnits = {"B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s"};
  double value = bytes_per_second;
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int digits = value >= 99.95 || unit == 0 ? 0 : value >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, digits, kUnits[unit]);
}

std::string time_left_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "";
  constexpr double kDaysMax = 99 * 86400.0;
  const auto whole = static_cast<std::uint64_t>(std::llround(std::min(seconds, kDaysMax)));
  if (whole < 3600) return fmt::format("{}:{:02} left", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{}h{:02} left", whole / 3600, whole / 60 % 60);
  return fmt::format("{}d{:02} left", whole / 86400, whole / 3600 % 24);
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> shown = rows;
  std::vector<std::size_t> widths;
  for (auto& row : shown) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] = printable(row[i]);
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const auto& row : shown) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i == 0 ? fmt::format("{:<{}}", row[i], widths[i])
                     : fmt::format("  {:>{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace shardswarm::cli
