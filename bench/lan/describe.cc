#include "bench/lan/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <vector>

#include "bench/lan/deploy.h"
#include "bench/lan/report_text.h"

namespace shardswarm::bench {
namespace {

// 2.23 GB: decimal units, as links and disks are sold.
std::string decimal_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && value >= 999.5) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{} {}", unit == 0 ? fmt::format("{:.0f}", value) : three_digits(value),
                     kUnits[unit]);
}

std::string in_words(std::uint64_t number) {
  constexpr std::array<const char*, 11> kWords = {"no",  "one",   "two",   "three", "four", "five",
                                                  "six", "seven", "eight", "nine",  "ten"};
  return number < kWords.size() ? kWords[number] : std::to_string(number);
}

std::string hosts_text(std::uint64_t hosts) {
  return hosts == 1 ? "one host" : fmt::format("{} hosts", in_words(hosts));
}

// Whether runs with these settings compare what they receive with digests. A tool that may choose
// has the setting "verify"; shardswarm and libtorrent always do.
bool verifies(const Json& settings) { return settings.value("verify", true); }

std::string moved(const Measurement& measurement) {
  const ScenarioResult& scenario = measurement.scenario;
  const std::string size = decimal_bytes(measurement.model.bytes);
  const std::uint64_t others = scenario.hosts > 0 ? scenario.hosts - 1 : 0;
  if (scenario.name == "stages") {
    return fmt::format("brought {} hosts their pipeline stages of {}", in_words(others), size);
  }
  if (scenario.name == "reuse") {
    return fmt::format("brought {} that hold{} an older version a new one of {}",
                       hosts_text(others), others == 1 ? "s" : "", size);
  }
  if (scenario.name == "source-lost") {
    return fmt::format("brought {} to {}, although one of two sources was lost at half of it,",
                       size, hosts_text(others > 0 ? others - 1 : 0));
  }
  if (scenario.name == "resume") {
    return fmt::format("brought {} to {}, of which one was killed at half of it and started again,",
                       size, hosts_text(others));
  }
  if (scenario.name == "late-join") {
    return fmt::format("brought {} to {}, of which one came when the first had half of it,", size,
                       hosts_text(others));
  }
  return others == 1 ? fmt::format("brought {} from one host to another", size)
                     : fmt::format("brought {} from one host to {} others", size, in_words(others));
}

// How many settings of the tool were tried that verify, or that do not.
std::size_t tried(const Measurement& measurement, const std::string& tool, bool verified) {
  std::set<std::string> settings;
  for (const RunResult& run : measurement.runs) {
    if (run.tool == tool && verifies(run.settings) == verified)
      settings.insert(run.settings.dump());
  }
  return settings.size();
}

// The fastest rival of those that verify, or of those that do not; nullptr if there is none.
const Summary* fastest(const Measurement& measurement, bool verified) {
  const Summary* best = nullptr;
  for (const Summary& summary : measurement.summary) {
    if (summary.tool == "shardswarm" || verifies(summary.settings) != verified) continue;
    if (!summary.times_shardswarm) continue;
    if (best == nullptr || *summary.times_shardswarm < *best->times_shardswarm) best = &summary;
  }
  return best;
}

std::string beside(const Measurement& measurement, const Summary& rival) {
  const bool verified = verifies(rival.settings);
  const double times = *rival.times_shardswarm;
  std::string text =
      times >= 1 ? fmt::format("{:.{}f} times as fast as {}", times, times < 2 ? 2 : 1, rival.tool)
                 : fmt::format("taking {:.2f} times as long as {}", 1 / times, rival.tool);
  const std::size_t settings = tried(measurement, rival.tool, verified);
  if (settings > 1) text += fmt::format(" with the best of {} settings", settings);
  return verified ? text : text + ", which verified nothing";
}

}  // namespace

std::string command_line(std::span<const std::string> words) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=@%+";
  std::string line;
  for (const std::string& word : words) {
    const bool plain = !word.empty() && word.find_first_not_of(kPlain) == std::string::npos;
    line += (line.empty() ? "" : " ") + (plain ? word : shell_quoted(word));
  }
  return line;
}

std::string model_name(const std::string& directory) {
  // A trailing slash leaves an empty last part.
  std::filesystem::path path = std::filesystem::path(directory).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  const std::filesystem::path cache = path.parent_path().parent_path().filename();
  constexpr std::string_view kPrefix = "models--";
  if (path.parent_path().filename() != "snapshots" || !cache.string().starts_with(kPrefix)) {
    return path.filename().string();
  }
  std::string name = cache.string().substr(kPrefix.size());
  if (const std::size_t at = name.find("--"); at != std::string::npos) name.replace(at, 2, "/");
  return name;
}

std::string conclusion_of(const Measurement& measurement) {
  const auto ours = std::ranges::find(measurement.summary, "shardswarm", &Summary::tool);
  if (ours == measurement.summary.end()) return "No run of shardswarm came to its end.";
  std::string text = fmt::format("shardswarm {} in {} s", moved(measurement),
                                 three_digits(ours->median_makespan_seconds));
  std::vector<std::string> comparisons;
  if (ours->median_ratio) {
    comparisons.push_back(
        fmt::format("{:.2f} times the least time that the links allow", *ours->median_ratio));
  }
  for (const bool verified : {true, false}) {
    if (const Summary* rival = fastest(measurement, verified)) {
      comparisons.push_back(beside(measurement, *rival));
    }
  }
  for (std::size_t i = 0; i < comparisons.size(); ++i) {
    text += (i == 0 ? ", " : i + 1 == comparisons.size() ? ", and " : ", ") + comparisons[i];
  }
  return text + (ours->runs == 1 ? " (one round)."
                                 : fmt::format(" (median of {} rounds).", in_words(ours->runs)));
}

}  // namespace shardswarm::bench
