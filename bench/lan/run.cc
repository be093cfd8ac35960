#include "bench/lan/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "bench/lan/rates.h"

namespace shardswarm::bench {
namespace {

constexpr std::chrono::milliseconds kLook{
    50};  // between looks at the counters a happening waits for
constexpr std::chrono::seconds kReadyPatience{900};  // a source may have to hash its model first

// A node of this run, on its host.
struct Live {
  const NodePlan* plan = nullptr;
  AgentLink* link = nullptr;
  NodeFiles files;
  std::shared_ptr<RemoteProcess> process;  // none yet: it starts late
  std::size_t lines_seen = 0;
  bool lost = false;  // killed for good, as planned
  bool restarted = false;
  double cpu_before = 0;  // what does not count, negative for what counts beside
  std::optional<Done> report;
  std::vector<CounterSample> samples;
  NodeResult result;
};

class Run {
 public:
  Run(Loop& loop, Cluster& cluster, const Plan& plan, const Model& model, const Tool& tool,
      const Transfer& transfer);

  Result<void> transfer_all(double patience_seconds);
  void stop_all();
  Result<void> check_copies();
  Result<void> clean();
  RunResult result(const std::optional<Error>& error);

 private:
  Result<void> lay_older(Live& node);
  Result<void> start_sources();
  Result<void> cool_sources();
  Result<void> start_fetchers(bool late);
  Command fetch(const Live& node) const;
  Result<void> watch_all();
  Result<void> wait_for_all(double patience_seconds);
  bool settled();  // all fetchers are done, or something has failed
  void look_at(Live& node);
  Result<void> happen_when_due();
  Result<void> happen(Live& node);
  Result<void> measure_processes();
  Result<void> collect_samples();
  void count_transfers(RunResult& run);
  std::optional<Bound> bound() const;

