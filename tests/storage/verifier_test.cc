#include "storage/verifier.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <latch>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/limits.h"

namespace shardswarm {
namespace {

struct Verdict {
  bool matches = false;
  std::uint64_t xxh3 = 0;
};

// Two of three are so long that one waits for another.
std::vector<std::byte> bytes_of(std::size_t index) {
  const std::size_t most = index % 3 == 0 ? 0 : 256 * limits::kKiB;
  return std::vector<std::byte>(1 + 977 * index % 5000 + most, static_cast<std::byte>(index));
}

class VerifierTest : public testing::TestWithParam<unsigned> {
 protected:
  static constexpr std::size_t kPieces = 61;

  // Every seventh piece is not what is expected of it.
  static bool is_wrong(std::size_t index) { return index % 7 == 3; }

  VerifierTest() : verdicts_(kPieces) {
    for (std::size_t i = 0; i < kPieces; ++i) pieces_.push_back(bytes_of(i));
  }

  void check(Verifier& verifier, std::size_t index) {
    Digest expected = sha256(pieces_[index]);
    if (is_wrong(index)) expected.bytes[31] ^= std::byte{1};
    verifier.check(pieces_[index], expected, [this, index](bool matches, std::uint64_t xxh3) {
      const std::scoped_lock lock(mutex_);
      EXPECT_FALSE(verdicts_[index]) << "twice";
      verdicts_[index] = {.matches = matches, .xxh3 = xxh3};
      ++done_;
      changed_.notify_all();
    });
  }

  void wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ >= count; });
  }

  void expect_verdicts() {
    for (std::size_t i = 0; i < kPieces; ++i) {
      ASSERT_TRUE(verdicts_[i]) << i;
      EXPECT_EQ(verdicts_[i]->matches, !is_wrong(i)) << i;
      EXPECT_EQ(verdicts_[i]->xxh3, is_wrong(i) ? 0 : xxh3_64(pieces_[i])) << i;
    }
  }

  std::vector<std::vector<std::byte>> pieces_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::optional<Verdict>> verdicts_;
  std::size_t done_ = 0;
};

TEST_P(VerifierTest, JudgesEachPieceByItself) {
  Workers workers(GetParam());
  Verifier verifier(workers);
  for (std::size_t i = 0; i < kPieces; ++i) check(verifier, i);
  wait_for(kPieces);
  expect_verdicts();
}

TEST_P(VerifierTest, OneAloneIsNotLeftWaiting) {
  Workers workers(GetParam());
  Verifier verifier(workers);
  for (std::size_t i = 0; i < kPieces; ++i) {
    check(verifier, i);
    wait_for(i + 1);
  }
  expect_verdicts();
}

TEST_P(VerifierTest, TakesPiecesFromSeveralThreads) {
  Workers workers(GetParam());
  Verifier verifier(workers);
  {
    std::vector<std::jthread> threads;
    for (std::size_t first = 0; first < 3; ++first) {
      threads.emplace_back([&, first] {
        for (std::size_t i = first; i < kPieces; i += 3) check(verifier, i);
      });
    }
  }
  wait_for(kPieces);
  expect_verdicts();
}

TEST_P(VerifierTest, WhatWasGivenIsDoneWhenItIsGone) {
  {
    Workers workers(GetParam());
    Verifier verifier(workers);
    for (std::size_t i = 0; i < kPieces; ++i) check(verifier, i);
  }
  expect_verdicts();
}

// Its jobs take turns with those of others on the same workers.
TEST(Verifier, LetsOtherWorkOfItsWorkersThrough) {
  const std::vector<std::byte> piece(100'000, std::byte{5});
  const Digest digest = sha256(piece);
  std::size_t before = 0;
  std::size_t after = 0;
  bool other_ran = false;
  std::latch all_given(1);
  {
    Workers workers(1);  // all of it on one thread
    Verifier verifier(workers);
    workers.post([&] {
      for (int i = 0; i < 50; ++i) {
        verifier.check(piece, digest, [&](bool, std::uint64_t) { ++(other_ran ? after : before); });
      }
      workers.post([&] { other_ran = true; });
      all_given.count_down();
    });
    all_given.wait();
  }
  EXPECT_EQ(before + after, 50U);
  EXPECT_LE(before, 4U);
}

INSTANTIATE_TEST_SUITE_P(Threads, VerifierTest, testing::Values(1U, 2U, 5U));

}  // namespace
}  // namespace shardswarm
