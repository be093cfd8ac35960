#include "scheduler/rate.h"

#include <gmock/gmock.h>

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;
using testing::DoubleNear;

constexpr double kMb = 1e6;

TEST(Rate, IsUnknownUntilATenthOfASecondWasMeasured) {
  RateMeter meter;
  EXPECT_EQ(meter.bytes_per_second(), 0);
  meter.busy(1s);
  meter.add(1'000'000, 1s + 99ms);
  EXPECT_EQ(meter.bytes_per_second(), 0);
  meter.add(1'000'000, 1s + 100ms);
  EXPECT_THAT(meter.bytes_per_second(), DoubleNear(20 * kMb, 1));
}

TEST(Rate, FollowsAChangeWithinAboutHalfASecond) {
  RateMeter meter;
  meter.busy(0s);
  for (int i = 1; i <= 20; ++i) meter.add(1'000'000, i * 100ms);
  ASSERT_THAT(meter.bytes_per_second(), DoubleNear(10 * kMb, 1));
  for (int i = 1; i <= 5; ++i) meter.add(5'000'000, 2s + i * 100ms);
  // 1 - 0.7^5 = 83 % of the way from 10 to 50 MB/s.
  EXPECT_THAT(meter.bytes_per_second(), DoubleNear(43.3 * kMb, 0.1 * kMb));
}

TEST(Rate, TimeInWhichNothingWasOwedDoesNotCount) {
  RateMeter meter;
  meter.busy(0s);
  meter.add(1'000'000, 100ms);
  ASSERT_THAT(meter.bytes_per_second(), DoubleNear(10 * kMb, 1));
  meter.busy(60s);
  meter.add(1'000'000, 60s + 100ms);
  EXPECT_THAT(meter.bytes_per_second(), DoubleNear(10 * kMb, 1));
}

// A peer whose queue runs empty after every piece: 1 MB each in 50 ms, with a pause after each.
TEST(Rate, ShortBusySpellsAddUpToTheirRate) {
  RateMeter meter;
  for (int i = 0; i < 10; ++i) {
    meter.busy(i * 1s);
    meter.add(1'000'000, i * 1s + 50ms);
  }
  meter.busy(10s);
  meter.add(1'000'000, 10s + 50ms);
  meter.add(1'000'000, 10s + 100ms);
  EXPECT_THAT(meter.bytes_per_second(), DoubleNear(20 * kMb, 1 * kMb));
}

}  // namespace
}  // namespace shardswarm::test
