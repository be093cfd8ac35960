#include "cli/quantity.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

namespace shardswarm::cli {
namespace {

using std::chrono::milliseconds;

constexpr double kDurationMax = 100.0 * 365 * 86400 * 1000;  // milliseconds

std::unexpected<Error> bad(std::string_view text, const char* what) {
  return fail(Errc::kUsage, "'" + std::string(text) + "' is not " + what);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

// The number at the front of `text`, which loses it. Nothing if there is none, or a sign.
std::optional<double> take_number(std::string_view& text) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  double value = 0;
  const auto parsed =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (parsed.ec != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
  return value;
}

using Unit = std::pair<std::string_view, double>;

template <std::size_t N>
std::optional<double> factor_of(std::string_view unit, const std::array<Unit, N>& units) {
  const auto* const found = std::ranges::find(units, unit, &Unit::first);
  if (found == units.end()) return std::nullopt;
  return found->second;
}

constexpr std::array<Unit, 11> kRateUnits = {{{"", 1},
                                              {"b", 1},
                                              {"k", 1e3},
                                              {"m", 1e6},
                                              {"g", 1e9},
                                              {"kib", 1024},
                                              {"mib", 1048576},
                                              {"gib", 1073741824},
                                              {"kbit", 125},
                                              {"mbit", 125e3},
                                              {"gbit", 125e6}}};

constexpr std::array<Unit, 6> kTimeUnits = {
    {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}}};

}  // namespace

Result<std::uint64_t> parse_rate(std::string_view text) {
  constexpr const char* kWhat = "a rate: write 20M, 50MiB or 200mbit (a second), or off";
  const std::string whole = lower(text);
  if (whole == "off" || whole == "none") return 0;
  std::string_view rest = whole;
  const auto number = take_number(rest);
  if (rest.ends_with("/s")) rest.remove_suffix(2);
  if (rest == "kb" || rest == "mb" || rest == "gb") {
    // Many write Mb for megabits: eight times less.
    const char unit = text[static_cast<std::size_t>(rest.data() - whole.data()) + 1];
    if (unit == 'b') {
      return bad(text, "clear, because b may mean bits or bytes: write 20MB or 20mbit");
    }
    rest.remove_suffix(1);
  }
  const auto factor = factor_of(rest, kRateUnits);
  if (!number || !factor || *number * *factor >= 0x1p63) return bad(text, kWhat);
  return static_cast<std::uint64_t>(std::llround(*number * *factor));
}

Result<milliseconds> parse_duration(std::string_view text) {
  constexpr const char* kWhat = "a duration: write 90s, 30m or 2h, or off";
  const std::string whole = lower(text);
  if (whole == "off" || whole == "none") return milliseconds(0);
  if (whole == "forever") return milliseconds::max();
  double total = 0;
  std::string_view rest = whole;
  bool first = true;
  do {
    const auto number = take_number(rest);
    const std::string_view unit = rest.substr(0, rest.find_first_of("0123456789"));
    rest.remove_prefix(unit.size());
    const auto factor = factor_of(unit, kTimeUnits);
    // Only a number that stands alone may go without its unit.
    if (!number || !factor || (unit.empty() && !(first && rest.empty()))) return bad(text, kWhat);
    total += *number * *factor;
    first = false;
  } while (!rest.empty());
  if (total > kDurationMax) return bad(text, kWhat);
  return milliseconds(std::llround(total));
}

Result<std::uint64_t> parse_whole(std::string_view text, std::uint64_t least, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || value < least ||
      value > most) {
    return fail(Errc::kUsage, "'" + std::string(text) + "' is not a whole number from " +
                                  std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

}  // namespace shardswarm::cli
