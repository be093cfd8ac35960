#include "bench/lan/report_view.h"

#include <algorithm>
#include <cmath>

namespace shardswarm::bench {
namespace {

double makespan(const Place& run) { return run.at("makespan_seconds").number(); }

std::optional<Entry> entry_of(const Place& result, const Place& summary) {
  std::vector<Place> runs;
  for (const Place& run : result.at("runs").elements()) {
    if (same_settings(run, summary) && !run.at("warm_up").json().get<bool>() &&
        run.at("error").null()) {
      runs.push_back(run);
    }
  }
  if (runs.empty()) return std::nullopt;
  const double middle = summary.at("median_makespan_seconds").number();
  const Place typical = *std::ranges::min_element(
      runs, {}, [middle](const Place& run) { return std::abs(makespan(run) - middle); });
  std::optional<bool> verify;
  const Json& settings = summary.at("settings").json();
  if (settings.contains("verify")) verify = settings.at("verify").get<bool>();
  return Entry{.tool = summary.at("tool").text(),
               .verify = verify,
               .summary = summary,
               .runs = std::move(runs),
               .typical = typical};
}

}  // namespace

bool same_settings(const Place& one, const Place& other) {
  return one.at("tool").json() == other.at("tool").json() &&
         nlohmann::json(one.at("settings").json()) == nlohmann::json(other.at("settings").json());
}

std::vector<Entry> entries(const Place& result) {
  std::vector<Entry> all;
  for (const Place& summary : result.at("summary").elements()) {
    if (auto entry = entry_of(result, summary)) all.push_back(std::move(*entry));
  }
  std::ranges::sort(all, {}, [](const Entry& entry) {
    return entry.summary.at("median_makespan_seconds").number();
  });
  std::vector<Entry> shown;
  for (Entry& entry : all) {
    const auto same_tool = [&](const Entry& other) { return other.tool == entry.tool; };
    const auto same_kind = [&](const Entry& other) {
      return same_tool(other) && other.verify == entry.verify;
    };
    entry.best = std::ranges::none_of(shown, same_tool);
    if (std::ranges::none_of(shown, same_kind)) shown.push_back(entry);
  }
  return shown;
}

const Entry* ours(const std::vector<Entry>& entries) {
  const auto found = std::ranges::find(entries, "shardswarm", &Entry::tool);
  return found == entries.end() ? nullptr : &*found;
}

std::string tool_label(const Entry& entry) {
  std::string page;
  add(page, "<b>{}</b>", escape(entry.tool));
  if (entry.verify) {
    add(page, R"( <span class="kind">{}</span>)", *entry.verify ? "+ SHA-256" : "unverified");
  }
  return page;
}

std::vector<Place> nodes(const Place& run, std::string_view role) {
  std::vector<Place> found;
  for (const Place& node : run.at("nodes").elements()) {
    if (node.at("role").json() == role) found.push_back(node);
  }
  return found;
}

}  // namespace shardswarm::bench
