#include "bench/lan/session.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "bench/lan/describe.h"
#include "bench/lan/run.h"
#include "bench/lan/summary.h"
#include "bench/lan/table.h"

namespace shardswarm::bench {
namespace {

constexpr std::string_view kRivals[] = {"libtorrent", "curl", "aria2", "rsync"};
constexpr const char* kManifestFile = "manifest.json";
constexpr const char* kKeyFile = "cluster.key";
constexpr const char* kOlder = "older";
// How often the settings around a rival's fastest are tried: the second time finds those that
// differ from the grid's fastest in two.
constexpr int kRefinements = 2;

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::vector<std::string> split(const std::string& list) {
  std::istringstream stream(list);
  std::vector<std::string> names;
  for (std::string name; std::getline(stream, name, ',');) names.push_back(name);
  return names;
}

// A rival that takes part, and what its adapter can do.
struct Rival {
  std::string name;
  std::set<std::string> verbs;
  std::vector<std::string> prepared_by;         // the settings that `prepare` looks at
  std::map<std::string, std::string> prepared;  // its files, by the values of these settings
};

class Session {
 public:
  Session(Loop& loop, const Options& options, Cluster& cluster, Plan plan)
      : loop_(loop), options_(options), cluster_(cluster), plan_(std::move(plan)) {}

  Result<void> prepare();
  Result<void> run_all();
  Measurement measurement();

 private:
  Result<void> make_key();
  Result<void> make_model();
  Result<void> make_checkpoint(const std::string& directory, bool newer);
  Result<void> list_model();
  Result<void> describe();
  Result<void> distribute(const std::string& model, std::size_t host, const std::string& to,
                          const std::string& state);
  Result<void> find_rivals();
  Result<void> find_rival(const std::string& name, bool named);
  std::size_t fetchers() const;
  Result<Json> ask(const std::string& name, std::vector<std::string> words);
  Result<void> add_settings(Rival& rival, const Json& all);
  Result<void> prepare_tool(Rival& rival, Tool& tool);
  Result<void> run(const Tool& tool, std::uint32_t repeat);
  Result<void> refine();
  Result<void> refine(Rival& rival);
  void keep_finalists();
  Command adapter(std::size_t host, const std::string& name, std::vector<std::string> words) const;

