#include "node/fork_join.h"

#include <algorithm>
#include <system_error>

namespace shardswarm {

ForkJoin::ForkJoin(unsigned threads) : helpers_max_(std::max(1U, threads) - 1) {}

ForkJoin::~ForkJoin() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ForkJoin::run(std::size_t count, std::size_t threads,
                   const std::function<void(std::size_t)>& part) {
  threads = std::min(count, threads);
  const std::size_t helpers = threads > 1 ? start_helpers(threads - 1) : 0;
  if (helpers == 0) {
    for (std::size_t i = 0; i < count; ++i) part(i);
    return;
  }
  {
    const std::scoped_lock lock(mutex_);
    next_ = 0;
    part_ = &part;
    count_ = count;
    wanted_ = helpers;
  }
  for (std::size_t i = 0; i < helpers; ++i) wake_.notify_one();
  take_parts(part, count);
  // All parts are taken: who has not begun does not any more.
  std::unique_lock lock(mutex_);
  part_ = nullptr;
  done_.wait(lock, [this] { return helping_ == 0; });
}

// How many there are then, of as many as are wanted.
std::size_t ForkJoin::start_helpers(std::size_t wanted) {
  wanted = std::min(wanted, helpers_max_);
  try {
    while (helpers_.size() < wanted) helpers_.emplace_back([this] { help(); });
  } catch (const std::system_error&) {
    helpers_max_ = wanted = helpers_.size();  // no more threads: not asked for again
  }
  return wanted;
}

void ForkJoin::take_parts(const std::function<void(std::size_t)>& part, std::size_t count) {
  while (true) {
    const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
    if (i >= count) return;
    part(i);
  }
}

void ForkJoin::help() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock,
               [this] { return stopping_ || (part_ != nullptr && wanted_ > 0 && next_ < count_); });
    if (stopping_) return;
    --wanted_;
    ++helping_;
    const auto& part = *part_;
    const std::size_t count = count_;
    lock.unlock();
    take_parts(part, count);
    lock.lock();
    if (--helping_ == 0) done_.notify_one();
  }
}

}  // namespace shardswarm
