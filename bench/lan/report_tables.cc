#include "bench/lan/report_tables.h"

#include <algorithm>
#include <optional>

#include "bench/lan/summary.h"

namespace shardswarm::bench {
namespace {

std::string table_head(const std::vector<std::string>& columns, std::string_view kind = "") {
  std::string page;
  add(page, R"(<div class="scroll"><table class="data {}"><thead><tr>)", kind);
  for (const std::string& column : columns) add(page, R"(<th scope="col">{}</th>)", column);
  return page + "</tr></thead><tbody>";
}

const char* const kTableEnd = "</tbody></table></div>";

void add_row(std::string& page, const std::string& name, const std::vector<std::string>& cells,
             std::string_view kind = "") {
  add(page, R"(<tr class="{}"><th scope="row">{}</th>)", kind, name);
  for (const std::string& cell : cells) add(page, R"(<td class="num">{}</td>)", cell);
  page += "</tr>";
}

// What all nodes of a role have of a field, over the runs; without nulls.
std::vector<double> values(const std::vector<Place>& runs, std::string_view role,
                           const std::string& field) {
  std::vector<double> found;
  for (const Place& run : runs) {
    for (const Place& node : nodes(run, role)) {
      if (const Place value = node.at(field); !value.null()) found.push_back(value.number());
    }
  }
  return found;
}

std::string largest(const Entry& entry, std::string_view role, const std::string& field) {
  const std::vector<double> all = values(entry.runs, role, field);
  if (all.empty()) return kNoFigure;
  return derived(fmt::format("max {} {}", role, field), std::ranges::max(all), bytes);
}

// Bytes that came twice, as a share of what was wanted, in the typical run.
std::string duplicates(const Entry& entry) {
  double twice = 0;
  double wanted = 0;
  for (const Place& node : nodes(entry.typical, "fetcher")) {
    if (node.at("duplicate_bytes").null()) return kNoFigure;
    twice += node.at("duplicate_bytes").number();
    wanted += node.at("wanted_bytes").number();
  }
  return wanted > 0 ? derived("duplicate-share", twice / wanted, percent) : kNoFigure;
}

std::string node_table(const Place& run) {
  std::string page = table_head({"node", "from", "done", "wanted", "received", "sent", "twice",
                                 "CPU time", "private", "resident", "written"});
  for (const Place& node : run.at("nodes").elements()) {
    const bool source = node.at("role").json() == "source";
    std::string name = escape(node.at("name").text());
    if (source) name += R"( <span class="kind">source</span>)";
    add_row(page, name,
            {source ? kNoFigure : figure(node.at("start_seconds"), seconds),
             source ? kNoFigure : figure(node.at("done_seconds"), seconds),
             source ? kNoFigure : figure(node.at("wanted_bytes"), bytes),
             figure(node.at("received_bytes"), bytes), figure(node.at("sent_bytes"), bytes),
             figure(node.at("duplicate_bytes"), bytes), figure(node.at("cpu_seconds"), seconds),
             figure(node.at("peak_private_bytes"), bytes),
             figure(node.at("peak_resident_bytes"), bytes),
             figure(node.at("disk_written_bytes"), bytes)});
  }
  return page + kTableEnd;
}

// --- settings ---

// Settings of a tool: measured, or only tried in a warm-up to find the best.
struct Tried {
  Place run;  // one with these settings
  std::optional<Place> warm_up, summary;
};

std::vector<Tried> tried_of(const Place& result) {
  std::vector<Tried> all;
  for (const Place& run : result.at("runs").elements()) {
    auto found = std::ranges::find_if(
        all, [&](const Tried& tried) { return same_settings(tried.run, run); });
    if (found == all.end()) found = all.insert(all.end(), Tried{.run = run});
    if (run.at("warm_up").json().get<bool>() && run.at("error").null()) found->warm_up = run;
  }
  for (const Place& summary : result.at("summary").elements()) {
    for (Tried& tried : all) {
      if (same_settings(tried.run, summary)) tried.summary = summary;
    }
  }
  return all;
}

// The settings that took the least time, or nullptr.
const Tried* best_of(const std::vector<Tried>& all) {
  const Tried* best = nullptr;
  const auto took = [](const Tried& one) {
    return one.summary->at("median_makespan_seconds").number();
  };
  for (const Tried& one : all) {
    if (one.summary && (!best || took(one) < took(*best))) best = &one;
  }
  return best;
}

std::string figure_in(const std::optional<Place>& place, const std::string& key, Unit unit) {
  return place ? figure(place->at(key), unit) : kNoFigure;
}

std::string settings_table(const std::vector<Tried>& all) {
  std::string page = table_head(
      {"settings", "warm-up", "runs", "median", "vs. bound", "vs. shardswarm", "receiver’s CPU"},
      "settings");
  const Tried* best = best_of(all);
  for (const Tried& one : all) {
    const Json& settings = one.run.at("settings").json();
    std::string name = settings.empty() ? "as it comes" : escape(settings_text(settings));
    if (&one == best) name += R"( <span class="mark">best</span>)";
    add_row(
        page, name,
        {figure_in(one.warm_up, "makespan_seconds", seconds), figure_in(one.summary, "runs", count),
         figure_in(one.summary, "median_makespan_seconds", seconds),
         figure_in(one.summary, "median_ratio", times),
         figure_in(one.summary, "times_shardswarm", times),
         figure_in(one.summary, "median_receiver_cpu_seconds", seconds)},
        &one == best ? "best" : "");
  }
  return page + kTableEnd;
}

// "libtorrent: the best of 48 settings is ...", which opens the table of all.
std::string settings_of(const std::vector<Tried>& tried) {
  const std::string tool = escape(tried[0].run.at("tool").text());
  const Tried* best = best_of(tried);
  if (tried.size() == 1) {
    return fmt::format("<h3>{}: one setting</h3>{}", tool, settings_table(tried));
  }
  std::string page;
  add(page, "<h3>{}: {} settings</h3>", tool, tried.size());
  if (best) {
    add(page, R"(<p>The best: {}. It takes {}.</p>)",
        escape(settings_text(best->run.at("settings").json())),
        figure(best->summary->at("median_makespan_seconds"), seconds));
  }
  add(page, "<details><summary>All {} settings</summary>{}</details>", tried.size(),
      settings_table(tried));
  return page;
}

std::string failures(const Place& result) {
  std::string rows;
  for (const Place& run : result.at("runs").elements()) {
    if (run.at("error").null()) continue;
    add(rows, "<li><b>{}</b> {}: {}</li>", escape(run.at("tool").text()),
        escape(settings_text(run.at("settings").json())), escape(run.at("error").text()));
  }
  return rows.empty() ? rows : R"(<h3>Runs that failed</h3><ul class="failed">)" + rows + "</ul>";
}

}  // namespace

std::string resource_tables(const std::vector<Entry>& entries) {
  std::string page = R"(<div class="scroll"><table class="data"><thead><tr><td rowspan="2"></td>)"
                     R"(<th scope="colgroup" colspan="2">CPU time</th>)"
                     R"(<th scope="colgroup" colspan="2">private memory, peak</th>)"
                     R"(<th scope="colgroup" colspan="2">resident memory, peak</th>)"
                     R"(<th scope="colgroup" colspan="2">sent</th></tr><tr>)";
  for (const char* column : {"source", "receiver", "source", "receiver", "source", "receiver",
                             "copies by source", "twice"}) {
    add(page, R"(<th scope="col">{}</th>)", column);
  }
  page += "</tr></thead><tbody>";
  for (const Entry& entry : entries) {
    const std::vector<double> sources = values(entry.runs, "source", "cpu_seconds");
    add_row(page, tool_label(entry),
            {sources.empty() ? kNoFigure
                             : derived("median source cpu_seconds", median(sources), seconds),
             figure(entry.summary.at("median_receiver_cpu_seconds"), seconds),
             largest(entry, "source", "peak_private_bytes"),
             largest(entry, "fetcher", "peak_private_bytes"),
             largest(entry, "source", "peak_resident_bytes"),
             largest(entry, "fetcher", "peak_resident_bytes"),
             figure(entry.typical.at("source_copies"), times), duplicates(entry)},
            entry.tool == "shardswarm" ? "ours" : "");
  }
  page += kTableEnd;
  page += R"(<p class="note">CPU time: user and system, median. Memory: the most of )"
          "any node and run. What a tool does not count is a dash.</p>";
  for (const Entry& entry : entries) {
    if (!entry.best) continue;
    add(page, "<details><summary>{}, every node <small>repeat {}</small></summary>{}</details>",
        escape(entry.tool), figure(entry.typical.at("repeat"), count), node_table(entry.typical));
  }
  return page;
}

std::string settings_tables(const Place& result) {
  std::vector<std::vector<Tried>> tools;
  for (const Tried& tried : tried_of(result)) {
    const auto same_tool = [&](const std::vector<Tried>& other) {
      return other[0].run.at("tool").json() == tried.run.at("tool").json();
    };
    auto found = std::ranges::find_if(tools, same_tool);
    if (found == tools.end()) found = tools.emplace(tools.end());
    found->push_back(tried);
  }
  std::string page;
  for (const std::vector<Tried>& tried : tools) page += settings_of(tried);
  return page;
}

std::string origin_table(const Place& result) {
  const Place origin = result.find("origin");
  const Place model = result.find("model");
  std::string page = R"(<dl class="origin">)";
  const auto row = [&](std::string_view name, const std::string& value) {
    add(page, "<dt>{}</dt><dd>{}</dd>", name, value);
  };
  row("Command", fmt::format("<code>{}</code>", words(origin.find("command"))));
  row("Version", words(origin.find("version")));
  row("Started", words(origin.find("started")));
  row("Model",
      fmt::format("{}: {} bytes, {} files, {} tensors, {} pieces", words(model.find("name")),
                  figure(model.find("bytes"), count), figure(model.find("files"), count),
                  figure(model.find("tensors"), count), figure(model.find("pieces"), count)));
  const Place rivals = origin.find("rivals");
  if (rivals.json().is_object()) {
    for (const auto& [name, version] : rivals.json().items()) {
      row(escape(name), words(rivals.at(name)));
    }
  }
  return page + "</dl>";
}

std::string environment_tables(const Place& result) {
  std::string page = table_head(
      {"host", "processor", "cores", "memory", "kernel", "clock’s offset", "known to ±"});
  for (const Place& host : result.at("hosts").elements()) {
    add_row(page, escape(host.at("name").text()),
            {words(host.find("cpu")), figure(host.at("cpus"), count),
             figure(host.at("memory_bytes"), bytes), escape(host.at("kernel").text()),
             figure(host.at("clock_offset_seconds"), milliseconds),
             figure(host.at("clock_error_seconds"), milliseconds)});
  }
  return page + kTableEnd + failures(result);
}

}  // namespace shardswarm::bench
