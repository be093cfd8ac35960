#include "base/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "base/limits.h"

namespace shardswarm {
namespace {

TEST(BufferPool, GivesAlignedBuffersOfTheSizeAskedForInsideTheSlab) {
  BufferPool pool(2, 2);
  for (const std::size_t size : {std::size_t{1}, std::size_t{65536}, std::size_t{65537},
                                 std::size_t{limits::kBufferBytesLarge}}) {
    const auto buffer = pool.take(size);
    ASSERT_TRUE(buffer) << size;
    EXPECT_EQ(buffer->bytes().size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->bytes().data()) % 4096, 0U);
    EXPECT_GE(buffer->bytes().data(), pool.slab().data());
    EXPECT_LE(buffer->bytes().data() + size, pool.slab().data() + pool.slab().size());
  }
  EXPECT_EQ(pool.taken(), 0U);
}

TEST(BufferPool, IsBoundedAndSmallRequestsOverflowIntoLargeBuffers) {
  BufferPool pool(1, 1);
  auto small = pool.take(10);
  auto second = pool.take(10);
  ASSERT_TRUE(small && second);
  EXPECT_FALSE(pool.take(10));
  EXPECT_FALSE(pool.take(limits::kBufferBytesLarge));
  EXPECT_EQ(pool.taken(), 2U);
  // The two do not overlap.
  EXPECT_NE(small->bytes().data(), second->bytes().data());
  second->reset();
  EXPECT_TRUE(pool.take(limits::kBufferBytesLarge));
}

TEST(BufferPool, TellsOfAReleaseOnlyAfterATakeFailed) {
  BufferPool pool(1, 0);
  int calls = 0;
  pool.on_release([&] {
    ++calls;
    EXPECT_TRUE(pool.take(1));  // no lock is held, and the buffer is back
  });
  {
    const auto buffer = pool.take(1);
  }
  EXPECT_EQ(calls, 0);
  auto buffer = pool.take(1);
  EXPECT_FALSE(pool.take(1));
  buffer->reset();
  EXPECT_EQ(calls, 1);
}

TEST(BufferPool, MovedBuffersAreGivenBackOnce) {
  BufferPool pool(1, 0);
  auto taken = pool.take(5);
  PieceBuffer a = std::move(*taken);
  PieceBuffer b;
  EXPECT_FALSE(b);
  b = std::move(a);
  EXPECT_TRUE(b);
  EXPECT_EQ(pool.taken(), 1U);
  b = PieceBuffer();
  EXPECT_EQ(pool.taken(), 0U);
}

TEST(BufferPool, ReleasesOnOtherThreads) {
  BufferPool pool(4, 4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 500; ++i) {
        auto buffer = pool.take(1 + static_cast<std::size_t>(i + t) * 37 % 100'000);
        if (buffer) buffer->bytes().front() = static_cast<std::byte>(t);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(pool.taken(), 0U);
}

}  // namespace
}  // namespace shardswarm
