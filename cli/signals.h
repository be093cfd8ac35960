// Signals as calls: SIGINT and SIGTERM end, SIGUSR1 asks how far it is.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace shardswarm::cli {

// Blocks the signals in the calling thread, and so in all threads that it starts later, and takes
// them in threads of its own. Make one before anything that starts threads or takes time: until
// then the signals do what they do to any process.
//
// The first SIGINT or SIGTERM ends the process at once, unless the command said how it ends: by
// on_end(), by reading interrupted(), or by wait(). The second one always does.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // `callback` is called once, on a thread of this class, at the first SIGINT or SIGTERM; at once
  // if it came already. It must not block.
  void on_end(std::function<void()> callback);
  // `callback` is called at each SIGUSR1, on a thread of its own: it may block without keeping the
  // process from ending. Without one the signal is ignored.
  void on_status(std::function<void()> callback);
  // No callback is called any more, and none runs when this returns; a signal ends the process.
  void forget_callbacks();

  // 0, or 130 (SIGINT), 143 (SIGTERM).
  int exit_code() const { return exit_code_.load(); }
  // Becomes true at the first SIGINT or SIGTERM, when exit_code() is set.
  const std::atomic<bool>& interrupted();
  void wait();  // until the first SIGINT or SIGTERM

 private:
  void take_signals();
  void serve_status();
  void end(int code);

  std::atomic<int> exit_code_{0};
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> leaving_{false};  // this object goes
  std::atomic<bool> handled_{false};  // the command said how it ends
  std::mutex end_mutex_;              // held while on_end_ runs
  std::condition_variable ended_;
  std::function<void()> on_end_;
  std::mutex status_mutex_;  // held while on_status_ runs
  std::condition_variable asked_;
  bool status_due_ = false;
  std::function<void()> on_status_;
  std::thread signals_;
  std::thread status_;
};

}  // namespace shardswarm::cli
