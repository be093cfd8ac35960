#include "bench/lan/agent.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <asio/steady_timer.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "bench/lan/base64.h"
#include "bench/lan/json.h"
#include "bench/lan/loop.h"
#include "bench/lan/proc_stats.h"
#include "bench/lan/watch.h"

namespace shardswarm::bench {
namespace {

namespace fs = std::filesystem;
using Answer = Result<Json>;

constexpr std::chrono::milliseconds kSampleInterval{25};
constexpr std::chrono::seconds kKillAfter{3};  // from SIGTERM to SIGKILL

struct Task {
  std::shared_ptr<Process> process;
  TreeStats peak;  // memory, over the samples
};

class Agent {
 public:
  int serve();

 private:
  void listen();
  bool read();  // false: stdin has ended
  void handle(std::string_view line);
  Answer answer(const std::string& verb, const Json& request);
  Answer hello(const Json& request);
  Answer start(const Json& request);
  Answer stats(const Json& request);
  Answer watch(const Json& request);
  Answer unwatch();
  Answer remove(const Json& request);
  void end_of(std::uint64_t number, const ProcessEnd& end);
  void sample_later();
  void sample();
  Result<Task*> task(const Json& request);
  std::vector<pid_t> running() const;
  void say(const Json& json);
  void end_all();

  asio::io_context io_;
  Processes processes_{io_};
  asio::posix::stream_descriptor in_{io_, STDIN_FILENO};
  asio::signal_set signals_{io_, SIGINT, SIGTERM, SIGHUP};
  asio::steady_timer timer_{io_};
  std::string partial_;
  fs::path directory_;
  std::map<std::uint64_t, Task> tasks_;
  std::uint64_t next_task_ = 1;
  std::optional<Watch> watch_;
};

std::string file_contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Answer put(const Json& request) {
  const fs::path path = request.at("path").get<std::string>();
  const auto bytes = from_base64(request.at("base64").get<std::string>());
  if (!bytes) return std::unexpected(bytes.error());
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  // A key is for nobody else.
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  file << *bytes;
  file.close();
  if (!file) return fail(Errc::kIo, fmt::format("cannot write {}", path.string()));
  return Json::object();
}

Answer get(const Json& request) {
  const fs::path path = request.at("path").get<std::string>();
  if (!fs::is_regular_file(path)) {
    return fail(Errc::kNotFound, fmt::format("no file {}", path.string()));
  }
  return Json{{"base64", to_base64(file_contents(path))}};
}

int Agent::serve() {
  // Whoever outlives its parent here becomes our child, and ends with us.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  in_.non_blocking(true);
  signals_.async_wait([this](const std::error_code& error, int) {
    if (!error) io_.stop();
  });
  listen();
  io_.run();
  end_all();
  return 0;
}

void Agent::listen() {
  in_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const std::error_code& error) {
    if (error || !read()) {
      io_.stop();
    } else {
      listen();
    }
  });
}

bool Agent::read() {
  std::array<char, 65536> buffer;
  while (true) {
    std::error_code error;
    const std::size_t count = in_.read_some(asio::buffer(buffer), error);
    if (error) return error == asio::error::would_block;
    partial_.append(buffer.data(), count);
    std::size_t begin = 0;
    for (std::size_t end; (end = partial_.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      handle(std::string_view(partial_).substr(begin, end - begin));
    }
    partial_.erase(0, begin);
  }
}

void Agent::handle(std::string_view line) {
  const Json request = Json::parse(line, nullptr, false);
  if (!request.is_object() || !request.contains("id")) return;
  Answer answered = Json::object();
  try {
    answered = answer(request.value("verb", ""), request);
  } catch (const std::exception& exception) {  // of JSON and file system, which throw
    answered = fail(Errc::kUsage, exception.what());
  }
  if (answered) {
    say({{"id", request["id"]}, {"ok", *answered}});
  } else {
    say({{"id", request["id"]}, {"error", answered.error().message}});
  }
}

Answer Agent::answer(const std::string& verb, const Json& request) {
  if (verb == "hello") return hello(request);
  if (verb == "clock") return Json{{"t", monotonic_seconds()}};
  if (verb == "start") return start(request);
  if (verb == "stats") return stats(request);
  if (verb == "watch") return watch(request);
  if (verb == "unwatch") return unwatch();
  if (verb == "put") return put(request);
  if (verb == "get") return get(request);
  if (verb == "remove") return remove(request);
  if (verb == "signal") {
    auto found = task(request);
    if (!found) return std::unexpected(found.error());
    (*found)->process->signal(request.at("signal").get<int>());
    return Json::object();
  }
  if (verb == "counters") {
    if (!watch_) return fail(Errc::kUsage, "nothing is watched");
    const Counters counters = watch_->counters(running());
    return Json{{"received", counters.received}, {"sent", counters.sent}};
  }
  return fail(Errc::kUsage, fmt::format("no verb '{}'", verb));
}

Answer Agent::hello(const Json& request) {
  std::string directory = request.at("directory").get<std::string>();
  if (directory.empty()) {
    directory = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : fs::temp_directory_path().string();
  }
  std::string path = directory + "/shardswarm-bench-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    return fail_errno(errno, fmt::format("cannot make a directory in {}", directory));
  }
  directory_ = path;
  const Machine machine = this_machine();
  // What this host is called from where the controller is, if ssh brought us here.
  std::istringstream ssh(std::getenv("SSH_CONNECTION") ? std::getenv("SSH_CONNECTION") : "");
  std::string skipped, ssh_address;
  ssh >> skipped >> skipped >> ssh_address;
  return Json{{"directory", path},
              {"host_name", machine.host_name},
              {"kernel", machine.kernel},
              {"cpu", machine.cpu},
              {"cpus", machine.cpus},
              {"memory_bytes", machine.memory_bytes},
              {"address", ssh_address.empty() ? machine.address : ssh_address}};
}

