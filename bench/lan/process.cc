#include "bench/lan/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <asio/buffer.hpp>
#include <asio/write.hpp>
#include <csignal>
#include <cstdlib>
#include <utility>

namespace shardswarm::bench {
namespace {

// A pipe, whose ends no other child inherits: it would keep the other side from seeing the end.
struct Pipe {
  Pipe() { failed = ::pipe2(ends.data(), O_CLOEXEC) != 0; }
  ~Pipe() {
    for (const int end : ends) {
      if (end >= 0) ::close(end);
    }
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int release(std::size_t end) { return std::exchange(ends[end], -1); }

  std::array<int, 2> ends = {-1, -1};  // to read from, to write to
  bool failed = false;
};

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// In the child: becomes the command, or says why not.
[[noreturn]] void become(const Command& command, pid_t parent, const Pipe& in, const Pipe& out,
                         const Pipe& err, int failure) {
  ::setpgid(0, 0);
  if (command.dies_with_us) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);  // it ended before we asked
  }
  ::dup2(in.ends[0], STDIN_FILENO);
  ::dup2(out.ends[1], STDOUT_FILENO);
  ::dup2(err.ends[1], STDERR_FILENO);
  (void)std::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const auto& [name, value] : command.env) {
    if (value.empty()) {
      ::unsetenv(name.c_str());
    } else {
      ::setenv(name.c_str(), value.c_str(), 1);
    }
  }
  if (command.directory.empty() || ::chdir(command.directory.c_str()) == 0) {
    ::execvp(command.argv.front().c_str(), pointers_to(command.argv).data());
  }
  const int error = errno;
  (void)!::write(failure, &error, sizeof error);
  ::_exit(127);
}

}  // namespace

std::string ProcessEnd::text() const {
  std::string text =
      signal != 0 ? fmt::format("killed by signal {}", signal) : fmt::format("exit {}", code);
  std::string_view said = last_stderr;
  while (!said.empty() && said.back() == '\n') said.remove_suffix(1);
  const std::size_t line = said.rfind('\n');
  if (line != std::string_view::npos) said.remove_prefix(line + 1);
  if (!said.empty()) text += fmt::format(": {}", said);
  return text;
}

Process::Process(asio::io_context& io, pid_t pid, int in, int out, int err, OnLine on_line,
                 OnEnd on_end)
    : in_(io, in),
      out_(io, out),
      err_(io, err),
      pid_(pid),
      on_line_(std::move(on_line)),
      on_end_(std::move(on_end)) {
  out_.non_blocking(true);
  err_.non_blocking(true);
}

// Waits for bytes without taking them, so that finish() finds whatever nobody has read.
void Process::listen(bool out) {
  auto& stream = out ? out_ : err_;
  stream.async_wait(asio::posix::stream_descriptor::wait_read,
                    [self = shared_from_this(), out](const std::error_code& error) {
                      if (error || self->ended_) return;
                      self->read(out);
                      if ((out ? self->out_ : self->err_).is_open()) self->listen(out);
                    });
}

void Process::read(bool out) {
  auto& stream = out ? out_ : err_;
  std::array<char, 16384> buffer;
  while (stream.is_open()) {
    std::error_code error;
    const std::size_t count = stream.read_some(asio::buffer(buffer), error);
    if (error == asio::error::would_block) return;
    if (error) {
      stream.close(error);
      return;
    }
    const std::string_view bytes(buffer.data(), count);
    if (out) {
      take_lines(bytes);
      continue;
    }
    last_stderr_ += bytes;
    if (last_stderr_.size() > kStderrKept) {
      last_stderr_.erase(0, last_stderr_.size() - kStderrKept);
    }
  }
}

void Process::take_lines(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    partial_line_ += bytes.substr(0, end);
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    on_line_(std::exchange(partial_line_, {}));
  }
}

void Process::write(std::string text) {
  if (closing_ || !in_.is_open()) return;
  unwritten_.push_back(std::move(text));
  if (!writing_) write_next();
}

void Process::close_stdin() {
  closing_ = true;
  std::error_code ignored;
  if (!writing_) in_.close(ignored);
}

void Process::write_next() {
  std::error_code ignored;
  if (unwritten_.empty()) {
    if (closing_) in_.close(ignored);
    return;
  }
  writing_ = true;
  asio::async_write(in_, asio::buffer(unwritten_.front()),
                    [self = shared_from_this()](const std::error_code& error, std::size_t) {
                      self->writing_ = false;
                      self->unwritten_.pop_front();
                      if (error) {
                        self->unwritten_.clear();
                        self->closing_ = true;
                      }
                      self->write_next();
                    });
}

void Process::signal(int number) {
  if (!ended_) ::kill(-pid_, number);
}

void Process::finish(int status, double cpu_seconds) {
  read(true);
  read(false);
  if (!partial_line_.empty()) on_line_(std::exchange(partial_line_, {}));
  ended_ = ProcessEnd{.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                      .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                      .cpu_seconds = cpu_seconds,
                      .last_stderr = last_stderr_};
  closing_ = true;
  std::error_code ignored;
  in_.close(ignored);
  out_.close(ignored);
  err_.close(ignored);
  on_line_ = nullptr;
  if (const auto on_end = std::exchange(on_end_, nullptr)) on_end(*ended_);
}

Processes::Processes(asio::io_context& io) : io_(io), child_signal_(io, SIGCHLD) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // a child that ends is no reason to end ourselves
  wait_for_child();
}

Processes::~Processes() {
  for (const auto& [pid, process] : running_) {
    ::kill(-pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    process->ended_.emplace();
  }
}

Result<std::shared_ptr<Process>> Processes::start(const Command& command, Process::OnLine on_line,
                                                  Process::OnEnd on_end) {
  Pipe in, out, err, failure;
  if (in.failed || out.failed || err.failed || failure.failed) {
    return fail_errno(errno, "cannot make pipes");
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "cannot start a process");
  if (pid == 0) become(command, parent, in, out, err, failure.ends[1]);
  ::close(failure.release(1));
  int error = 0;
  if (::read(failure.ends[0], &error, sizeof error) > 0) {
    ::waitpid(pid, nullptr, 0);
    return fail_errno(error, fmt::format("cannot start {}", command.argv.front()));
  }
  auto process = std::make_shared<Process>(io_, pid, in.release(1), out.release(0), err.release(0),
                                           std::move(on_line), std::move(on_end));
  running_[pid] = process;
  process->listen(true);
  process->listen(false);
  return process;
}

void Processes::signal_all(int number) {
  for (const auto& [pid, process] : running_) process->signal(number);
}

void Processes::wait_for_child() {
  child_signal_.async_wait([this](const std::error_code& error, int) {
    if (error) return;
    reap();
    wait_for_child();
  });
}

void Processes::reap() {
  int status = 0;
  rusage usage{};
  for (pid_t pid = 0; (pid = ::wait4(-1, &status, WNOHANG, &usage)) > 0;) {
    const auto found = running_.find(pid);
    if (found == running_.end()) continue;  // an orphan that became ours
    const auto process = found->second;
    running_.erase(found);
    process->finish(status, seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
  }
}

}  // namespace shardswarm::bench
