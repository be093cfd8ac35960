// Numbers and tables for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shardswarm::cli {

std::string bytes_text(std::uint64_t bytes);     // "1.25 GiB"
std::string rate_text(double bytes_per_second);  // "310.5 MiB/s"
std::string seconds_text(double seconds);        // "12.3 s", "4:05", "2:10:00"

// Columns aligned, the first to the left, the others to the right. rows[0] is the heading.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace shardswarm::cli
