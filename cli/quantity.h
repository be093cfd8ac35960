// Rates, durations and numbers as people write them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace shardswarm::cli {

// Bytes a second of "20M", "20MB", "50MiB", "1.5G", "200mbit", or of plain bytes; "/s" may stand
// behind. K, M and G alone are powers of 1000, as KB, MB and GB are; KiB, MiB and GiB are powers of
// 1024; kbit, mbit and gbit are decimal bits. "off" and "none" are 0. Letters of either case.
// kUsage for anything else, and for more than 2^63.
Result<std::uint64_t> parse_rate(std::string_view text);

// A duration of "90s", "500ms", "30m", "2h", "1d", "1h30m", or of plain seconds ("1.5"). "off" and
// "none" are 0; "forever" is milliseconds::max(). kUsage for anything else, and for more than a
// hundred years.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

// A whole number from `least` to `most`. kUsage otherwise.
Result<std::uint64_t> parse_whole(std::string_view text, std::uint64_t least, std::uint64_t most);

}  // namespace shardswarm::cli
