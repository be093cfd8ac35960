// A measurement as text for a terminal. Pure.
#pragma once

#include <string>

#include "bench/lan/result.h"

namespace shardswarm::bench {

// "1 source, 7 fetchers, 200 Mbit/s, 256.0 MiB, plain, median of 5" and one line for each tool and
// setting; then the runs that failed, each with its error.
std::string table_of(const Measurement& measurement);

// One run in one line, for whoever waits.
std::string line_of(const RunResult& run);

}  // namespace shardswarm::bench
