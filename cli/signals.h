// SIGINT and SIGTERM as calls: the first asks to end, the second ends at once.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace shardswarm::cli {

// Blocks both signals in the calling thread, and so in all threads started later, and takes them in
// a thread of its own. Make one before anything that starts threads.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Called on the signal thread at the first signal; at once if it came already.
  void on_signal(const std::function<void()>& callback);
  // 0, or 130 (SIGINT), 143 (SIGTERM).
  int exit_code() const { return exit_code_.load(); }
  const std::atomic<bool>& interrupted() const { return interrupted_; }
  void wait();  // until the first signal

 private:
  void run();

  std::atomic<int> exit_code_{0};
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> ending_{false};
  std::mutex mutex_;
  std::condition_variable came_;
  std::function<void()> callback_;
  std::thread thread_;
};

}  // namespace shardswarm::cli
