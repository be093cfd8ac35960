#include "cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

namespace shardswarm::cli {
namespace {

sigset_t handled_signals() {
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
  const sigset_t set = handled_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = std::thread([this] { take_signals(); });
  status_ = std::thread([this] { serve_status(); });
}

Signals::~Signals() {
  leaving_ = true;
  ::pthread_kill(signals_.native_handle(), SIGUSR1);
  {
    const std::scoped_lock lock(status_mutex_);
    asked_.notify_all();
  }
  signals_.join();
  status_.join();
}

void Signals::take_signals() {
  const sigset_t set = handled_signals();
  while (true) {
    int signal = 0;
    if (::sigwait(&set, &signal) != 0) continue;
    if (leaving_) return;
    if (signal != SIGUSR1) {
      end(128 + signal);
    } else if (std::unique_lock lock(status_mutex_, std::try_to_lock); lock) {
      // While a status is being told, another one is not asked for.
      status_due_ = true;
      asked_.notify_all();
    }
  }
}

void Signals::end(int code) {
  if (interrupted_ || !handled_) ::_exit(code);
  const std::scoped_lock lock(end_mutex_);
  exit_code_ = code;
  interrupted_ = true;
  if (on_end_) on_end_();
  ended_.notify_all();
}

void Signals::serve_status() {
  std::unique_lock lock(status_mutex_);
  while (true) {
    asked_.wait(lock, [this] { return status_due_ || leaving_; });
    if (leaving_) return;
    status_due_ = false;
    if (on_status_) on_status_();
  }
}

void Signals::on_end(std::function<void()> callback) {
  const std::scoped_lock lock(end_mutex_);
  handled_ = true;
  on_end_ = std::move(callback);
  if (interrupted_ && on_end_) on_end_();
}

void Signals::on_status(std::function<void()> callback) {
  const std::scoped_lock lock(status_mutex_);
  on_status_ = std::move(callback);
}

void Signals::forget_callbacks() {
  {
    const std::scoped_lock lock(end_mutex_);
    on_end_ = nullptr;
    handled_ = false;
  }
  const std::scoped_lock lock(status_mutex_);
  on_status_ = nullptr;
}

const std::atomic<bool>& Signals::interrupted() {
  handled_ = true;
  return interrupted_;
}

void Signals::wait() {
  handled_ = true;
  std::unique_lock lock(end_mutex_);
  ended_.wait(lock, [this] { return interrupted_.load(); });
}

}  // namespace shardswarm::cli
