// What happens in a run, whatever the tool: which nodes there are, and when they come and go. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace shardswarm::bench {

enum class Happening : std::uint8_t {
  kNothing,
  kStartLate,  // the node is started then
  kKill,       // SIGKILL, for good
  kRestart,    // SIGKILL, and at once a new process in the same directories
};

struct NodePlan {
  std::size_t host = 0;
  bool source = false;
  std::string stage;  // "2/4": a fetcher takes that pipeline stage; empty: everything
  Happening happening = Happening::kNothing;
};

struct Plan {
  std::string scenario;
  std::vector<NodePlan> nodes;  // sources first
  // When the happenings come: as soon as this node's host has received half of the model. Its
  // counters say so, for every tool alike.
  std::optional<std::size_t> trigger_node;
  bool reuse = false;  // the fetchers hold another version of the model
  // Only tools whose fetchers serve each other, or several sources, can end it well.
  bool needs_swarm = false;
  bool has_bound = true;

  std::size_t hosts() const;
};

inline constexpr std::string_view kScenarios[] = {"pair",        "broadcast", "stages", "late-join",
                                                  "source-lost", "resume",    "reuse"};

// Hosts that a scenario takes where nobody says how many.
std::size_t hosts_by_default(std::string_view scenario, std::uint32_t stages,
                             std::uint32_t replicas);

//   pair         host 0 to host 1
//   broadcast    host 0 to all others
//   stages       host 0 to stages x replicas fetchers, each with the layers of its stage
//   late-join    broadcast; the last fetcher starts when the first has half
//   source-lost  hosts 0 and 1 have the model; host 0 is killed when the first fetcher has half
//   resume       broadcast; the first fetcher is killed at half, and started again
//   reuse        broadcast; the fetchers have a version of which a quarter of the layers differ
// kUsage if there are too few hosts.
Result<Plan> plan_of(std::string_view scenario, std::size_t hosts, std::uint32_t stages,
                     std::uint32_t replicas);

}  // namespace shardswarm::bench
