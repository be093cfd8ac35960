#include "scheduler/leases.h"

#include <gmock/gmock.h>

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr PeerKey kAnn(1);
constexpr PeerKey kBob(2);
constexpr Duration kMin = 500ms;
constexpr Duration kUnmeasured = 2s;
constexpr double kRate = 1e6;  // bytes a second

// Of a taker whose rate is not known.
void give(Leases& leases, std::uint32_t piece, PeerKey taker, Time now) {
  leases.give(PieceIndex(piece), {.taker = taker, .taker_id = {}}, 1000, 0, now);
}
// How long a lease lasts now that is given for a queue of so many bytes.
Duration lasts(Leases& leases, std::uint64_t bytes, double rate = kRate) {
  leases.give(PieceIndex(99), {.taker = kAnn, .taker_id = {}}, bytes, rate, 10s);
  const Duration deadline = leases.find(PieceIndex(99))->deadline - 10s;
  leases.end(PieceIndex(99));
  return deadline;
}
bool holds(const Leases& leases, std::uint32_t piece) {
  const auto* lease = leases.find(PieceIndex(piece));
  return lease != nullptr && !lease->lapsed;
}

TEST(Leases, FindsWhatWasGivenUntilItEnds) {
  Leases leases(kMin);
  give(leases, 3, kAnn, 0s);
  ASSERT_TRUE(holds(leases, 3));
  EXPECT_EQ(leases.find(PieceIndex(3))->taker, kAnn);
  EXPECT_EQ(leases.find(PieceIndex(4)), nullptr);
  leases.end(PieceIndex(3));
  EXPECT_EQ(leases.find(PieceIndex(3)), nullptr);
  EXPECT_EQ(leases.next_deadline(), std::nullopt);
}

TEST(Leases, ExpireInTheOrderOfTheirDeadlines) {
  Leases leases(kMin);
  give(leases, 1, kAnn, 20ms);
  give(leases, 2, kBob, 10ms);
  give(leases, 3, kBob, 10ms);
  give(leases, 4, kAnn, 21ms);
  EXPECT_THAT(leases.expire(kUnmeasured + 9ms), IsEmpty());
  EXPECT_THAT(leases.expire(kUnmeasured + 20ms), ElementsAre(kBob, kBob, kAnn));
  EXPECT_FALSE(holds(leases, 1));
  EXPECT_TRUE(holds(leases, 4));
  EXPECT_THAT(leases.expire(kUnmeasured + 20ms), IsEmpty());
}

TEST(Leases, WhatLapsedIsRememberedForTenSeconds) {
  Leases leases(kMin);
  give(leases, 1, kAnn, 0s);
  EXPECT_THAT(leases.expire(kUnmeasured), ElementsAre(kAnn));
  ASSERT_NE(leases.find(PieceIndex(1)), nullptr);
  EXPECT_TRUE(leases.find(PieceIndex(1))->lapsed);
  EXPECT_EQ(leases.next_deadline(), kUnmeasured + 10s);
  EXPECT_THAT(leases.expire(kUnmeasured + 10s), IsEmpty()) << "it lapsed once";
  EXPECT_EQ(leases.find(PieceIndex(1)), nullptr);
  EXPECT_EQ(leases.next_deadline(), std::nullopt);
}

TEST(Leases, OfATakerThatLeavesLapsedOnesEndToo) {
  Leases leases(kMin);
  give(leases, 1, kAnn, 0s);
  leases.expire(kUnmeasured);
  leases.end_of(kAnn);
  EXPECT_EQ(leases.find(PieceIndex(1)), nullptr);
  EXPECT_EQ(leases.next_deadline(), std::nullopt);
}

TEST(Leases, TheNextDeadlineIsTheEarliest) {
  Leases leases(kMin);
  EXPECT_EQ(leases.next_deadline(), std::nullopt);
  give(leases, 1, kAnn, 20ms);
  give(leases, 2, kBob, 10ms);
  EXPECT_EQ(leases.next_deadline(), kUnmeasured + 10ms);
  leases.end(PieceIndex(2));
  EXPECT_EQ(leases.next_deadline(), kUnmeasured + 20ms);
}

