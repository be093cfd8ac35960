#include "bench/lan/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/lan/report_charts.h"
#include "bench/lan/report_style.h"
#include "bench/lan/report_tables.h"

namespace shardswarm::bench {
namespace {

constexpr int kSchema = 1;

// "late-join" as a title: "Late join".
std::string title_of(const Place& scenario) {
  std::string name = scenario.at("name").text();
  std::ranges::replace(name, '-', ' ');
  if (!name.empty() && name[0] >= 'a' && name[0] <= 'z') name[0] = static_cast<char>(name[0] - 32);
  return escape(name);
}

std::string fact(const std::string& text) { return fmt::format("<span>{}</span> ", text); }

// "1 host", "8 hosts".
std::string counted(const Place& number, const std::string& what) {
  return fact(figure(number, count) + " " + what + (number.json() == 1 ? "" : "s"));
}

std::string facts(const Place& scenario) {
  std::string page = R"(<p class="facts">)";
  page += fact(figure(scenario.at("model_bytes"), bytes));
  page += counted(scenario.at("hosts"), "host");
  if (!scenario.at("stages").null()) page += counted(scenario.at("stages"), "stage");
  if (!scenario.at("replicas").null()) {
    page += counted(scenario.at("replicas"), "replica");
  }
  if (!scenario.at("rate_bits_per_second").null()) {
    page += fact("links of " + figure(scenario.at("rate_bits_per_second"), bits_per_second));
  }
  page += fact(scenario.at("transport").json() == "tls" ? "TLS" : "plain TCP");
  page += fact("engine " + escape(scenario.at("engine").text()));
  if (scenario.json().value("cold", false)) page += fact("cold source");
  return page + counted(scenario.at("repeats"), "repeat") + "</p>";
}

std::string tile(const std::string& name, const std::string& value, const std::string& more) {
  return fmt::format("<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>", name, value, more);
}

// The fastest that is not shardswarm, or nullptr.
const Entry* rival(const std::vector<Entry>& entries) {
  const auto found =
      std::ranges::find_if(entries, [](const Entry& entry) { return entry.tool != "shardswarm"; });
  return found == entries.end() ? nullptr : &*found;
}

std::string tiles(const std::vector<Entry>& entries) {
  const Entry* own = ours(entries);
  if (!own) return "";
  const Place& run = own->typical;
  std::string page = R"(<dl class="tiles">)";
  page += tile("Makespan", figure(own->summary.at("median_makespan_seconds"), seconds), "median");
  if (!own->summary.at("median_ratio").null()) {
    page += tile("Against the bound", figure(own->summary.at("median_ratio"), times),
                 run.at("bound").null() ? "" : "set by: " + escape(run.at("bound").text()));
  }
  if (!run.at("source_copies").null()) {
    page += tile("The source sent", figure(run.at("source_copies"), times), "the model");
  }
  page += tile("Receiver’s CPU time",
               figure(own->summary.at("median_receiver_cpu_seconds"), seconds), "median");
  if (const Entry* other = rival(entries); other && !other->summary.at("times_shardswarm").null()) {
    page += tile("Fastest rival", figure(other->summary.at("times_shardswarm"), times),
                 "as long: " + tool_label(*other));
  }
  return page + "</dl>";
}

std::string section(const std::string& title, const std::string& note, const std::string& content) {
  return fmt::format(R"(<section><h2>{}</h2><p class="note">{}</p>{}</section>)", title, note,
                     content);
}

std::string comparison(const Place& result, const std::vector<Entry>& shown) {
  std::string page = tiles(shown);
  page += section(
      "Makespan",
      "From the start of the first fetcher until everybody has everything. Bars are medians, "
      "circles single runs; of each tool the best of its settings.",
      makespan_chart(shown));
  page += section("Rate over time", "Payload of every node, in the run nearest to the median.",
                  rate_charts(result, shown));
  page += section("Who sent to whom", "In the same runs; the stronger the colour, the more.",
                  exchange_charts(shown));
  return page + section("CPU and memory", "Over all runs with the settings above.",
                        resource_tables(shown));
}

std::string conclusion(const Place& result) {
  const Place sentence = result.find("conclusion");
  return sentence.null() ? "" : fmt::format(R"(<p class="conclusion">{}</p>)", words(sentence));
}

std::string page_of(const Place& result) {
  const Place scenario = result.at("scenario");
  const std::string title = title_of(scenario);
  // The browser itself makes sure that nothing is loaded and nothing is run.
  std::string page =
      R"(<!doctype html><html lang="en"><head><meta charset="utf-8">)"
      R"(<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">)"
      R"(<meta name="viewport" content="width=device-width, initial-scale=1">)";
  page += fmt::format("<title>shardswarm: {}</title><style>{}</style></head><body><main>", title,
                      kStyle);
  page +=
      fmt::format("<header><h1>{}</h1>{}{}</header>", title, conclusion(result), facts(scenario));
  const std::vector<Entry> shown = entries(result);
  page += shown.empty() ? "<p>No run went well.</p>" : comparison(result, shown);
  page += section("Settings tried",
                  "The first round does not count: in it each tool is tried once with each of its "
                  "settings. The fastest, and those within 5 % of it, take part in the counted "
                  "rounds. The charts show the best of these.",
                  settings_tables(result));
  page += section("How it was measured",
                  "The controller aligned the clocks of the hosts before each run.",
                  origin_table(result) + environment_tables(result));
  return page +
         "<footer>shardswarm-bench. Every figure carries its raw value and its place in the "
         "result’s JSON.</footer></main></body></html>\n";
}

}  // namespace

Result<std::string> html_report(const Json& result) {
  try {
    if (result.at("schema") != kSchema) {
      return fail(Errc::kVersion, fmt::format("a result of schema {}, and only {} is understood",
                                              result.at("schema").dump(), kSchema));
    }
    return page_of(Place(result));
  } catch (const Json::exception& error) {
    return fail(Errc::kMalformed,
                fmt::format("this is not a result of schema {}: {}", kSchema, error.what()));
  }
}

}  // namespace shardswarm::bench
