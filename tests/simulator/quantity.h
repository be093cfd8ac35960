// Rates, sizes and durations as a scenario writes them: a number and a unit, without a space.
// kUsage, with examples, for anything else; also for negative numbers and for what overflows.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/time.h"

namespace shardswarm::sim {

// Bytes a second: "200mbit", "1gbit" (bits, thousands), "125MB", "1.8GB" (thousands), "64MiB".
Result<double> parse_rate(std::string_view text);
// Whole bytes: "256KiB", "1MiB", "2MB", "100B".
Result<std::uint64_t> parse_bytes(std::string_view text);
// "100us", "1.5s", "10ms", "2min", "1h", "0s".
Result<Duration> parse_duration(std::string_view text);

}  // namespace shardswarm::sim
