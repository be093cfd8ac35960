// One task on several threads, while its caller waits: what a turn of the network has to move goes
// to as many sockets at once as there are threads (docs/data-path.md has what it gave).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace shardswarm {

// run() is for one thread at a time, always the same one or with an order between the calls.
class ForkJoin {
 public:
  // `threads` counts the caller's: with 1, and with 0, run() is a loop. Further threads start when
  // there is first something for them, and then wait for more; where the system gives none, there
  // are fewer.
  explicit ForkJoin(unsigned threads);
  ~ForkJoin();
  ForkJoin(const ForkJoin&) = delete;
  ForkJoin& operator=(const ForkJoin&) = delete;

  // Calls part(0) to part(count - 1), each once, on any of at most `threads` threads, and returns
  // when all have. What the caller did before is seen by the parts; what they did is seen after.
  // Parts must not throw.
  void run(std::size_t count, std::size_t threads, const std::function<void(std::size_t)>& part);
  unsigned threads() const { return static_cast<unsigned>(helpers_.size()) + 1; }  // so far

 private:
  std::size_t start_helpers(std::size_t wanted);
  void help();
  void take_parts(const std::function<void(std::size_t)>& part, std::size_t count);

  std::size_t helpers_max_;
  std::atomic<std::size_t> next_{0};  // part of the task under way
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  const std::function<void(std::size_t)>* part_ = nullptr;  // nothing to begin: null
  std::size_t count_ = 0;
  std::size_t wanted_ = 0;   // helpers that may still begin
  std::size_t helping_ = 0;  // that have begun and not ended
  bool stopping_ = false;
  std::vector<std::thread> helpers_;
};

}  // namespace shardswarm
