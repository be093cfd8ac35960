#include "simulator/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

namespace shardswarm::sim {
namespace {

// Members in the order in which they are written, as the README lists them.
using OrderedJson = nlohmann::ordered_json;

double seconds(Duration time) { return std::chrono::duration<double>(time).count(); }

std::string seconds_text(std::optional<Time> time) {
  return time && *time != Time::max() ? fmt::format("{:.3f} s", seconds(*time)) : "never";
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; amount >= 1024 && unit + 1 < kUnits.size(); ++unit) amount /= 1024;
  return fmt::format("{:.{}f} {}", amount, unit == 0 ? 0 : 1, kUnits[unit]);
}

// Null for what never happened: JSON knows no infinity.
OrderedJson seconds_json(std::optional<Time> time) {
  return time && *time != Time::max() ? OrderedJson(seconds(*time)) : OrderedJson();
}

// What became of the nodes that must be done, at `which` time of theirs, earliest first; those for
// which it never came stand behind as Time::max().
std::vector<Time> times_of(const Scenario& scenario, const Outcome& outcome,
                           std::optional<Time> NodeOutcome::* which) {
  std::vector<Time> times;
  for (std::size_t i = 0; i < outcome.nodes.size(); ++i) {
    const NodeSpec& spec = scenario.nodes[i];
    if (spec.seed || spec.leaves || spec.behaviour == Behaviour::kHoards) continue;
    times.push_back((outcome.nodes[i].*which).value_or(Time::max()));
  }
  std::ranges::sort(times);
  return times;
}

// The lower of the two in the middle of an even number.
Time median_finish(const Scenario& scenario, const Outcome& outcome) {
  const std::vector<Time> times = times_of(scenario, outcome, &NodeOutcome::finished);
  return times[(times.size() - 1) / 2];
}

Time first_layer_of_all(const Scenario& scenario, const Outcome& outcome) {
  return times_of(scenario, outcome, &NodeOutcome::first_layer).back();
}

std::string node_text(const NodeSpec& spec, const NodeOutcome& node) {
  const std::string sent = "sent " + bytes_text(node.sent_bytes);
  if (spec.seed) return fmt::format("  {:<16} seed, {}\n", node.name, sent);
  std::string text =
      fmt::format("  {:<16} {:>10}, first layer {:>10}, wanted {}, fetched {}, {}", node.name,
                  seconds_text(node.finished), seconds_text(node.first_layer),
                  bytes_text(node.wanted_bytes), bytes_text(node.fetched_bytes), sent);
  if (node.duplicate_bytes > 0) text += ", twice " + bytes_text(node.duplicate_bytes);
  if (!node.error.empty()) text += ": " + node.error;
  return text + "\n";
}

OrderedJson node_json(const NodeSpec& spec, const NodeOutcome& node) {
  OrderedJson json = {{"name", node.name},
                      {"seed", spec.seed},
                      {"joined_seconds", seconds(spec.joins)},
                      {"wanted_bytes", node.wanted_bytes},
                      {"finished_seconds", seconds_json(node.finished)},
                      {"first_layer_seconds", seconds_json(node.first_layer)},
                      {"fetched_bytes", node.fetched_bytes},
                      {"duplicate_bytes", node.duplicate_bytes},
                      {"sent_bytes", node.sent_bytes}};
  if (!node.error.empty()) json["error"] = node.error;
  return json;
}

}  // namespace

std::optional<double> ratio(const Outcome& outcome, const Bound& bound) {
  if (!outcome.complete || bound.time <= Time{} || bound.time == Time::max()) return {};
  return seconds(outcome.makespan) / seconds(bound.time);
}

std::string as_text(const Scenario& scenario, const Outcome& outcome, const Bound& bound,
                    bool nodes) {
  const std::optional<double> times = ratio(outcome, bound);
  std::string text = fmt::format(
      "{}: {} of at least {} ({}): {}; source {:.2f} copies, twice {}, control {} in {} messages, "
      "half of them {}, first layer {}\n",
      scenario.name,
      outcome.complete ? seconds_text(outcome.makespan)
                       : "NOT COMPLETE after " + seconds_text(outcome.makespan),
      seconds_text(bound.time), bound.which, times ? fmt::format("x{:.3f}", *times) : "no ratio",
      outcome.source_copies, bytes_text(outcome.duplicate_bytes), bytes_text(outcome.control_bytes),
      outcome.control_messages, seconds_text(median_finish(scenario, outcome)),
      seconds_text(first_layer_of_all(scenario, outcome)));
  if (!nodes) return text;
  for (std::size_t i = 0; i < outcome.nodes.size(); ++i) {
    text += node_text(scenario.nodes[i], outcome.nodes[i]);
  }
  return text;
}

std::string as_json(const Scenario& scenario, std::uint64_t seed, const Outcome& outcome,
                    const Bound& bound) {
  const std::optional<double> times = ratio(outcome, bound);
  OrderedJson json = {{"scenario", scenario.name},
                      {"seed", seed},
                      {"complete", outcome.complete},
                      {"seconds", seconds(outcome.makespan)},
                      {"bound_seconds", seconds_json(bound.time)},
                      {"bound", bound.which},
                      {"ratio", times ? OrderedJson(*times) : OrderedJson()},
                      {"median_seconds", seconds_json(median_finish(scenario, outcome))},
                      {"first_layer_seconds", seconds_json(first_layer_of_all(scenario, outcome))},
                      {"pieces", outcome.pieces},
                      {"model_bytes", outcome.model_bytes},
                      {"source_copies", outcome.source_copies},
                      {"duplicate_bytes", outcome.duplicate_bytes},
                      {"control_messages", outcome.control_messages},
                      {"control_bytes", outcome.control_bytes},
                      {"events", outcome.events},
                      {"nodes", OrderedJson::array()}};
  for (std::size_t i = 0; i < outcome.nodes.size(); ++i) {
    json["nodes"].push_back(node_json(scenario.nodes[i], outcome.nodes[i]));
  }
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace shardswarm::sim