  Loop& loop_;
  Cluster& cluster_;
  const Plan& plan_;
  const Model& model_;
  const Tool& tool_;
  const Transfer& transfer_;
  std::vector<Live> nodes_;
  std::string ticket_;
  double began_ = 0;     // controller's clock: the first fetcher's start
  double makespan_ = 0;  // seconds after it
  bool happened_ = false;
  std::optional<Error> failure_;
};

Run::Run(Loop& loop, Cluster& cluster, const Plan& plan, const Model& model, const Tool& tool,
         const Transfer& transfer)
    : loop_(loop), cluster_(cluster), plan_(plan), model_(model), tool_(tool), transfer_(transfer) {
  for (const NodePlan& node : plan.nodes) {
    AgentLink& link = cluster[node.host];
    const std::string& directory = link.directory();
    Live live{.plan = &node, .link = &link};
    live.files = {.model = node.source ? model.directory : directory + "/copy",
                  // A source keeps what it knows of its model from run to run.
                  .state = directory + (node.source ? "/source-state-" + tool.name : "/state"),
                  .directory = directory,
                  .manifest = directory + "/" + model.manifest_file};
    if (node.source && node.host > 0) live.files.model = directory + "/source";
    if (!tool.prepared.empty()) live.files.prepared = directory + "/" + tool.prepared;
    live.result.name = link.host().name;
    live.result.source = node.source;
    live.result.wanted_bytes = node.source ? 0 : model.bytes;
    nodes_.push_back(std::move(live));
  }
}

// The fetcher holds an older version: beside its target, and known to it, or, for rsync, which
// updates in place, as the target.
Result<void> Run::lay_older(Live& node) {
  const std::string older = node.files.directory + "/" + model_.older;
  std::vector<std::vector<std::string>> copies;
  if (tool_.ours()) copies.push_back({"cp", "-a", older + "-state", node.files.state});
  if (tool_.name == "rsync") copies.push_back({"cp", "-a", older, node.files.model});
  for (std::vector<std::string>& copy : copies) {
    auto copied = node.link->run({.argv = std::move(copy)});
    if (!copied) return std::unexpected(copied.error());
  }
  return {};
}

Result<void> Run::start_sources() {
  for (Live& node : nodes_) {
    if (!node.plan->source) continue;
    auto process = node.link->started(node.link->ask_start(seed_command(
        tool_, transfer_, cluster_.programs(node.plan->host), node.files, node.link->address())));
    if (!process) return std::unexpected(process.error());
    node.process = *process;
    std::optional<std::string> ticket;
    const auto ready = [&] {
      for (; !ticket && node.lines_seen < node.process->lines.size(); ++node.lines_seen) {
        ticket = ready_of(tool_, node.process->lines[node.lines_seen].text);
      }
      return ticket || node.process->end;
    };
    if (auto waited = loop_.wait(ready, kReadyPatience, "source that is ready"); !waited) {
      return waited;
    }
    if (!ticket) {
      return fail(Errc::kInternal,
                  fmt::format("the source on {}: {}", node.result.name, node.process->end->text()));
    }
    if (ticket_.empty()) ticket_ = *ticket;
  }
  return {};
}

// What they read when they started goes, too.
Result<void> Run::cool_sources() {
  if (!transfer_.cold) return {};
  for (Live& node : nodes_) {
    if (!node.plan->source) continue;
    const std::string& bench = cluster_.programs(node.plan->host).bench;
    auto cooled = node.link->run({.argv = {bench, "evict", node.files.model}});
    if (!cooled) return std::unexpected(cooled.error());
  }
  return {};
}

Command Run::fetch(const Live& node) const {
  Meeting meeting{.source = nodes_.front().link->address(), .ticket = ticket_};
  for (const Live& other : nodes_) {
    if (&other == &node || &other == &nodes_.front()) continue;
    (other.plan->source ? meeting.more_sources : meeting.fetchers).push_back(other.link->address());
  }
  return fetch_command(tool_, transfer_, cluster_.programs(node.plan->host), node.files,
                       node.link->address(), meeting, node.plan->stage);
}

Result<void> Run::start_fetchers(bool late) {
  std::vector<std::pair<Live*, std::uint64_t>> asked;
  for (Live& node : nodes_) {
    const bool is_late = node.plan->happening == Happening::kStartLate;
    if (node.plan->source || is_late != late) continue;
    asked.emplace_back(&node, node.link->ask_start(fetch(node)));
  }
  for (const auto& [node, id] : asked) {
    auto process = node->link->started(id);
    if (!process) return std::unexpected(process.error());
    node->process = *process;
    if (began_ == 0 || (!late && node->process->started < began_)) {
      began_ = node->process->started;
    }
  }
  for (const auto& [node, id] : asked) node->result.start_seconds = node->process->started - began_;
  return {};
}

Result<void> Run::watch_all() {
  for (Live& node : nodes_) {
    auto watched = node.link->call("watch", {{"address", node.link->address()}});
    if (!watched) return std::unexpected(watched.error());
    if (!node.plan->source) continue;
    const auto stats = node.link->call("stats", {{"process", node.process->number}});
    if (!stats) return std::unexpected(stats.error());
    node.cpu_before = stats->value("cpu_seconds", 0.0);
  }
  return {};
}

Result<void> Run::transfer_all(double patience_seconds) {
  for (Live& node : nodes_) {
    if (auto aligned = node.link->align(); !aligned) return std::unexpected(aligned.error());
    if (!plan_.reuse || node.plan->source) continue;
    if (auto laid = lay_older(node); !laid) return laid;
  }
  if (auto started = start_sources(); !started) return started;
  if (auto cooled = cool_sources(); !cooled) return cooled;
  if (auto watched = watch_all(); !watched) return watched;
  if (auto started = start_fetchers(false); !started) return started;
  auto waited = wait_for_all(patience_seconds);
  // What came of it until then is worth seeing, too.
  if (waited) waited = measure_processes();
  const auto collected = collect_samples();
  return waited ? collected : waited;
}

Result<void> Run::wait_for_all(double patience_seconds) {
  const double deadline = monotonic_seconds() + patience_seconds;
  while (!settled()) {
    if (monotonic_seconds() > deadline) {
      return fail(Errc::kStalled, fmt::format("not done in {:.0f} s", patience_seconds));
    }
    // It is for the happenings that this looks up so often: the times come from the agents.
    const auto waited = loop_.wait([this] { return settled(); }, kLook, "end");
    if (!waited && waited.error().code == Errc::kCancelled) return waited;
    if (auto happened = happen_when_due(); !happened) return happened;
  }
  if (failure_) return std::unexpected(*failure_);
  return {};
}

bool Run::settled() {
  bool all = true;
  for (Live& node : nodes_) {
    look_at(node);
    all = all && (node.plan->source || node.result.done_seconds);
  }
  return all || failure_;
}

void Run::look_at(Live& node) {
  if (!node.process || node.lost) return;
  for (; node.lines_seen < node.process->lines.size(); ++node.lines_seen) {
    const RemoteProcess::Line& line = node.process->lines[node.lines_seen];
    if (node.plan->source || node.report) continue;
    node.report = done_of(tool_, line.text);
    if (!node.report) continue;
    node.result.done_seconds = line.seconds - began_;
    makespan_ = std::max(makespan_, *node.result.done_seconds);
    node.result.wanted_bytes = node.report->wanted_bytes.value_or(node.result.wanted_bytes);
    node.result.duplicate_bytes = node.report->duplicate_bytes;
    node.result.peak_private_bytes = node.report->peak_private_bytes;
  }
  if (node.process->end && !failure_ && !(node.report && node.process->end->code == 0)) {
    failure_ = {Errc::kInternal,
                fmt::format("{} on {}: {}", node.plan->source ? "the source" : "the fetcher",
                            node.result.name, node.process->end->text())};
  }
}

Result<void> Run::happen_when_due() {
  if (!plan_.trigger_node || happened_ || settled()) return {};
  const auto counters = nodes_[*plan_.trigger_node].link->call("counters");
  if (!counters) return std::unexpected(counters.error());
  if (counters->value("received", std::uint64_t{0}) < model_.bytes / 2) return {};
  happened_ = true;
  for (Live& node : nodes_) {
    if (auto happened = happen(node); !happened) return happened;
  }
  return {};
}

Result<void> Run::happen(Live& node) {
  const Happening happening = node.plan->happening;
  if (happening == Happening::kNothing) return {};
  if (happening == Happening::kStartLate) return start_fetchers(true);
  look_at(node);
  node.lost = true;
  const auto killed =
      node.link->call("signal", {{"process", node.process->number}, {"signal", SIGKILL}});
  if (!killed) return std::unexpected(killed.error());
  if (auto waited = loop_.wait([&] { return node.process->end.has_value(); }, kReadyPatience,
                               "end of what was killed");
      !waited) {
    return waited;
  }
  node.result.cpu_seconds += node.process->end->cpu_seconds;
  if (happening == Happening::kKill) return {};
  auto process = node.link->started(node.link->ask_start(fetch(node)));
  if (!process) return std::unexpected(process.error());
  node.process = *process;
  node.lines_seen = 0;
  node.lost = false;
  node.restarted = true;
  return {};
}

Result<void> Run::measure_processes() {
  for (Live& node : nodes_) {
    node.result.cpu_seconds -= node.cpu_before;
    if (node.lost) continue;
    if (node.process->end) {  // a tool that ends when it is done
      node.result.cpu_seconds += node.process->end->cpu_seconds;
      continue;
    }
    const auto stats = node.link->call("stats", {{"process", node.process->number}});
    if (!stats) return std::unexpected(stats.error());
    const auto number = [&](const char* key) { return stats->value(key, std::uint64_t{0}); };
    node.result.cpu_seconds += stats->value("cpu_seconds", 0.0);
    node.result.peak_private_bytes =
        std::max(node.result.peak_private_bytes.value_or(0), number("peak_private_bytes"));
    node.result.peak_resident_bytes = number("peak_resident_bytes");
    node.result.disk_written_bytes = number("disk_written_bytes");
  }
  return {};
}

Result<void> Run::collect_samples() {
  for (Live& node : nodes_) {
    const auto answered = node.link->call("unwatch");
    if (!answered) return std::unexpected(answered.error());
    for (const Json& sample : answered->value("samples", Json::array())) {
      node.samples.push_back(
          {.seconds = node.link->here(sample.at(0).get<double>()) - began_,
           .counters = {sample.at(1).get<std::uint64_t>(), sample.at(2).get<std::uint64_t>()}});
    }
    node.samples = during(node.samples, 0, makespan_);
    node.result.rate = rates_of(node.samples);
  }
  return {};
}

void Run::stop_all() {
  for (Live& node : nodes_) {
    if (node.process && !node.process->end) {
      (void)node.link->ask("signal", {{"process", node.process->number}, {"signal", SIGTERM}});
    }
  }
  for (Live& node : nodes_) {
    if (node.process) (void)node.link->stop(*node.process);
  }
}

// Every copy is the source's, by digests that were made from the files; a part is verified by the
// tool.
Result<void> Run::check_copies() {
  std::vector<std::pair<Live*, std::shared_ptr<RemoteProcess>>> checks;
  for (Live& node : nodes_) {
    if (node.plan->source) continue;
    const Programs& programs = cluster_.programs(node.plan->host);
    Command command{.argv = {programs.bench, "digest", node.files.model}};
    if (tool_.ours() && !node.plan->stage.empty()) {
      command.argv = {programs.shardswarm, "-q", "verify", node.files.model, "--full"};
    }
    auto started = node.link->started(node.link->ask_start(command));
    if (!started) return std::unexpected(started.error());
    checks.emplace_back(&node, *started);
  }
  for (const auto& [node, check] : checks) {
    const auto lines = node->link->finish(*check);
    if (!lines) return std::unexpected(lines.error());
    if (tool_.ours() && !node->plan->stage.empty()) continue;
    Json found = Json::array();
    for (const std::string& line : *lines) {
      Json file = Json::parse(line, nullptr, false);
      if (file.contains("path")) found.push_back(std::move(file));
    }
    if (found != model_.manifest) {
      return fail(Errc::kCorrupt,
                  fmt::format("the copy on {} is not what was sent: {} files of {}",
                              node->result.name, found.size(), model_.manifest.size()));
    }
  }
  return {};
}

Result<void> Run::clean() {
  for (Live& node : nodes_) {
    if (node.plan->source) continue;
    for (const std::string& path : {node.files.model, node.files.state}) {
      if (auto removed = node.link->remove(path); !removed) return removed;
    }
  }
  return {};
}

// Payload as the tools count it; where one does not, or a killed process took its count along, what
// the links or sockets have carried.
void Run::count_transfers(RunResult& run) {
  bool counted = true;
  for (Live& node : nodes_) {
    const Counters carried = carried_in(node.samples);
    node.result.received_bytes = carried.received;
    node.result.sent_bytes = carried.sent;
    if (node.plan->source) continue;
    if (node.restarted || !node.report || !node.report->fetched_from) {
      counted = false;
      continue;
    }
    node.result.received_bytes = 0;
    for (const auto& [address, bytes] : *node.report->fetched_from) {
      node.result.received_bytes += bytes;
      const std::string name = cluster_.host_of(address);
      if (!name.empty() && bytes > 0) node.result.fetched_from[name] += bytes;
    }
  }
  std::uint64_t from_sources = 0;
  for (Live& node : nodes_) {
    if (counted) {
      node.result.sent_bytes = 0;
      for (const Live& other : nodes_) {
        const auto found = other.result.fetched_from.find(node.result.name);
        if (found != other.result.fetched_from.end()) node.result.sent_bytes += found->second;
      }
    }
    if (node.plan->source) from_sources += node.result.sent_bytes;
  }
  run.source_copies = static_cast<double>(from_sources) / static_cast<double>(model_.bytes);
}

std::optional<Bound> Run::bound() const {
  if (!plan_.has_bound) return std::nullopt;
  std::vector<BoundNode> nodes;
  std::uint64_t largest = 0;
  for (const Live& node : nodes_) {
    const HostSpec& host = node.link->host();
    if (node.plan->stage.empty()) largest = std::max(largest, node.result.wanted_bytes);
    nodes.push_back({.source = node.plan->source,
                     .up = host.up,
                     .down = host.down,
                     .wanted_bytes = node.result.wanted_bytes,
                     .start_seconds = node.result.start_seconds});
  }
  // What a whole copy is to the tool: shardswarm does not count headers. Stages cover the model.
  return lower_bound(nodes, largest > 0 ? largest : model_.bytes);
}

RunResult Run::result(const std::optional<Error>& error) {
  RunResult run{.tool = tool_.name, .settings = tool_.settings};
  if (error) run.error = error->message;
  run.makespan_seconds = makespan_;
  run.bound = bound();
  if (!error) count_transfers(run);
  for (Live& node : nodes_) run.nodes.push_back(std::move(node.result));
  return run;
}

}  // namespace

Result<RunResult> run_once(Loop& loop, Cluster& cluster, const Plan& plan, const Model& model,
                           const Tool& tool, const Transfer& transfer, double patience_seconds) {
  Run run(loop, cluster, plan, model, tool, transfer);
  auto done = run.transfer_all(patience_seconds);
  run.stop_all();
  if (done) done = run.check_copies();
  const auto cleaned = run.clean();
  if (done) done = cleaned;
  if (loop.interrupted()) return fail(Errc::kCancelled, "told to end");
  return run.result(done ? std::nullopt : std::optional(done.error()));
}

}  // namespace shardswarm::bench
