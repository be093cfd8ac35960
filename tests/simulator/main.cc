// swarm_sim: runs scenarios and prints how near each came to its bound.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "simulator/report.h"

namespace {

using namespace shardswarm;
using namespace shardswarm::sim;

constexpr int kExitIncomplete = 1;
constexpr int kExitUsage = 2;

struct Arguments {
  std::vector<std::string> files;
  std::vector<std::string> set;
  std::uint64_t seed = 1;
  std::uint32_t repeat = 1;
  bool json = false;
  bool nodes = false;
};

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

// The middle one; of an even number the lower of the two. Nothing if any run has no ratio.
std::string median_text(std::vector<double> ratios, const Arguments& arguments) {
  if (ratios.size() < arguments.repeat) return arguments.json ? "null" : "none";
  std::ranges::sort(ratios);
  return fmt::format("{:.4f}", ratios[(ratios.size() - 1) / 2]);
}

// Whether all runs were complete.
bool run_seeds(const Scenario& scenario, const Arguments& arguments) {
  const Bound bound = lower_bound(scenario, resolve_wants(scenario));
  std::vector<double> ratios;
  bool complete = true;
  for (std::uint32_t i = 0; i < arguments.repeat; ++i) {
    const std::uint64_t seed = arguments.seed + i;
    const Outcome outcome = run(scenario, seed);
    print(arguments.json ? as_json(scenario, seed, outcome, bound) + "\n"
                         : as_text(scenario, outcome, bound, arguments.nodes));
    complete = complete && outcome.complete;
    if (const auto times = ratio(outcome, bound)) ratios.push_back(*times);
  }
  if (arguments.repeat > 1) {
    const std::string median = median_text(std::move(ratios), arguments);
    print(arguments.json
              ? fmt::format("{{\"median_ratio\":{},\"runs\":{}}}\n", median, arguments.repeat)
              : fmt::format("{}: median ratio of {} runs {}\n", scenario.name, arguments.repeat,
                            median));
  }
  return complete;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Runs the real cores of a swarm on a virtual network and clock, and compares the time with "
      "the shortest that is possible.",
      "swarm_sim");
  app.add_option("SCENARIO", arguments.files, "JSON files, run one after the other")->required();
  app.add_option("--seed", arguments.seed, "Of all randomness")->capture_default_str();
  app.add_option("--repeat", arguments.repeat, "Runs with this and the following seeds")
      ->check(CLI::Range(1, 10000));
  app.add_option("--set", arguments.set,
                 "PATH=VALUE: a member of the scenarios, as rules.leases=false or nodes.1.count=63")
      ->allow_extra_args(false);
  app.add_flag("--json", arguments.json, "One JSON object a run and line");
  app.add_flag("--nodes", arguments.nodes, "A line for each node, too");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kExitUsage;
  }
  bool complete = true;
  for (const std::string& file : arguments.files) {
    const auto scenario = read_scenario(file, arguments.set);
    if (!scenario) {
      fmt::print(stderr, "swarm_sim: {}\n", scenario.error().message);
      return kExitUsage;
    }
    complete = run_seeds(*scenario, arguments) && complete;
  }
  return complete ? 0 : kExitIncomplete;
}
