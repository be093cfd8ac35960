#include "scheduler/upload_slots.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;

// An uplink of 100 MB/s to receivers of which each takes so much at most.
struct Uplink {
  double receiver = 1e6;  // bytes a second
  double uplink = 100e6;
  bool wanted = true;

  // Returns how many slots there were most of the time at the end.
  std::size_t run_for(Duration time) {
    std::size_t least = UploadSlots::kMin * 1000;
    for (const Time end = now + time; now < end; now += 10ms) {
      const double rate = std::min(uplink, static_cast<double>(slots.count()) * receiver);
      slots.sent(static_cast<std::uint64_t>(rate / 100), wanted, now);
      if (end - now < 2s) least = std::min(least, slots.count());
    }
    return least;
  }

  UploadSlots slots;
  Time now{};
};

TEST(UploadSlots, AFewFastReceiversNeedNoMore) {
  Uplink uplink{.receiver = 100e6};
  EXPECT_EQ(uplink.run_for(60s), UploadSlots::kMin);
}

TEST(UploadSlots, FindsMoreWhenEachReceiverIsSlow) {
  Uplink uplink{.receiver = 2e6};
  const std::size_t found = uplink.run_for(60s);
  EXPECT_GE(found, 36U) << "50 fill it, and a quarter less is tried";
  EXPECT_LE(found, 63U) << "no more than a quarter too many";
}

TEST(UploadSlots, ReturnsToTheLeastWhenReceiversGetFast) {
  Uplink uplink{.receiver = 2e6};
  ASSERT_GE(uplink.run_for(60s), 36U);
  uplink.receiver = 100e6;
  EXPECT_EQ(uplink.run_for(120s), UploadSlots::kMin);
}

TEST(UploadSlots, ARateThatNobodyWaitedForSaysNothing) {
  Uplink uplink{.receiver = 2e6, .wanted = false};
  uplink.run_for(60s);
  EXPECT_EQ(uplink.slots.count(), UploadSlots::kMin);
}

// Every receiver stands still for a while: a trial meanwhile finds nothing, and is given up.
TEST(UploadSlots, AStandstillTeachesNothingThatLasts) {
  Uplink uplink{.receiver = 2e6};
  const std::size_t before = uplink.run_for(60s);
  uplink.receiver = 0;
  uplink.run_for(30s);
  EXPECT_LE(uplink.slots.count(), 2 * before);
  uplink.receiver = 2e6;
  const std::size_t after = uplink.run_for(60s);
  EXPECT_GE(after, 36U);
  EXPECT_LE(after, 63U);
}

}  // namespace
}  // namespace shardswarm::test
