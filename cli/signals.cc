#include "cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

namespace shardswarm::cli {
namespace {

sigset_t handled() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGUSR1);  // ends the thread
  return set;
}

}  // namespace

Signals::Signals() {
  // A closed pipe is an error of the write, not the end of the process.
  (void)::signal(SIGPIPE, SIG_IGN);
  const sigset_t set = handled();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { run(); });
}

Signals::~Signals() {
  ending_ = true;
  ::pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

void Signals::run() {
  const sigset_t set = handled();
  while (true) {
    int signal = 0;
    if (::sigwait(&set, &signal) != 0) continue;
    if (ending_) return;
    if (signal == SIGUSR1) continue;
    const int code = 128 + signal;
    if (interrupted_.exchange(true)) ::_exit(code);  // the second: now
    exit_code_ = code;
    std::function<void()> callback;
    {
      const std::scoped_lock lock(mutex_);
      callback = callback_;
    }
    came_.notify_all();
    if (callback) callback();
  }
}

void Signals::on_signal(const std::function<void()>& callback) {
  {
    const std::scoped_lock lock(mutex_);
    callback_ = callback;
  }
  if (interrupted_ && callback) callback();
}

void Signals::wait() {
  std::unique_lock lock(mutex_);
  came_.wait(lock, [this] { return interrupted_.load(); });
}

}  // namespace shardswarm::cli
