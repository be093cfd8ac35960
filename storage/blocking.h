// Storage for callers without a network thread: an engine, workers, and a queue that the caller
// runs itself.
//
// Threads: belongs to one thread, which may wait.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "storage/store.h"

namespace shardswarm {

class BlockingStorage {
 public:
  explicit BlockingStorage(unsigned threads);
  ~BlockingStorage();
  BlockingStorage(const BlockingStorage&) = delete;
  BlockingStorage& operator=(const BlockingStorage&) = delete;

  StorageEnvironment environment();
  // Waits for Store::finish.
  Result<void> finish(Store& store);

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  std::unique_ptr<IoEngine> engine_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace shardswarm
