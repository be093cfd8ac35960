// Numbers and tables for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shardswarm::cli {

std::string bytes_text(std::uint64_t bytes);     // "1.25 GiB"
std::string rate_text(double bytes_per_second);  // "310.5 MiB/s"
std::string seconds_text(double seconds);        // "12.3 s", "4:05", "2:10:00"

// For status lines, where room is scarce and figures change all the time.
std::string short_rate_text(double bytes_per_second);  // "1.25 GiB/s", "310 MiB/s"
std::string time_left_text(double seconds);            // "4:05 left", "2h10 left", "3d04 left"

// Columns aligned, the first to the left, the others to the right. rows[0] is the heading. Cells
// are made printable (base/text.h): they may hold names from outside.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace shardswarm::cli
