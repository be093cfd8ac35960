#include "storage/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "storage/parallel.h"

namespace shardswarm {
namespace {

TEST(Workers, RunsInOrderOnOneThread) {
  std::vector<int> order;
  {
    Workers workers(1);
    for (int i = 0; i < 100; ++i) workers.post([&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(Workers, DestructorRunsWhatWasPosted) {
  std::atomic<int> ran{0};
  {
    Workers workers(3);
    for (int i = 0; i < 1000; ++i) workers.post([&ran] { ++ran; });
  }
  EXPECT_EQ(ran, 1000);
}

TEST(ParallelFor, CallsEachIndexOnceAndReturnsWhenAllAreDone) {
  Workers workers(3);
  std::vector<std::atomic<int>> calls(500);
  parallel_for(workers, calls.size(), [&](std::size_t i) { ++calls[i]; });
  for (const auto& count : calls) EXPECT_EQ(count, 1);
  parallel_for(workers, 0, [](std::size_t) { FAIL(); });
}

}  // namespace
}  // namespace shardswarm