TEST(Leases, OfATakerThatLeavesEndAll) {
  Leases leases(kMin);
  give(leases, 1, kAnn, 10ms);
  give(leases, 2, kBob, 30ms);
  give(leases, 3, kAnn, 20ms);
  leases.end_of(kAnn);
  EXPECT_EQ(leases.find(PieceIndex(1)), nullptr);
  EXPECT_EQ(leases.find(PieceIndex(3)), nullptr);
  EXPECT_EQ(leases.next_deadline(), kUnmeasured + 30ms);
  EXPECT_THAT(leases.expire(kUnmeasured + 30ms), ElementsAre(kBob));
}

TEST(Leases, GivenAgainOnlyTheNewDeadlineCounts) {
  Leases leases(kMin);
  give(leases, 1, kAnn, 10ms);
  give(leases, 1, kBob, 40ms);
  EXPECT_THAT(leases.expire(kUnmeasured + 10ms), IsEmpty());
  EXPECT_EQ(leases.find(PieceIndex(1))->taker, kBob);
}

TEST(Leases, EndingWhatWasNotGivenChangesNothing) {
  Leases leases(kMin);
  give(leases, 1, kAnn, 10ms);
  leases.end(PieceIndex(2));
  leases.end_of(kBob);
  EXPECT_TRUE(holds(leases, 1));
  EXPECT_EQ(leases.next_deadline(), kUnmeasured + 10ms);
}

// --- how long ---

TEST(Leases, LastTwoSecondsUntilItIsKnownWhatPassingOnTakes) {
  Leases leases(kMin);
  EXPECT_EQ(lasts(leases, 1000, 0), kUnmeasured);
  EXPECT_EQ(lasts(leases, 1000), kUnmeasured);
  EXPECT_EQ(lasts(leases, 3'000'000), 6s) << "twice what the queue takes";
}

TEST(Leases, LastThreeTimesWhatPassingOnUsuallyTakes) {
  Leases leases(kMin);
  give(leases, 1, kAnn, 1s);
  leases.passed_on(PieceIndex(1), 1200ms);
  EXPECT_EQ(leases.find(PieceIndex(1)), nullptr);
  EXPECT_EQ(lasts(leases, 1000), 600ms);
  EXPECT_EQ(lasts(leases, 1'000'000), 2s) << "the queue takes longer";
  EXPECT_EQ(lasts(leases, 1000, 0), kUnmeasured) << "of this taker nothing is known";
  give(leases, 2, kBob, 2s);
  leases.passed_on(PieceIndex(2), 3s);
  EXPECT_EQ(lasts(leases, 1000), 3 * 300ms) << "an eighth of the way to a second";
}

TEST(Leases, NoLeaseIsShorterThanTheMinimum) {
  Leases leases(kMin);
  give(leases, 1, kAnn, 1s);
  leases.passed_on(PieceIndex(1), 1s + 1ms);
  EXPECT_EQ(lasts(leases, 1000), kMin);
}

// Else only what is passed on in time would count, and the time would never be found too short.
TEST(Leases, WhatIsPassedOnLateCounts) {
  Leases leases(kMin);
  give(leases, 1, kAnn, 1s);
  leases.expire(3s);
  leases.passed_on(PieceIndex(1), 2800ms);
  EXPECT_EQ(lasts(leases, 1000), 3 * 1800ms);
  EXPECT_EQ(lasts(leases, 1000, 0), 3 * 1800ms) << "of a new taker, too";
}

// A lease that made others longer than itself would grow without end.
TEST(Leases, ATakerThatIsSlowToPassOnMakesNoLeaseLongerThanSixSeconds) {
  Leases leases(kMin);
  for (std::uint32_t piece = 0; piece < 100; ++piece) {
    give(leases, piece, kAnn, 0s);
    leases.passed_on(PieceIndex(piece), 9s);
  }
  EXPECT_EQ(lasts(leases, 1000), 6s);
}

}  // namespace
}  // namespace shardswarm::test