  Loop& loop_;
  const Options& options_;
  Cluster& cluster_;
  Plan plan_;
  Transfer transfer_;
  Model model_;
  std::vector<Tool> tools_ = {Tool{}};  // with every setting
  std::vector<Rival> rivals_;
  std::vector<RunResult> runs_;
  Origin origin_;
  ModelResult described_;
};

Result<void> Session::prepare() {
  transfer_ = {.engine = options_.engine,
               .reuse = plan_.reuse,
               .cold = options_.cold,
               .seed_arguments = words_of(options_.seed_arguments),
               .fetch_arguments = words_of(options_.fetch_arguments)};
  if (options_.tls) {
    if (auto made = make_key(); !made) return made;
  }
  if (auto made = make_model(); !made) return made;
  if (auto described = describe(); !described) return described;
  return find_rivals();
}

Result<void> Session::make_key() {
  const std::string path = cluster_[0].directory() + "/" + kKeyFile;
  const auto made =
      cluster_[0].run({.argv = {cluster_.programs(0).shardswarm, "-q", "key", "new", path}});
  if (!made) return std::unexpected(made.error());
  const auto key = cluster_[0].get(path);
  if (!key) return std::unexpected(key.error());
  for (std::size_t host = 1; host < cluster_.size(); ++host) {
    auto put = cluster_[host].put(cluster_[host].directory() + "/" + kKeyFile, *key);
    if (!put) return put;
  }
  transfer_.key_file = kKeyFile;
  return {};
}

Result<void> Session::make_model() {
  const std::string& directory = cluster_[0].directory();
  model_.directory = options_.model.empty() ? directory + "/source" : options_.model;
  if (options_.model.empty()) {
    if (auto made = make_checkpoint(model_.directory, plan_.reuse); !made) return made;
  }
  if (auto listed = list_model(); !listed) return listed;
  if (plan_.reuse) {
    const std::string older = directory + "/" + kOlder;
    if (auto made = make_checkpoint(older, false); !made) return made;
    model_.older = kOlder;
  }
  for (const NodePlan& node : plan_.nodes) {
    const std::string& there = cluster_[node.host].directory();
    Result<void> given;
    if (node.source && node.host > 0) {
      given = distribute(model_.directory, node.host, there + "/source", there + "/given-state");
    } else if (!node.source && plan_.reuse) {
      given = distribute(directory + "/" + kOlder, node.host, there + "/" + kOlder,
                         there + "/" + kOlder + "-state");
    }
    if (!given) return given;
  }
  return {};
}

// Of a newer version a quarter of the layers differ.
Result<void> Session::make_checkpoint(const std::string& directory, bool newer) {
  Command command{.argv = {cluster_.programs(0).make_checkpoint, directory, "--size",
                           std::to_string(options_.size), "--layers",
                           std::to_string(options_.layers), "--vocabulary",
                           std::to_string(options_.vocabulary)}};
  for (std::uint32_t layer = 0; newer && layer < std::max(1U, options_.layers / 4); ++layer) {
    command.argv.insert(command.argv.end(), {"--change", fmt::format("*.layers.{}.*", layer)});
  }
  const auto made = cluster_[0].run(command);
  if (!made) return std::unexpected(made.error());
  return {};
}

Result<void> Session::list_model() {
  const auto lines =
      cluster_[0].run({.argv = {cluster_.programs(0).bench, "digest", model_.directory}});
  if (!lines) return std::unexpected(lines.error());
  model_.manifest = Json::array();
  for (const std::string& line : *lines) {
    Json file = Json::parse(line, nullptr, false);
    if (!file.contains("path")) continue;
    model_.bytes += file.value("size", std::uint64_t{0});
    model_.manifest.push_back(std::move(file));
  }
  if (model_.bytes == 0) {
    return fail(Errc::kNotFound, fmt::format("there is nothing in {}", model_.directory));
  }
  model_.manifest_file = kManifestFile;
  for (std::size_t host = 0; host < cluster_.size(); ++host) {
    auto put = cluster_[host].put(cluster_[host].directory() + "/" + kManifestFile,
                                  model_.manifest.dump());
    if (!put) return put;
  }
  return {};
}

// What the result says of the model and of the program that moves it.
Result<void> Session::describe() {
  const Programs& programs = cluster_.programs(0);
  origin_.command = options_.command;
  origin_.started = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  const auto version = cluster_[0].run({.argv = {programs.shardswarm, "--version"}});
  if (!version) return std::unexpected(version.error());
  origin_.version = fmt::format("{}", fmt::join(*version, "; "));
  described_ = {.name = options_.model.empty()
                            ? fmt::format("generated, of Llama's shape, {} layers", options_.layers)
                            : model_name(options_.model),
                .bytes = model_.bytes};
  const auto index =
      cluster_[0].run({.argv = {programs.shardswarm, "-q", "index", model_.directory, "--json",
                                "--state", cluster_[0].directory() + "/index-state"}});
  if (!index) return std::unexpected(index.error());
  const Json counts = index->empty() ? Json() : Json::parse(index->back(), nullptr, false);
  if (!counts.is_object()) return fail(Errc::kMalformed, "`shardswarm index --json` says no JSON");
  described_.id = counts.value("id", "");
  described_.files = counts.value("files", std::uint64_t{0});
  described_.tensors = counts.value("tensors", std::uint64_t{0});
  described_.pieces = counts.value("pieces", std::uint64_t{0});
  return {};
}

// Brings a directory of the source's to another host, before anything is measured.
Result<void> Session::distribute(const std::string& model, std::size_t host, const std::string& to,
                                 const std::string& state) {
  const Tool ours;
  AgentLink& from = cluster_[0];
  AgentLink& link = cluster_[host];
  const NodeFiles seed_files{
      .model = model, .state = from.directory() + "/given-state", .directory = from.directory()};
  const auto seed = from.started(from.ask_start(
      seed_command(ours, transfer_, cluster_.programs(0), seed_files, from.address())));
  if (!seed) return std::unexpected(seed.error());
  auto waited = loop_.wait([&] { return !(*seed)->lines.empty() || (*seed)->end; },
                           std::chrono::duration<double>(options_.patience_seconds), "seed");
  if (waited && (*seed)->lines.empty()) {
    waited = fail(Errc::kInternal, "seed: " + (*seed)->end->text());
  }
  if (!waited) return waited;
  const NodeFiles files{.model = to, .state = state, .directory = link.directory()};
  Command fetch =
      fetch_command(ours, transfer_, cluster_.programs(host), files, link.address(),
                    {.source = from.address(), .ticket = (*seed)->lines.front().text}, "");
  std::ranges::replace(fetch.argv, std::string("forever"), std::string("0"));
  const auto fetched = link.run(fetch);
  auto stopped = from.stop(**seed);
  if (!fetched) return std::unexpected(fetched.error());
  return stopped;
}

Command Session::adapter(std::size_t host, const std::string& name,
                         std::vector<std::string> words) const {
  words.insert(words.begin(), fmt::format("{}/{}.py", cluster_.programs(host).rivals, name));
  return {.argv = std::move(words), .env = {{"PYTHONDONTWRITEBYTECODE", "1"}}};
}

Result<void> Session::find_rivals() {
  if (options_.rivals == "none") return {};
  const bool all = options_.rivals == "all";
  std::vector<std::string> names = split(options_.rivals);
  if (all) names.assign(std::begin(kRivals), std::end(kRivals));
  for (const std::string& name : names) {
    if (plan_.needs_swarm && name != "libtorrent") {
      spdlog::info("{} left out: all it has comes from one source", name);
      continue;
    }
    if (auto found = find_rival(name, !all); !found) return found;
  }
  return {};
}

// One that cannot be used on some host is an error if it was asked for by name, else left out.
Result<void> Session::find_rival(const std::string& name, bool named) {
  for (const NodePlan& node : plan_.nodes) {
    const auto usable = cluster_[node.host].run(adapter(node.host, name, {"check"}));
    if (usable) continue;
    if (named || usable.error().code == Errc::kCancelled) return std::unexpected(usable.error());
    spdlog::warn("{} left out: {}", name, usable.error().message);
    return {};
  }
  Rival rival{.name = name};
  const auto verbs = ask(name, {"verbs"});
  if (!verbs) return std::unexpected(verbs.error());
  for (const Json& verb : *verbs) rival.verbs.insert(verb.get<std::string>());
  if (rival.verbs.contains("prepared-by")) {
    const auto keys = ask(name, {"prepared-by"});
    if (!keys) return std::unexpected(keys.error());
    rival.prepared_by = keys->get<std::vector<std::string>>();
  }
  if (rival.verbs.contains("version")) {
    const auto version = cluster_[0].run(adapter(0, name, {"version"}));
    if (!version) return std::unexpected(version.error());
    origin_.rivals[name] = fmt::format("{}", fmt::join(*version, "; "));
  }
  const auto grid = ask(name, {"grid", "--fetchers", std::to_string(fetchers())});
  if (!grid) return std::unexpected(grid.error());
  rivals_.push_back(std::move(rival));
  return add_settings(rivals_.back(), *grid);
}

std::size_t Session::fetchers() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(plan_.nodes, [](const NodePlan& node) { return !node.source; }));
}

