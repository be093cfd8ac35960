#include "transport/dial_race.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardswarm {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

constexpr Family k4 = Family::kV4;
constexpr Family k6 = Family::kV6;

// The order of all attempts when each fails at once.
std::vector<std::size_t> order_of(const std::vector<Family>& families) {
  DialRace race(families);
  std::vector<std::size_t> order;
  while (const auto address = race.take_due(Time(0))) {
    order.push_back(*address);
    race.failed(*address, Time(0));
  }
  EXPECT_TRUE(race.lost());
  return order;
}

TEST(DialRace, FamiliesTakeTurnsBeginningWithTheResolversFirst) {
  EXPECT_THAT(order_of({k6, k6, k6, k4, k4}), ElementsAre(0, 3, 1, 4, 2));
  EXPECT_THAT(order_of({k4, k4, k6}), ElementsAre(0, 2, 1));
  EXPECT_THAT(order_of({k4, k4}), ElementsAre(0, 1));
  EXPECT_THAT(order_of({}), ElementsAre());
}

TEST(DialRace, OfManyAddressesAFewOfBothFamiliesAreTried) {
  std::vector<Family> families(1000, k6);
  families.push_back(k4);
  const auto order = order_of(families);
  EXPECT_EQ(order.size(), DialRace::kAddressesMax);
  EXPECT_EQ(order[1], 1000U);
}

TEST(DialRace, ASilentAddressCostsAQuarterOfASecond) {
  DialRace race({k6, k4});
  EXPECT_EQ(race.take_due(Time(0)), 0U);
  EXPECT_EQ(race.take_due(milliseconds(249)), std::nullopt);
  EXPECT_EQ(race.next_due(), Time(milliseconds(250)));
  EXPECT_EQ(race.take_due(milliseconds(250)), 1U);
  EXPECT_EQ(race.next_due(), std::nullopt);
  EXPECT_FALSE(race.lost());  // both are under way still
}

TEST(DialRace, AnAddressThatRefusesCostsNothing) {
  DialRace race({k6, k4});
  EXPECT_EQ(race.take_due(Time(0)), 0U);
  race.failed(0, milliseconds(1));
  EXPECT_EQ(race.take_due(milliseconds(1)), 1U);
  EXPECT_FALSE(race.lost());
  race.failed(1, milliseconds(2));
  EXPECT_TRUE(race.lost());
}

// An earlier failure must not put off the attempt that is due.
TEST(DialRace, OneAttemptBeginsForEachThatFails) {
  DialRace race({k6, k6, k6, k6});
  EXPECT_EQ(race.take_due(Time(0)), 0U);
  EXPECT_EQ(race.take_due(milliseconds(250)), 1U);
  race.failed(0, milliseconds(260));
  EXPECT_EQ(race.take_due(milliseconds(260)), 2U);
  EXPECT_EQ(race.take_due(milliseconds(260)), std::nullopt);
  EXPECT_EQ(race.next_due(), Time(milliseconds(510)));
}

TEST(DialRace, WhereTheWinnerIsNoPeerTheOthersAreTriedAfterAll) {
  DialRace race({k6, k4, k6});
  EXPECT_EQ(race.take_due(Time(0)), 0U);
  EXPECT_EQ(race.take_due(milliseconds(250)), 1U);
  race.won(1);
  EXPECT_FALSE(race.lost());
  EXPECT_EQ(race.take_due(milliseconds(300)), 0U);
  race.failed(0, milliseconds(310));
  EXPECT_EQ(race.take_due(milliseconds(310)), 2U);
  race.won(2);
  EXPECT_TRUE(race.lost());
}

}  // namespace
}  // namespace shardswarm
