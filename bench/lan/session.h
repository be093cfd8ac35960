// A whole measurement: hosts, model, tools in turn, result. One thread.
#pragma once

#include "bench/lan/loop.h"
#include "bench/lan/options.h"
#include "bench/lan/result.h"

namespace shardswarm::bench {

// First a round that does not count, in which every setting of every tool has its turn, then
// `repeats` rounds in which shardswarm and each tool, with the setting that was its fastest (or,
// with options.whole_grid, with every setting), have theirs. Lines for whoever waits go to stderr.
Result<Measurement> measure(Loop& loop, const Options& options);

}  // namespace shardswarm::bench
