// Child processes with lines on stdout, for the controller (agents, ssh, the network in a box) and
// for agents (nodes). All are of one thread: whoever runs the io_context.
#pragma once

#include <sys/types.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace shardswarm::bench {

struct Command {
  std::vector<std::string> argv;           // argv[0] is looked up in PATH
  std::map<std::string, std::string> env;  // set beside the inherited; an empty value takes it away
  std::string directory;                   // empty: as we are
  bool dies_with_us =
      true;  // killed when this process ends; else it is to see the end of its stdin
};

struct ProcessEnd {
  int code = 0;              // exit code, or -1 when a signal ended it
  int signal = 0;            // that ended it, or 0
  double cpu_seconds = 0;    // user and system, with all children it waited for
  std::string last_stderr;   // at most kStderrKept bytes
  std::string text() const;  // "exit 3: last line of stderr"
};

constexpr std::size_t kStderrKept = 4096;

class Processes;

// A running child, or one that has ended. It leads a process group, and is killed when the thread
// that started it ends, however that comes.
class Process : public std::enable_shared_from_this<Process> {
 public:
  using OnLine = std::function<void(std::string_view line)>;  // without its newline
  using OnEnd = std::function<void(const ProcessEnd& end)>;   // after the last line

  Process(asio::io_context& io, pid_t pid, int in, int out, int err, OnLine on_line, OnEnd on_end);

  pid_t pid() const { return pid_; }
  const std::optional<ProcessEnd>& ended() const { return ended_; }
  void write(std::string text);  // to stdin, in order; silently lost when it is closed there
  void close_stdin();            // after what was written
  void signal(int number);       // to the whole group; nothing if it has ended

 private:
  friend class Processes;
  void listen(bool out);
  void read(bool out);  // all that is there now
  void take_lines(std::string_view bytes);
  void write_next();
  void finish(int status, double cpu_seconds);

  asio::posix::stream_descriptor in_, out_, err_;
  pid_t pid_;
  OnLine on_line_;
  OnEnd on_end_;
  std::string partial_line_, last_stderr_;
  std::deque<std::string> unwritten_;
  bool writing_ = false, closing_ = false;
  std::optional<ProcessEnd> ended_;
};

// Starts children and reaps them, also those that became ours because their parent died.
class Processes {
 public:
  explicit Processes(asio::io_context& io);
  ~Processes();  // kills the groups that are left, and waits for their leaders
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  // kNotFound if there is no such program, kIo if the system refuses.
  Result<std::shared_ptr<Process>> start(const Command& command, Process::OnLine on_line,
                                         Process::OnEnd on_end);
  bool empty() const { return running_.empty(); }
  void signal_all(int number);

 private:
  void wait_for_child();
  void reap();

  asio::io_context& io_;
  asio::signal_set child_signal_;
  std::map<pid_t, std::shared_ptr<Process>> running_;
};

}  // namespace shardswarm::bench
