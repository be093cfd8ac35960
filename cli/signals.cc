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
  ::sigaddset(&set, SIGUSR1);
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
    if (signal == SIGUSR1) {
      call(on_status_);
      continue;
    }
    const int code = 128 + signal;
    if (interrupted_.exchange(true)) ::_exit(code);  // the second: now
    exit_code_ = code;
    call(on_end_);
    came_.notify_all();
  }
}

void Signals::call(std::function<void()>& callback) {
  const std::scoped_lock lock(mutex_);
  if (callback) callback();
}

void Signals::on_end(std::function<void()> callback) {
  const std::scoped_lock lock(mutex_);
  on_end_ = std::move(callback);
  if (interrupted_ && on_end_) on_end_();
}

void Signals::on_status(std::function<void()> callback) {
  const std::scoped_lock lock(mutex_);
  on_status_ = std::move(callback);
}

void Signals::forget_callbacks() {
  const std::scoped_lock lock(mutex_);
  on_end_ = nullptr;
  on_status_ = nullptr;
}

void Signals::wait() {
  std::unique_lock lock(mutex_);
  came_.wait(lock, [this] { return interrupted_.load(); });
}

}  // namespace shardswarm::cli