// The JSON array that an adapter's verb prints on the source's host.
Result<Json> Session::ask(const std::string& name, std::vector<std::string> words) {
  const std::string verb = words.front();
  const auto lines = cluster_[0].run(adapter(0, name, std::move(words)));
  if (!lines) return std::unexpected(lines.error());
  Json array = Json::parse(fmt::format("{}", fmt::join(*lines, "")), nullptr, false);
  if (!array.is_array()) {
    return fail(Errc::kMalformed, fmt::format("`{}` of {} prints no JSON array", verb, name));
  }
  return array;
}

// A tool for each of the settings that is not there yet.
Result<void> Session::add_settings(Rival& rival, const Json& all) {
  for (const Json& settings : all) {
    Tool tool{.name = rival.name, .settings = settings};
    if (std::ranges::any_of(tools_, [&](const Tool& other) {
          return other.name == tool.name && other.settings == tool.settings;
        })) {
      continue;
    }
    if (rival.verbs.contains("prepare")) {
      if (auto prepared = prepare_tool(rival, tool); !prepared) return prepared;
    }
    tools_.push_back(std::move(tool));
  }
  return {};
}

// Settings that are alike in what `prepare` depends on have one prepared file.
Result<void> Session::prepare_tool(Rival& rival, Tool& tool) {
  Json key = Json::array();
  for (const std::string& name : rival.prepared_by)
    key.push_back(tool.settings.value(name, Json()));
  const auto [at, is_new] = rival.prepared.try_emplace(
      key.dump(), fmt::format("prepared-{}-{}", tool.name, rival.prepared.size()));
  tool.prepared = at->second;
  if (!is_new) return {};
  const std::string path = cluster_[0].directory() + "/" + tool.prepared;
  const auto made = cluster_[0].run(adapter(
      0, tool.name,
      {"prepare", "--dir", model_.directory, "--out", path, "--settings", tool.settings.dump()}));
  if (!made) return std::unexpected(made.error());
  const auto bytes = cluster_[0].get(path);
  if (!bytes) return std::unexpected(bytes.error());
  for (std::size_t host = 1; host < cluster_.size(); ++host) {
    auto put = cluster_[host].put(cluster_[host].directory() + "/" + tool.prepared, *bytes);
    if (!put) return put;
  }
  return {};
}

