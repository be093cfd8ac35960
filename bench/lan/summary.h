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

// Of a tool's runs in the warm-up round: the settings that take part in the counted rounds. They
// are the fastest of those that verify and the fastest of those that do not (the setting "verify";
// without it a tool verifies), and with each of them at most two more that took at most 5 % longer:
// a single run does not tell such settings apart. Fastest first; empty if all runs had errors.
std::vector<Json> finalists(std::span<const RunResult> warm_up, std::string_view tool);

// Of a tool's runs in the warm-up round, one for each of its settings: the fastest's settings;
// nullopt if all had errors.
std::optional<Json> fastest_settings(std::span<const RunResult> warm_up, std::string_view tool);

}  // namespace shardswarm::bench
