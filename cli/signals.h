// Signals as calls: SIGINT and SIGTERM end, SIGUSR1 asks how far it is.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace shardswarm::cli {

// Blocks the signals in the calling thread, and so in all threads that it starts later, and takes
// them in a thread of its own. Make one before anything that starts threads. The first SIGINT or
// SIGTERM asks to end, the second ends the process at once.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // `callback` is called on the signal thread at the first SIGINT or SIGTERM; at once if it came
  // already.
  void on_end(std::function<void()> callback);
  // `callback` is called on the signal thread at each SIGUSR1. Without one it is ignored.
  void on_status(std::function<void()> callback);
  // No callback is called any more, and none runs when this returns.
  void forget_callbacks();

  // 0, or 130 (SIGINT), 143 (SIGTERM).
  int exit_code() const { return exit_code_.load(); }
  const std::atomic<bool>& interrupted() const { return interrupted_; }
  void wait();  // until the first SIGINT or SIGTERM

 private:
  void run();
  void call(std::function<void()>& callback);

  std::atomic<int> exit_code_{0};
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> ending_{false};
  std::mutex mutex_;  // held while a callback runs
  std::condition_variable came_;
  std::function<void()> on_end_;
  std::function<void()> on_status_;
  std::thread thread_;
};

}  // namespace shardswarm::cli
