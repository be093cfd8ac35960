#include "bench/lan/scenario.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardswarm::bench {

std::size_t Plan::hosts() const {
  std::size_t hosts = 0;
  for (const NodePlan& node : nodes) hosts = std::max(hosts, node.host + 1);
  return hosts;
}

std::size_t hosts_by_default(std::string_view scenario, std::uint32_t stages,
                             std::uint32_t replicas) {
  if (scenario == "pair" || scenario == "resume" || scenario == "reuse") return 2;
  if (scenario == "stages") return 1 + std::size_t{stages} * replicas;
  return 4;
}

Result<Plan> plan_of(std::string_view scenario, std::size_t hosts, std::uint32_t stages,
                     std::uint32_t replicas) {
  const std::size_t sources = scenario == "source-lost" ? 2 : 1;
  std::size_t needed = sources + 1;
  if (scenario == "late-join") needed = 3;
  if (scenario == "stages") needed = 1 + std::size_t{stages} * replicas;
  if (hosts < needed) {
    return fail(Errc::kUsage, fmt::format("{} needs {} hosts, the source among them; here are {}",
                                          scenario, needed, hosts));
  }
  Plan plan{.scenario = std::string(scenario)};
  const std::size_t used = scenario == "pair" || scenario == "stages" ? needed : hosts;
  for (std::size_t host = 0; host < used; ++host) {
    plan.nodes.push_back({.host = host, .source = host < sources});
  }
  const std::size_t first_fetcher = sources;
  if (scenario == "stages") {
    for (std::size_t node = 1; node < used; ++node) {
      plan.nodes[node].stage = fmt::format("{}/{}", (node - 1) % stages + 1, stages);
    }
  } else if (scenario == "late-join") {
    plan.nodes.back().happening = Happening::kStartLate;
    plan.trigger_node = first_fetcher;
  } else if (scenario == "source-lost") {
    plan.nodes.front().happening = Happening::kKill;
    plan.trigger_node = first_fetcher;
    plan.needs_swarm = true;
  } else if (scenario == "resume") {
    plan.nodes[first_fetcher].happening = Happening::kRestart;
    plan.trigger_node = first_fetcher;
  } else if (scenario == "reuse") {
    plan.reuse = true;
    plan.has_bound = false;  // how much is missing is the tool's own finding
  } else if (std::ranges::find(kScenarios, scenario) == std::ranges::end(kScenarios)) {
    return fail(Errc::kUsage, fmt::format("there is no scenario '{}'", scenario));
  }
  return plan;
}

}  // namespace shardswarm::bench
