#include "bench/lan/table.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/lan/describe.h"
#include "bench/lan/report_text.h"
#include "bench/lan/summary.h"

namespace shardswarm::bench {
namespace {

constexpr double kMiB = 1 << 20;

std::string text_of(const std::optional<double>& value, const char* unit = "") {
  return value ? fmt::format("{:.2f}{}", *value, unit) : "-";
}

std::string rate_text(double bits) {
  return bits >= 1e9 ? fmt::format("{:g} Gbit/s links", bits / 1e9)
                     : fmt::format("{:g} Mbit/s links", bits / 1e6);
}

// The median over the counted runs of a tool, of what `of` says of each.
template <class Of>
std::optional<double> median_over(const Measurement& measurement, const Summary& summary, Of of) {
  std::vector<double> values;
  for (const RunResult& run : measurement.runs) {
    if (run.warm_up || run.error || run.tool != summary.tool || run.settings != summary.settings) {
      continue;
    }
    if (const std::optional<double> value = of(run)) values.push_back(*value);
  }
  if (values.empty()) return std::nullopt;
  return median(std::move(values));
}

std::optional<double> source_cpu(const RunResult& run) {
  double sum = 0;
  for (const NodeResult& node : run.nodes) sum += node.source ? node.cpu_seconds : 0;
  return sum;
}

// Of the fetcher that took the most.
std::optional<double> private_mib(const RunResult& run) {
  std::optional<double> most;
  for (const NodeResult& node : run.nodes) {
    if (node.source || !node.peak_private_bytes) continue;
    most = std::max(most.value_or(0), static_cast<double>(*node.peak_private_bytes) / kMiB);
  }
  return most;
}

// "2 hosts (AMD EPYC, 2 cores, 23.5 GiB, Linux 6.18)"; hosts that are not alike have a line each.
std::string hosts_text(const std::vector<HostResult>& hosts) {
  const auto machine = [](const HostResult& host) {
    return fmt::format("{}{} cores, {:.1f} GiB memory, Linux {}",
                       host.cpu.empty() ? "" : host.cpu + ", ", host.cpus,
                       static_cast<double>(host.memory_bytes) / (1024 * kMiB), host.kernel);
  };
  const bool alike = std::ranges::all_of(
      hosts, [&](const HostResult& host) { return machine(host) == machine(hosts.front()); });
  if (alike && !hosts.empty()) {
    return fmt::format("hosts    {} with {}\n", hosts.size(), machine(hosts.front()));
  }
  std::string text;
  for (const HostResult& host : hosts) {
    text += fmt::format("host     {}: {}\n", host.name, machine(host));
  }
  return text;
}

std::string origin_text(const Measurement& measurement) {
  const Origin& origin = measurement.origin;
  const ModelResult& model = measurement.model;
  std::string text = fmt::format(
      "command  {}\nversion  {}\nstarted  {}\nmodel    {}: {} bytes, {} files, {} tensors, {} "
      "pieces\n",
      origin.command, origin.version, origin.started, model.name, model.bytes, model.files,
      model.tensors, model.pieces);
  for (const auto& [name, version] : origin.rivals) {
    text += fmt::format("rival    {}: {}\n", name, version);
  }
  return text + hosts_text(measurement.hosts);
}

std::string heading(const Measurement& measurement) {
  const ScenarioResult& scenario = measurement.scenario;
  std::string text = fmt::format("{}: {} hosts", scenario.name, scenario.hosts);
  if (scenario.stages) {
    text += fmt::format(" ({} stages x {})", *scenario.stages, scenario.replicas.value_or(1));
  }
  if (scenario.rate_bits_per_second) text += ", " + rate_text(*scenario.rate_bits_per_second);
  text += fmt::format(", {:.1f} MiB, {}, engine {},{} medians of {}\n",
                      static_cast<double>(measurement.model.bytes) / kMiB,
                      scenario.tls ? "TLS" : "plain", scenario.engine,
                      scenario.cold ? " cold source," : "", scenario.repeats);
  return text;
}

}  // namespace

std::string line_of(const RunResult& run) {
  const std::string settings = settings_text(run.settings);
  std::string text = fmt::format("{} {}{}{}: ", run.warm_up ? "warm-up" : "run",
                                 run.warm_up ? "" : fmt::format("{} ", run.repeat), run.tool,
                                 settings.empty() ? "" : " (" + settings + ")");
  if (run.error) return text + "FAILED: " + *run.error;
  text += fmt::format("{:.2f} s", run.makespan_seconds);
  if (const auto ratio = run.ratio()) {
    text += fmt::format(" = {:.3f} x the bound ({})", *ratio, run.bound->which);
  }
  if (run.source_copies) text += fmt::format(", source sent {:.3f} copies", *run.source_copies);
  return text;
}

std::string table_of(const Measurement& measurement) {
  std::string text = origin_text(measurement) + "\n" + heading(measurement);
  text += fmt::format("{:<12} {:>4} {:>9} {:>8} {:>7} {:>11} {:>11} {:>12} {:>13}  {}\n", "tool",
                      "runs", "makespan", "x bound", "copies", "source CPU", "fetch CPU",
                      "private MiB", "x shardswarm", "settings");
  for (const Summary& summary : measurement.summary) {
    const auto over = [&](auto of) { return median_over(measurement, summary, of); };
    text +=
        fmt::format("{:<12} {:>4} {:>9} {:>8} {:>7} {:>11} {:>11} {:>12} {:>13}  {}\n",
                    summary.tool, summary.runs, text_of(summary.median_makespan_seconds, " s"),
                    summary.median_ratio ? fmt::format("{:.3f}", *summary.median_ratio) : "-",
                    text_of(over([](const RunResult& run) { return run.source_copies; })),
                    text_of(over(source_cpu), " s"),
                    text_of(summary.median_receiver_cpu_seconds, " s"), text_of(over(private_mib)),
                    text_of(summary.times_shardswarm), settings_text(summary.settings));
  }
  for (const RunResult& run : measurement.runs) {
    if (run.error) text += line_of(run) + "\n";
  }
  return text + "\n" + conclusion_of(measurement) + "\n";
}

}  // namespace shardswarm::bench