Result<void> Session::run(const Tool& tool, std::uint32_t repeat) {
  auto done = run_once(loop_, cluster_, plan_, model_, tool, transfer_, options_.patience_seconds);
  if (!done) return std::unexpected(done.error());
  done->repeat = repeat;
  done->warm_up = repeat == 0;
  spdlog::info("{}", line_of(*done));
  runs_.push_back(std::move(*done));
  return {};
}

Result<void> Session::run_all() {
  for (const Tool& tool : tools_) {
    if (auto done = run(tool, 0); !done) return done;
  }
  if (auto done = refine(); !done) return done;
  keep_finalists();
  for (std::uint32_t repeat = 1; repeat <= options_.repeats; ++repeat) {
    for (const Tool& tool : tools_) {
      if (auto done = run(tool, repeat); !done) return done;
    }
  }
  return {};
}

Result<void> Session::refine() {
  for (Rival& rival : rivals_) {
    for (int times = 0; times < kRefinements && rival.verbs.contains("refine"); ++times) {
      if (auto done = refine(rival); !done) return done;
    }
  }
  return {};
}

// Tries, still as a warm-up, the settings around the fastest so far.
Result<void> Session::refine(Rival& rival) {
  const auto best = fastest_settings(runs_, rival.name);
  if (!best) return {};
  const auto near = ask(
      rival.name, {"refine", "--settings", best->dump(), "--fetchers", std::to_string(fetchers())});
  if (!near) return std::unexpected(near.error());
  const std::size_t before = tools_.size();
  if (auto added = add_settings(rival, *near); !added) return added;
  for (std::size_t at = before; at < tools_.size(); ++at) {
    if (auto done = run(tools_[at], 0); !done) return done;
  }
  return {};
}

// A rival that never came through is not tried again: its errors stand in the result.
void Session::keep_finalists() {
  std::map<std::string, std::vector<Json>> kept;
  for (const Rival& rival : rivals_) kept[rival.name] = finalists(runs_, rival.name);
  std::erase_if(tools_, [&](const Tool& tool) {
    if (tool.ours()) return false;
    const std::vector<Json>& good = kept[tool.name];
    return good.empty() ||
           (!options_.whole_grid && std::ranges::find(good, tool.settings) == good.end());
  });
}

Measurement Session::measurement() {
  Measurement measurement{.origin = origin_, .model = described_};
  ScenarioResult& scenario = measurement.scenario;
  scenario = {.name = plan_.scenario,
              .hosts = static_cast<std::uint32_t>(plan_.hosts()),
              .tls = options_.tls,
              .engine = options_.engine,
              .cold = options_.cold,
              .repeats = options_.repeats};
  if (plan_.scenario == "stages") {
    scenario.stages = options_.stages;
    scenario.replicas = options_.replicas;
  }
  scenario.rate_bits_per_second = cluster_[0].host().up;
  for (std::size_t host = 0; host < plan_.hosts(); ++host) {
    const AgentLink& link = cluster_[host];
    if (link.host().up != scenario.rate_bits_per_second || link.host().down != link.host().up) {
      scenario.rate_bits_per_second.reset();
    }
    const Json& machine = link.machine();
    measurement.hosts.push_back({.name = link.host().name,
                                 .cpus = machine.value("cpus", 0U),
                                 .memory_bytes = machine.value("memory_bytes", std::uint64_t{0}),
                                 .kernel = machine.value("kernel", ""),
                                 .cpu = machine.value("cpu", ""),
                                 .clock_offset_seconds = link.clock().offset,
                                 .clock_error_seconds = link.clock().error});
  }
  measurement.summary = summarize(runs_);
  measurement.runs = std::move(runs_);
  return measurement;
}

}  // namespace

Result<Measurement> measure(Loop& loop, const Options& options) {
  const std::size_t wanted = hosts_by_default(options.scenario, options.stages, options.replicas);
  auto cluster = Cluster::start(loop, options, wanted);
  if (!cluster) return std::unexpected(cluster.error());
  auto plan = plan_of(options.scenario, (*cluster)->size(), options.stages, options.replicas);
  if (!plan) return std::unexpected(plan.error());
  if (plan->reuse && !options.model.empty()) {
    return fail(Errc::kUsage, "reuse makes two versions of a model: it takes no --model");
  }
  Session session(loop, options, **cluster, std::move(*plan));
  if (auto prepared = session.prepare(); !prepared) return std::unexpected(prepared.error());
  if (auto done = session.run_all(); !done) return std::unexpected(done.error());
  return session.measurement();
}

}  // namespace shardswarm::bench
