#include "simulator/quantity.h"

#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <string>
#include <utility>

namespace shardswarm::sim {
namespace {

using Unit = std::pair<std::string_view, double>;

constexpr std::array<Unit, 8> kByteUnits = {{{"B", 1.0},
                                             {"kB", 1e3},
                                             {"MB", 1e6},
                                             {"GB", 1e9},
                                             {"KiB", 1024.0},
                                             {"MiB", 1024.0 * 1024},
                                             {"GiB", 1024.0 * 1024 * 1024},
                                             {"TiB", 1024.0 * 1024 * 1024 * 1024}}};
constexpr std::array<Unit, 4> kBitUnits = {
    {{"bit", 1 / 8.0}, {"kbit", 1e3 / 8}, {"mbit", 1e6 / 8}, {"gbit", 1e9 / 8}}};
// Nanoseconds.
constexpr std::array<Unit, 6> kTimeUnits = {
    {{"ns", 1.0}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"h", 3600e9}}};

// The largest whole number that a double holds exactly: far more than any scenario's.
constexpr double kMax = 9007199254740992.0;

std::unexpected<Error> no_quantity(std::string_view text, std::string_view what) {
  return fail(Errc::kUsage, "'" + std::string(text) + "' is no " + std::string(what));
}

// `text` in the base of one of the units; nothing if it is none.
Result<double> quantity(std::string_view text, std::span<const Unit> units, std::string_view what) {
  double number = 0;
  const auto [rest, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return no_quantity(text, what);
  const std::string_view unit(rest, text.data() + text.size());
  for (const auto& [name, factor] : units) {
    if (unit == name && number * factor <= kMax) return number * factor;
  }
  return no_quantity(text, what);
}

}  // namespace

Result<double> parse_rate(std::string_view text) {
  constexpr std::string_view kWhat = "rate: it reads like \"200mbit\", \"1gbit\" or \"125MB\"";
  if (text.ends_with("bit")) return quantity(text, kBitUnits, kWhat);
  return quantity(text, kByteUnits, kWhat);
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
  constexpr std::string_view kWhat = "size: it reads like \"256KiB\" or \"1MB\", in whole bytes";
  const auto bytes = quantity(text, kByteUnits, kWhat);
  if (!bytes) return std::unexpected(bytes.error());
  if (*bytes != std::floor(*bytes)) return no_quantity(text, kWhat);
  return static_cast<std::uint64_t>(*bytes);
}

Result<Duration> parse_duration(std::string_view text) {
  const auto time = quantity(text, kTimeUnits,
                             "duration: it reads like \"100us\", \"10ms\", \"1.5s\" or \"2min\"");
  if (!time) return std::unexpected(time.error());
  return Duration(std::llround(*time));
}

}  // namespace shardswarm::sim
