#include "storage/blocking.h"

#include <optional>
#include <string>
#include <utility>

namespace shardswarm {

BlockingStorage::BlockingStorage(unsigned threads) : workers_(std::make_unique<Workers>(threads)) {
  std::string notice;
  engine_ = make_io_engine(EngineKind::kPosix, nullptr, notice);
}

// No new jobs, then no operation under way, then what they posted.
BlockingStorage::~BlockingStorage() {
  workers_.reset();
  engine_.reset();
}

StorageEnvironment BlockingStorage::environment() {
  return {.engine = *engine_, .workers = *workers_, .post = [this](std::function<void()> job) {
            const std::scoped_lock lock(mutex_);
            jobs_.push_back(std::move(job));
            ready_.notify_one();
          }};
}

Result<void> BlockingStorage::finish(Store& store) {
  std::optional<Result<void>> answer;
  store.finish([&answer](Result<void> result) { answer = std::move(result); });
  while (!answer) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return !jobs_.empty(); });
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
  return *answer;
}

}  // namespace shardswarm
