// Status lines of fetching and indexing.
#pragma once

#include <cstdint>

#include "cli/status_line.h"
#include "node/shardswarm.h"

namespace shardswarm::cli {

// A name for people and for JSON: "fetching".
std::string_view phase_name(FetchPhase phase);

// While nothing comes for a while the state says what is waited for, since when, and when the fetch
// gives up; the rate, which would only fall, is left out then.
Status fetch_status(const FetchProgress& progress);
Status index_status(std::uint64_t done_bytes, std::uint64_t total_bytes, double seconds);

// Seconds until all is here at the present rate; negative if it is not known.
double seconds_left(const FetchProgress& progress);

}  // namespace shardswarm::cli
