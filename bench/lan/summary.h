// Many runs in few numbers. Pure.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "bench/lan/result.h"

namespace shardswarm::bench {

// The middle one; of an even number the mean of the two in the middle. REQUIRES: not empty.
double median(std::vector<double> values);

// One for each tool and setting that has a counted run without an error, in the order of their
// first run. Makespans are compared with shardswarm's of the same repeat: what else the machine did
// then hit both.
std::vector<Summary> summarize(std::span<const RunResult> runs);

// Of a tool's runs in the warm-up round, one for each of its settings: the fastest's settings;
// nullopt if all had errors.
std::optional<Json> fastest_settings(std::span<const RunResult> warm_up, std::string_view tool);

}  // namespace shardswarm::bench
