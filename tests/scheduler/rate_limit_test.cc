#include "scheduler/rate_limit.h"

#include <gmock/gmock.h>

#include <random>

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;

TEST(TokenBucket, WithoutARateIsAlwaysOpen) {
  TokenBucket bucket(0);
  bucket.take(1 << 30, 1s);
  EXPECT_TRUE(bucket.open(1s));
}

TEST(TokenBucket, IsOpenAtFirstAndThenClosedUntilWhatPassedIsPaid) {
  TokenBucket bucket(1'000'000);
  ASSERT_TRUE(bucket.open(1s));
  bucket.take(500'000, 1s);
  EXPECT_EQ(bucket.open_at(), 1500ms - TokenBucket::kBurst);
  EXPECT_FALSE(bucket.open(1479ms));
  EXPECT_TRUE(bucket.open(1480ms));
}

TEST(TokenBucket, AnIdleHourSavesUpTwentyMilliseconds) {
  TokenBucket bucket(1'000'000);
  bucket.take(20'000, 3600s);
  EXPECT_TRUE(bucket.open(3600s));
  bucket.take(1'000, 3600s);
  EXPECT_FALSE(bucket.open(3600s));
  EXPECT_EQ(bucket.open_at(), 3600s + 1ms);
}

TEST(TokenBucket, WhatPassesWithoutAskingIsPaidToo) {
  TokenBucket bucket(1'000);
  for (int i = 0; i < 10; ++i) bucket.take(1'000, 1s);
  EXPECT_EQ(bucket.open_at(), 11s - TokenBucket::kBurst);
}

TEST(TokenBucket, KeepsToTheRateWhateverTheFramesAndHoweverLateItIsAsked) {
  for (const std::uint64_t rate : {16'384ULL, 1'000'000ULL, 125'000'000ULL}) {
    for (const std::uint64_t largest : {2'048ULL, 131'072ULL}) {
      TokenBucket bucket(rate);
      std::mt19937_64 random(rate + largest);
      const Time end = 10s;
      std::uint64_t passed = 0;
      std::uint64_t last = 0;
      for (Time now{}; now < end;
           now = std::max(now, bucket.open_at()) + Duration(random() % 15'000'000)) {
        while (bucket.open(now)) {
          last = 1 + random() % largest;
          bucket.take(last, now);
          passed += last;
        }
        const double most =
            static_cast<double>(rate) * (std::chrono::duration<double>(now).count() + 0.02);
        ASSERT_LE(static_cast<double>(passed - last), most + 1) << rate << " " << largest;
      }
      EXPECT_GT(static_cast<double>(passed), 0.98 * 10 * static_cast<double>(rate))
          << rate << " " << largest;
    }
  }
}

}  // namespace
}  // namespace shardswarm::test
