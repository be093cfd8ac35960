#include "bench/lan/summary.h"

#include <algorithm>
#include <map>

namespace shardswarm::bench {
namespace {

struct Group {
  const RunResult* first = nullptr;
  std::vector<double> makespans, ratios, cpu, times;
};

double receiver_cpu(const RunResult& run) {
  double sum = 0;
  int count = 0;
  for (const NodeResult& node : run.nodes) {
    if (node.source) continue;
    sum += node.cpu_seconds;
    ++count;
  }
  return count > 0 ? sum / count : 0;
}

const RunResult* ours_beside(std::span<const RunResult> runs, std::uint32_t repeat) {
  const auto found = std::ranges::find_if(runs, [&](const RunResult& run) {
    return run.tool == "shardswarm" && run.repeat == repeat && !run.warm_up && !run.error;
  });
  return found == runs.end() ? nullptr : &*found;
}

}  // namespace

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

std::vector<Summary> summarize(std::span<const RunResult> runs) {
  std::vector<Group> groups;
  for (const RunResult& run : runs) {
    if (run.warm_up || run.error) continue;
    auto group = std::ranges::find_if(groups, [&](const Group& other) {
      return other.first->tool == run.tool && other.first->settings == run.settings;
    });
    if (group == groups.end()) group = groups.insert(group, {.first = &run});
    group->makespans.push_back(run.makespan_seconds);
    group->cpu.push_back(receiver_cpu(run));
    if (const auto ratio = run.ratio()) group->ratios.push_back(*ratio);
    const RunResult* ours = ours_beside(runs, run.repeat);
    if (ours != nullptr && ours->makespan_seconds > 0) {
      group->times.push_back(run.makespan_seconds / ours->makespan_seconds);
    }
  }
  std::vector<Summary> summaries;
  for (const Group& group : groups) {
    Summary summary{.tool = group.first->tool,
                    .settings = group.first->settings,
                    .runs = static_cast<std::uint32_t>(group.makespans.size()),
                    .median_makespan_seconds = median(group.makespans),
                    .median_receiver_cpu_seconds = median(group.cpu)};
    if (!group.ratios.empty()) summary.median_ratio = median(group.ratios);
    if (!group.times.empty()) summary.times_shardswarm = median(group.times);
    summaries.push_back(std::move(summary));
  }
  return summaries;
}

std::vector<Json> finalists(std::span<const RunResult> warm_up, std::string_view tool) {
  constexpr double kAlike = 1.05;
  constexpr std::size_t kFinalists = 3;
  std::vector<const RunResult*> good;
  for (const RunResult& run : warm_up) {
    if (run.tool == tool && run.warm_up && !run.error) good.push_back(&run);
  }
  // Of equals the one that ran first: they stand in one array.
  std::ranges::sort(good, {},
                    [](const RunResult* run) { return std::pair(run->makespan_seconds, run); });
  std::vector<Json> kept;
  std::map<bool, std::vector<const RunResult*>> kinds;  // by whether they verify
  for (const RunResult* run : good) {
    std::vector<const RunResult*>& kind = kinds[run->settings.value("verify", true)];
    if (kind.size() >= kFinalists) continue;
    if (!kind.empty() && run->makespan_seconds > kAlike * kind.front()->makespan_seconds) continue;
    kind.push_back(run);
    kept.push_back(run->settings);
  }
  return kept;
}

std::optional<Json> fastest_settings(std::span<const RunResult> warm_up, std::string_view tool) {
  const RunResult* best = nullptr;
  for (const RunResult& run : warm_up) {
    if (run.tool != tool || run.error) continue;
    if (best == nullptr || run.makespan_seconds < best->makespan_seconds) best = &run;
  }
  if (best == nullptr) return std::nullopt;
  return best->settings;
}

}  // namespace shardswarm::bench
