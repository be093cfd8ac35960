#include "node/fork_join.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace shardswarm {
namespace {

TEST(ForkJoin, EveryPartIsDoneOnceAndSeenAfterwards) {
  ForkJoin threads(4);
  std::uint64_t before = 0;  // the parts read it, the caller writes it: no lock of ours
  for (std::size_t round = 0; round < 2000; ++round) {
    before = round;
    std::vector<std::uint64_t> done(round % 9, 0);
    threads.run(done.size(), 4, [&](std::size_t i) { done[i] += before + i + 1; });
    for (std::size_t i = 0; i < done.size(); ++i) ASSERT_EQ(done[i], round + i + 1);
  }
  EXPECT_EQ(threads.threads(), 4U);
}

// Were they done one after the other, the first would wait forever.
TEST(ForkJoin, PartsAreDoneAtTheSameTime) {
  constexpr std::size_t kThreads = 3;
  ForkJoin threads(kThreads);
  std::barrier together(kThreads);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  for (int round = 0; round < 100; ++round) {
    threads.run(kThreads, kThreads, [&](std::size_t) {
      together.arrive_and_wait();
      const std::scoped_lock lock(mutex);
      seen.insert(std::this_thread::get_id());
    });
  }
  EXPECT_EQ(seen.size(), kThreads);
  EXPECT_TRUE(seen.contains(std::this_thread::get_id()));
}

TEST(ForkJoin, ThreadsStartWhenThereIsSomethingForThem) {
  ForkJoin alone(1);
  ForkJoin many(8);
  std::vector<std::thread::id> by;
  const auto note = [&](std::size_t) { by.push_back(std::this_thread::get_id()); };
  alone.run(5, 8, note);
  many.run(0, 8, note);
  many.run(1, 8, note);
  many.run(4, 1, note);
  EXPECT_EQ(by, std::vector(10, std::this_thread::get_id()));
  EXPECT_EQ(alone.threads(), 1U);
  EXPECT_EQ(many.threads(), 1U);
  std::atomic<int> parts{0};
  many.run(5, 3, [&](std::size_t) { ++parts; });
  EXPECT_EQ(parts, 5);
  EXPECT_EQ(many.threads(), 3U);
}

// Helpers that wake up late find nothing, or the next task.
TEST(ForkJoin, ShortTasksOneAfterAnother) {
  ForkJoin threads(4);
  std::atomic<std::uint64_t> sum{0};
  constexpr std::uint64_t kRounds = 20'000;
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    threads.run(2, 4, [&](std::size_t i) { sum += i; });
  }
  EXPECT_EQ(sum, kRounds);
}

}  // namespace
}  // namespace shardswarm
