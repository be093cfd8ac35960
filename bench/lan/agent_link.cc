#include "bench/lan/agent_link.h"

#include <fmt/format.h>

#include <csignal>

#include "bench/lan/base64.h"

namespace shardswarm::bench {
namespace {

constexpr std::size_t kRoundTrips = 16;
constexpr std::chrono::seconds kAnswerPatience{120};  // ssh may ask a slow host first
constexpr std::chrono::seconds kEndPatience{10};
constexpr std::chrono::seconds kCommandPatience{900};

}  // namespace

Result<std::unique_ptr<AgentLink>> AgentLink::start(Loop& loop, HostSpec host, Command command) {
  command.dies_with_us = false;  // it cleans up when its stdin ends
  auto link = std::make_unique<AgentLink>(loop, std::move(host));
  auto agent = loop.processes().start(
      command, [link = link.get()](std::string_view line) { link->on_line(line); }, {});
  if (!agent) return std::unexpected(agent.error());
  link->agent_ = std::move(*agent);
  return link;
}

AgentLink::~AgentLink() {
  if (!agent_) return;
  agent_->close_stdin();
  const auto ended = [this] { return agent_->ended().has_value(); };
  if (loop_.wait_anyway(ended, kEndPatience)) return;
  agent_->signal(SIGKILL);
  loop_.wait_anyway(ended, kEndPatience);
}

void AgentLink::leave() {
  if (agent_) agent_->close_stdin();
}

Error AgentLink::gone() const {
  return {Errc::kIo, fmt::format("the agent on {} has ended: {}", host_.name,
                                 agent_->ended() ? agent_->ended()->text() : "")};
}

void AgentLink::on_line(std::string_view line) {
  Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return;  // a login shell that greets
  if (json.contains("event")) {
    on_event(json);
  } else if (json.contains("id") && json["id"].is_number_unsigned()) {
    const auto id = json["id"].get<std::uint64_t>();
    answers_[id] = std::move(json);
  }
}

std::shared_ptr<RemoteProcess> AgentLink::process(std::uint64_t number) {
  auto& known = processes_[number];
  if (!known) known = std::make_shared<RemoteProcess>(RemoteProcess{.number = number});
  return known;
}

void AgentLink::on_event(const Json& event) {
  // May come before whoever started it has seen the answer.
  const auto known = process(event.value("process", std::uint64_t{0}));
  if (event.value("event", "") == "line") {
    known->lines.push_back({here(event.value("t", 0.0)), event.value("line", "")});
  } else {
    known->end = ProcessEnd{.code = event.value("code", 0),
                            .signal = event.value("signal", 0),
                            .cpu_seconds = event.value("cpu_seconds", 0.0),
                            .last_stderr = event.value("stderr", "")};
  }
}

std::uint64_t AgentLink::ask(std::string_view verb, Json parameters) {
  const std::uint64_t id = next_id_++;
  parameters["id"] = id;
  parameters["verb"] = verb;
  agent_->write(parameters.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  return id;
}

Result<Json> AgentLink::answer(std::uint64_t id) {
  const auto waited =
      loop_.wait([&] { return answers_.contains(id) || agent_->ended(); }, kAnswerPatience,
                 fmt::format("answer of the agent on {}", host_.name));
  if (!waited) return std::unexpected(waited.error());
  const auto found = answers_.find(id);
  if (found == answers_.end()) return std::unexpected(gone());
  Json answer = std::move(found->second);
  answers_.erase(found);
  if (answer.contains("error")) {
    return fail(Errc::kInternal,
                fmt::format("{}: {}", host_.name, answer["error"].get<std::string>()));
  }
  return answer.value("ok", Json::object());
}

Result<Json> AgentLink::call(std::string_view verb, Json parameters) {
  return answer(ask(verb, std::move(parameters)));
}

Result<Json> AgentLink::hello(const std::string& directory) {
  auto machine = call("hello", {{"directory", directory}});
  if (!machine) return machine;
  machine_ = *machine;
  directory_ = machine_.value("directory", "");
  if (host_.address.empty()) host_.address = machine_.value("address", "");
  if (host_.address.empty()) {
    return fail(Errc::kNotFound,
                fmt::format("{} has no address in a network: say address=IP", host_.name));
  }
  return machine;
}

Result<ClockFit> AgentLink::align() {
  std::vector<RoundTrip> trips;
  for (std::size_t trip = 0; trip < kRoundTrips; ++trip) {
    const double asked = monotonic_seconds();
    const auto answered = call("clock");
    if (!answered) return std::unexpected(answered.error());
    trips.push_back({asked, answered->value("t", 0.0), monotonic_seconds()});
  }
  clock_ = fit_clock(trips);
  return clock_;
}

std::uint64_t AgentLink::ask_start(const Command& command) {
  return ask("start",
             {{"argv", command.argv}, {"env", command.env}, {"directory", command.directory}});
}

Result<std::shared_ptr<RemoteProcess>> AgentLink::started(std::uint64_t id) {
  const auto answered = answer(id);
  if (!answered) return std::unexpected(answered.error());
  auto started = process(answered->value("process", std::uint64_t{0}));
  started->started = here(answered->value("t", 0.0));
  return started;
}

Result<std::vector<std::string>> AgentLink::run(const Command& command) {
  const auto process = started(ask_start(command));
  if (!process) return std::unexpected(process.error());
  return finish(**process);
}

Result<std::vector<std::string>> AgentLink::finish(RemoteProcess& process) {
  const auto waited = loop_.wait([&] { return process.end || agent_->ended(); }, kCommandPatience,
                                 fmt::format("end of a command on {}", host_.name));
  if (!waited) return std::unexpected(waited.error());
  if (!process.end) return std::unexpected(gone());
  if (process.end->code != 0) {
    return fail(Errc::kInternal, fmt::format("{}: {}", host_.name, process.end->text()));
  }
  std::vector<std::string> lines;
  lines.reserve(process.lines.size());
  for (const RemoteProcess::Line& line : process.lines) lines.push_back(line.text);
  return lines;
}

Result<void> AgentLink::stop(RemoteProcess& process) {
  for (const int number : {SIGTERM, SIGKILL}) {
    if (process.end) break;
    (void)call("signal", {{"process", process.number}, {"signal", number}});
    const auto waited = loop_.wait([&] { return process.end || agent_->ended(); }, kEndPatience,
                                   fmt::format("end of a process on {}", host_.name));
    if (!waited && waited.error().code == Errc::kCancelled) return waited;
    if (agent_->ended()) return std::unexpected(gone());
  }
  processes_.erase(process.number);
  return {};
}

Result<void> AgentLink::put(const std::string& path, std::string_view bytes) {
  const auto answered = call("put", {{"path", path}, {"base64", to_base64(bytes)}});
  if (!answered) return std::unexpected(answered.error());
  return {};
}

Result<std::string> AgentLink::get(const std::string& path) {
  const auto answered = call("get", {{"path", path}});
  if (!answered) return std::unexpected(answered.error());
  return from_base64(answered->value("base64", ""));
}

Result<void> AgentLink::remove(const std::string& path) {
  const auto answered = call("remove", {{"path", path}});
  if (!answered) return std::unexpected(answered.error());
  return {};
}

}  // namespace shardswarm::bench
