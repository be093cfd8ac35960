// Offers that stay without an answer.
#include <gtest/gtest.h>

#include "tests/scheduler/downloader.h"

namespace shardswarm::test {
namespace {

// A peer was banned in the middle, messages crossed, and the two sides counted credit differently:
// the fetch waited for claims, the uploader for credit, until the stall timeout.
TEST(Offer, ThatStaysQuietIsMadeAgain) {
  Downloader down;
  down.add(kAnn, run(0, kPieces));
  ASSERT_GT(credit_of(down.decide(0s), kAnn), 0U);
  EXPECT_TRUE(down.decide(1s).ask.empty()) << "a busy peer has time";
  const auto due = down.scheduler.next_deadline();
  ASSERT_TRUE(due);
  EXPECT_EQ(*due, 2s);
  const Decision again = down.decide(*due);
  ASSERT_EQ(again.ask.size(), 1U);
  EXPECT_TRUE(again.ask[0].any);
  EXPECT_EQ(Downloader::set(again.ask[0].pieces), set_of(run(0, kPieces)));
  EXPECT_GT(again.ask[0].credit_bytes, 0U);
  EXPECT_TRUE(down.decide(3s).ask.empty()) << "not more often";
}

TEST(Offer, ThatIsAnsweredIsNotMadeAgain) {
  Downloader down;
  down.add(kAnn, run(0, kPieces));
  (void)down.decide(0s);
  EXPECT_TRUE(down.claimed(kAnn, 7, 1900ms));
  for (const Ask& ask : down.decide(2s).ask) EXPECT_TRUE(ask.pieces.empty());
}

// All that is left of it may be leased to others for long, while it could give what others hold.
TEST(Offer, WithoutAnAnswerDoesNotKeepOffPullsForEver) {
  Downloader down(run(0, 20));
  down.add(kAnn, run(0, 20));
  (void)down.decide(0s);
  for (std::uint32_t piece = 0; piece < 3; ++piece) {  // the interval by which silence is judged
    const Time now = (piece + 1) * 300ms;
    ASSERT_TRUE(down.claimed(kAnn, piece, now));
    down.deliver(kAnn, piece, now);
    (void)down.decide(now);
  }
  down.add(kBob, run(10, 10), 1s);
  (void)down.decide(1s);
  ASSERT_LT(down.asked[kBob].count(), 10U) << "his window does not hold all of it";
  const PieceSet others = set_of(run(10, 10)) - down.asked[kBob];
  PieceSet pulled(kPieces);
  for (Time now = 1s; now < 8s && (pulled & others).empty(); now += 50ms) {
    for (const Ask& ask : down.decide(now).ask) {
      if (ask.peer == kAnn && !ask.any) pulled |= Downloader::set(ask.pieces);
    }
  }
  EXPECT_FALSE((pulled & others).empty());
}

}  // namespace
}  // namespace shardswarm::test
