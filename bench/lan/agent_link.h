// The controller's end of an agent. Calls look synchronous: they run the controller's loop until
// their answer is there. One thread.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/lan/clock.h"
#include "bench/lan/hosts.h"
#include "bench/lan/json.h"
#include "bench/lan/loop.h"
#include "bench/lan/process.h"

namespace shardswarm::bench {

// A process on a host, with what came of it so far. Times are the controller's.
struct RemoteProcess {
  struct Line {
    double seconds = 0;
    std::string text;
  };
  std::uint64_t number = 0;  // the agent's
  double started = 0;
  std::vector<Line> lines;
  std::optional<ProcessEnd> end;
};

class AgentLink {
 public:
  AgentLink(Loop& loop, HostSpec host) : loop_(loop), host_(std::move(host)) {}  // for start()
  AgentLink(const AgentLink&) = delete;
  AgentLink& operator=(const AgentLink&) = delete;
  // Starts the agent with `command`; hello() says whether it runs.
  static Result<std::unique_ptr<AgentLink>> start(Loop& loop, HostSpec host, Command command);
  ~AgentLink();  // ends the agent and waits for it: all that it started and made is gone then

  void leave();  // tells the agent to end, without waiting

  // The host's address is known from then on.
  Result<Json> hello(const std::string& directory);
  // Aligns the clocks by the shortest of 16 round trips.
  Result<ClockFit> align();

  // A request, and its answer: several may be under way. kIo when the agent is gone, with what it
  // said last; kCancelled when the controller is told to end; else the agent's own words.
  std::uint64_t ask(std::string_view verb, Json parameters = Json::object());
  Result<Json> answer(std::uint64_t id);
  Result<Json> call(std::string_view verb, Json parameters = Json::object());

  std::uint64_t ask_start(const Command& command);
  Result<std::shared_ptr<RemoteProcess>> started(std::uint64_t id);

  // Starts a process and waits for its good end: its lines. kInternal with its last words
  // otherwise.
  Result<std::vector<std::string>> run(const Command& command);
  // The same of one that was started.
  Result<std::vector<std::string>> finish(RemoteProcess& process);
  // SIGTERM, after 10 s SIGKILL; waits for its end.
  Result<void> stop(RemoteProcess& process);

  // Small files, on the host.
  Result<void> put(const std::string& path, std::string_view bytes);
  Result<std::string> get(const std::string& path);
  Result<void> remove(const std::string& path);  // a file or directory below ours

  // Seconds of the controller's clock of a moment on this host.
  double here(double there) const { return there - clock_.offset; }

  const HostSpec& host() const { return host_; }
  const std::string& address() const { return host_.address; }
  const std::string& directory() const { return directory_; }  // ours, on the host
  const Json& machine() const { return machine_; }             // the answer to hello
  const ClockFit& clock() const { return clock_; }

 private:
  void on_line(std::string_view line);
  void on_event(const Json& event);
  std::shared_ptr<RemoteProcess> process(std::uint64_t number);
  Error gone() const;

  Loop& loop_;
  HostSpec host_;
  std::shared_ptr<Process> agent_;
  std::string directory_;
  Json machine_;
  ClockFit clock_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Json> answers_;
  std::map<std::uint64_t, std::shared_ptr<RemoteProcess>> processes_;
};

}  // namespace shardswarm::bench
