#include "bench/lan/result.h"

#include <algorithm>

#include "bench/lan/describe.h"

namespace shardswarm::bench {
namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json rate_json(const RatePoint& point) {
  return {{"t", point.seconds},
          {"received_bytes_per_second", point.received},
          {"sent_bytes_per_second", point.sent}};
}

Json node_json(const NodeResult& node) {
  Json rate = Json::array();
  for (const RatePoint& point : node.rate) rate.push_back(rate_json(point));
  Json fetched_from = Json::object();
  for (const auto& [name, bytes] : node.fetched_from) fetched_from[name] = bytes;
  return {{"name", node.name},
          {"role", node.source ? "source" : "fetcher"},
          {"start_seconds", node.start_seconds},
          {"done_seconds", or_null(node.done_seconds)},
          {"wanted_bytes", node.wanted_bytes},
          {"received_bytes", node.received_bytes},
          {"sent_bytes", node.sent_bytes},
          {"fetched_from", fetched_from},
          {"duplicate_bytes", or_null(node.duplicate_bytes)},
          {"cpu_seconds", node.cpu_seconds},
          {"peak_private_bytes", or_null(node.peak_private_bytes)},
          {"peak_resident_bytes", node.peak_resident_bytes},
          {"disk_written_bytes", or_null(node.disk_written_bytes)},
          {"rate", rate}};
}

Json run_json(const RunResult& run) {
  Json nodes = Json::array();
  for (const NodeResult& node : run.nodes) nodes.push_back(node_json(node));
  return {{"tool", run.tool},
          {"settings", run.settings},
          {"repeat", run.repeat},
          {"warm_up", run.warm_up},
          {"error", or_null(run.error)},
          {"makespan_seconds", run.makespan_seconds},
          {"bound_seconds", run.bound ? Json(run.bound->seconds) : Json(nullptr)},
          {"bound", run.bound ? Json(run.bound->which) : Json(nullptr)},
          {"ratio", or_null(run.ratio())},
          {"source_copies", or_null(run.source_copies)},
          {"nodes", nodes}};
}

Json scenario_json(const ScenarioResult& scenario, std::uint64_t model_bytes) {
  return {{"name", scenario.name},
          {"hosts", scenario.hosts},
          {"stages", or_null(scenario.stages)},
          {"replicas", or_null(scenario.replicas)},
          {"rate_bits_per_second", or_null(scenario.rate_bits_per_second)},
          {"model_bytes", model_bytes},
          {"transport", scenario.tls ? "tls" : "plain"},
          {"engine", scenario.engine},
          {"cold", scenario.cold},
          {"repeats", scenario.repeats}};
}

Json origin_json(const Origin& origin) {
  Json rivals = Json::object();
  for (const auto& [name, version] : origin.rivals) rivals[name] = version;
  return {{"command", origin.command},
          {"version", origin.version},
          {"started", origin.started},
          {"rivals", rivals}};
}

Json model_json(const ModelResult& model) {
  return {{"name", model.name},   {"id", model.id},           {"bytes", model.bytes},
          {"files", model.files}, {"tensors", model.tensors}, {"pieces", model.pieces}};
}

Json host_json(const HostResult& host) {
  return {{"name", host.name},
          {"cpus", host.cpus},
          {"memory_bytes", host.memory_bytes},
          {"kernel", host.kernel},
          {"cpu", host.cpu},
          {"clock_offset_seconds", host.clock_offset_seconds},
          {"clock_error_seconds", host.clock_error_seconds}};
}

Json summary_json(const Summary& summary) {
  return {{"tool", summary.tool},
          {"settings", summary.settings},
          {"runs", summary.runs},
          {"median_makespan_seconds", summary.median_makespan_seconds},
          {"median_ratio", or_null(summary.median_ratio)},
          {"median_receiver_cpu_seconds", summary.median_receiver_cpu_seconds},
          {"times_shardswarm", or_null(summary.times_shardswarm)}};
}

template <class T>
Json array_of(const std::vector<T>& values, Json (*one)(const T&)) {
  Json array = Json::array();
  for (const T& value : values) array.push_back(one(value));
  return array;
}

}  // namespace

std::optional<double> RunResult::ratio() const {
  if (!bound || bound->seconds <= 0 || error) return std::nullopt;
  return makespan_seconds / bound->seconds;
}

Json to_json(const Measurement& measurement) {
  return {{"schema", 1},
          {"conclusion", conclusion_of(measurement)},
          {"origin", origin_json(measurement.origin)},
          {"scenario", scenario_json(measurement.scenario, measurement.model.bytes)},
          {"model", model_json(measurement.model)},
          {"hosts", array_of(measurement.hosts, host_json)},
          {"runs", array_of(measurement.runs, run_json)},
          {"summary", array_of(measurement.summary, summary_json)}};
}

}  // namespace shardswarm::bench
