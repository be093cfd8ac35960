#include "scheduler/leases.h"

#include <gmock/gmock.h>

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr PeerKey kAnn(1);
constexpr PeerKey kBob(2);

Leases::Lease lease(PeerKey taker, Time deadline) {
  return {.taker = taker, .taker_id = {}, .deadline = deadline};
}

TEST(Leases, FindsWhatWasGivenUntilItEnds) {
  Leases leases;
  leases.give(PieceIndex(3), lease(kAnn, 10ms));
  ASSERT_NE(leases.find(PieceIndex(3)), nullptr);
  EXPECT_EQ(leases.find(PieceIndex(3))->taker, kAnn);
  EXPECT_EQ(leases.find(PieceIndex(4)), nullptr);
  leases.end(PieceIndex(3));
  EXPECT_EQ(leases.find(PieceIndex(3)), nullptr);
  EXPECT_EQ(leases.next_deadline(), std::nullopt);
}

TEST(Leases, ExpireEndsThoseDueAndNamesTheirTakersOnceALease) {
  Leases leases;
  leases.give(PieceIndex(1), lease(kAnn, 20ms));
  leases.give(PieceIndex(2), lease(kBob, 10ms));
  leases.give(PieceIndex(3), lease(kBob, 10ms));
  leases.give(PieceIndex(4), lease(kAnn, 21ms));
  EXPECT_THAT(leases.expire(9ms), IsEmpty());
  EXPECT_THAT(leases.expire(20ms), ElementsAre(kBob, kBob, kAnn));
  EXPECT_EQ(leases.find(PieceIndex(1)), nullptr);
  EXPECT_NE(leases.find(PieceIndex(4)), nullptr);
  EXPECT_THAT(leases.expire(20ms), IsEmpty());
}

TEST(Leases, NextDeadlineIsTheEarliestOfThoseThatStand) {
  Leases leases;
  EXPECT_EQ(leases.next_deadline(), std::nullopt);
  leases.give(PieceIndex(1), lease(kAnn, 20ms));
  leases.give(PieceIndex(2), lease(kBob, 10ms));
  EXPECT_EQ(leases.next_deadline(), Time(10ms));
  leases.end(PieceIndex(2));
  EXPECT_EQ(leases.next_deadline(), Time(20ms));
}

TEST(Leases, EndOfATakerLeavesTheOthersAlone) {
  Leases leases;
  leases.give(PieceIndex(1), lease(kAnn, 10ms));
  leases.give(PieceIndex(2), lease(kBob, 30ms));
  leases.give(PieceIndex(3), lease(kAnn, 20ms));
  leases.end_of(kAnn);
  EXPECT_EQ(leases.find(PieceIndex(1)), nullptr);
  EXPECT_EQ(leases.find(PieceIndex(3)), nullptr);
  EXPECT_EQ(leases.next_deadline(), Time(30ms));
  EXPECT_THAT(leases.expire(30ms), ElementsAre(kBob));
}

TEST(Leases, APieceCanBeLeasedAgain) {
  Leases leases;
  leases.give(PieceIndex(1), lease(kAnn, 10ms));
  leases.end(PieceIndex(1));
  leases.give(PieceIndex(1), lease(kBob, 40ms));
  EXPECT_THAT(leases.expire(10ms), IsEmpty());
  EXPECT_EQ(leases.find(PieceIndex(1))->taker, kBob);
}

TEST(Leases, EndingWhatIsNotLeasedChangesNothing) {
  Leases leases;
  leases.give(PieceIndex(1), lease(kAnn, 10ms));
  leases.end(PieceIndex(2));
  leases.end_of(kBob);
  EXPECT_NE(leases.find(PieceIndex(1)), nullptr);
  EXPECT_EQ(leases.next_deadline(), Time(10ms));
}

}  // namespace
}  // namespace shardswarm::test