Answer Agent::start(const Json& request) {
  const Command command{.argv = request.at("argv").get<std::vector<std::string>>(),
                        .env = request.value("env", std::map<std::string, std::string>()),
                        .directory = request.value("directory", "")};
  if (command.argv.empty()) return fail(Errc::kUsage, "an empty argv");
  const std::uint64_t number = next_task_++;
  const double now = monotonic_seconds();
  auto process = processes_.start(
      command,
      [this, number](std::string_view line) {
        say({{"event", "line"}, {"process", number}, {"t", monotonic_seconds()}, {"line", line}});
      },
      [this, number](const ProcessEnd& end) { end_of(number, end); });
  if (!process) return std::unexpected(process.error());
  tasks_[number].process = std::move(*process);
  return Json{{"process", number}, {"t", now}};
}

void Agent::end_of(std::uint64_t number, const ProcessEnd& end) {
  say({{"event", "end"},
       {"process", number},
       {"t", monotonic_seconds()},
       {"code", end.code},
       {"signal", end.signal},
       {"cpu_seconds", end.cpu_seconds},
       {"stderr", end.last_stderr}});
}

Result<Task*> Agent::task(const Json& request) {
  const auto found = tasks_.find(request.at("process").get<std::uint64_t>());
  if (found == tasks_.end()) return fail(Errc::kNotFound, "no such process");
  return &found->second;
}

Answer Agent::stats(const Json& request) {
  auto found = task(request);
  if (!found) return std::unexpected(found.error());
  Task& task = **found;
  if (task.process->ended()) return fail(Errc::kNotFound, "the process has ended");
  const TreeStats now = stats_of(process_tree(task.process->pid()));
  return Json{{"cpu_seconds", now.cpu_seconds},
              {"peak_private_bytes", std::max(task.peak.private_bytes, now.private_bytes)},
              {"peak_resident_bytes", std::max({task.peak.resident_bytes, now.resident_bytes,
                                                peak_resident_bytes(task.process->pid())})},
              {"disk_written_bytes", now.written_bytes}};
}

Answer Agent::watch(const Json& request) {
  auto watch = Watch::on(request.at("address").get<std::string>());
  if (!watch) return std::unexpected(watch.error());
  watch_ = std::move(*watch);
  sample();
  return Json::object();
}

Answer Agent::unwatch() {
  if (!watch_) return fail(Errc::kUsage, "nothing is watched");
  timer_.cancel();
  watch_->sample(monotonic_seconds(), running());
  Json samples = Json::array();
  for (const CounterSample& sample : watch_->samples()) {
    samples.push_back(
        Json::array({sample.seconds, sample.counters.received, sample.counters.sent}));
  }
  watch_.reset();
  return Json{{"samples", samples}};
}

void Agent::sample_later() {
  timer_.expires_after(kSampleInterval);
  timer_.async_wait([this](const std::error_code& error) {
    if (!error && watch_) sample();
  });
}

void Agent::sample() {
  std::vector<pid_t> all;
  for (auto& [number, task] : tasks_) {
    if (task.process->ended()) continue;
    const auto tree = process_tree(task.process->pid());
    const TreeStats now = memory_of(tree);
    task.peak.private_bytes = std::max(task.peak.private_bytes, now.private_bytes);
    task.peak.resident_bytes = std::max(task.peak.resident_bytes, now.resident_bytes);
    all.insert(all.end(), tree.begin(), tree.end());
  }
  watch_->sample(monotonic_seconds(), all);
  sample_later();
}

Answer Agent::remove(const Json& request) {
  const fs::path path = fs::path(request.at("path").get<std::string>()).lexically_normal();
  const fs::path below = path.lexically_relative(directory_);
  if (directory_.empty() || below.empty() || *below.begin() == ".." || below == ".") {
    return fail(Errc::kUsage, fmt::format("{} is not in our directory", path.string()));
  }
  fs::remove_all(path);
  return Json::object();
}

std::vector<pid_t> Agent::running() const {
  std::vector<pid_t> all;
  for (const auto& [number, task] : tasks_) {
    if (task.process->ended()) continue;
    const auto tree = process_tree(task.process->pid());
    all.insert(all.end(), tree.begin(), tree.end());
  }
  return all;
}

// Blocks when the controller is slow to read: nothing here is more urgent than what it is told.
void Agent::say(const Json& json) {
  const std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::string_view left = line;
  while (!left.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, left.data(), left.size());
    if (count <= 0) return;  // nobody listens; stdin will have ended, too
    left.remove_prefix(static_cast<std::size_t>(count));
  }
}

void Agent::end_all() {
  io_.restart();
  processes_.signal_all(SIGTERM);
  const double deadline = monotonic_seconds() + static_cast<double>(kKillAfter.count());
  while (!processes_.empty() && monotonic_seconds() < deadline) {
    io_.run_one_for(std::chrono::milliseconds(20));
  }
  processes_.signal_all(SIGKILL);
  // Orphans that became ours, which may be in groups of their own.
  for (const pid_t pid : process_tree(::getpid())) {
    if (pid != ::getpid()) ::kill(pid, SIGKILL);
  }
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
}

}  // namespace

int run_agent() { return Agent().serve(); }

}  // namespace shardswarm::bench
