// One run: a tool moves the model as the plan says, and is measured. One thread.
#pragma once

#include "bench/lan/result.h"
#include "bench/lan/scenario.h"
#include "bench/lan/tool.h"

namespace shardswarm::bench {

// The model, as it lies on the source's host.
struct Model {
  std::string name;
  std::string directory;
  std::uint64_t bytes = 0;
  Json manifest;              // [{"path","size","sha256"},...], as digest says them
  std::string manifest_file;  // the same, below every agent's directory
  std::string older;  // below every fetcher's: an older version; with its state in OLDER-state
};

// Everything that a failed run still has is in the result, with its error; nothing of it is left
// running or lying about on the hosts. An error only when the controller is to end.
Result<RunResult> run_once(Loop& loop, Cluster& cluster, const Plan& plan, const Model& model,
                           const Tool& tool, const Transfer& transfer, double patience_seconds);

}  // namespace shardswarm::bench
