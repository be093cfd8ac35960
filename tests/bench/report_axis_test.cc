#include "bench/lan/report_axis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardswarm::bench {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Axis, TicksAreRoundAndWithinIt) {
  EXPECT_THAT(time_axis(12.3, 8).ticks, ElementsAre(0, 2, 4, 6, 8, 10, 12));
  EXPECT_THAT(time_axis(4, 8).ticks, ElementsAre(0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4));
  EXPECT_THAT(rate_axis(200e6, 4).ticks, ElementsAre(0, 50, 100, 150, 200));
  for (double most = 1e-3; most < 1e5; most *= 1.37) {
    for (const int steps : {2, 3, 4, 8}) {
      const Axis axis = time_axis(most, steps);
      ASSERT_GE(axis.ticks.size(), 2U) << most;
      EXPECT_LE(axis.ticks.size(), static_cast<std::size_t>(steps) + 1) << most;
      EXPECT_LE(axis.ticks.back(), axis.most * (1 + 1e-9)) << most;
    }
  }
}

TEST(Axis, UnitsFollowTheSize) {
  EXPECT_EQ(time_axis(0.25, 4).unit, "ms");
  EXPECT_THAT(time_axis(0.25, 4).most, DoubleNear(250, 1e-9));
  EXPECT_EQ(time_axis(3, 4).unit, "s");
  EXPECT_EQ(rate_axis(2.5e9, 4).unit, "Gbit/s");
  EXPECT_EQ(rate_axis(2e5, 4).unit, "kbit/s");
  EXPECT_EQ(rate_axis(0.5, 4).unit, "bit/s");
}

TEST(Axis, OfNothingIsOneTick) {
  const Axis axis = rate_axis(0, 4);
  EXPECT_THAT(axis.ticks, ElementsAre(0));
  EXPECT_EQ(percent_of(axis, 0), 0);
}

TEST(Axis, LabelsStandAtTheirTicks) {
  const std::string below = labels_below(time_axis(10, 2));
  EXPECT_THAT(below, HasSubstr(R"(style="left:50.000%">5 s<)"));
  EXPECT_THAT(below, HasSubstr(R"(class="last" style="left:100.000%">10 s<)"));
  EXPECT_THAT(labels_beside(rate_axis(200e6, 2)), HasSubstr(R"(style="bottom:50.000%">100<)"));
}

}  // namespace
}  // namespace shardswarm::bench
