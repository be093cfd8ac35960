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

}  // namespace
}  // namespace shardswarm::test
