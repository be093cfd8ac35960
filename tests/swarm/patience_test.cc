#include "swarm/patience.h"

#include <gtest/gtest.h>

namespace shardswarm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kFetchBegan = seconds(1000);

TEST(Patience, EndsAfterTheTimeoutWithoutProgress) {
  Patience patience(seconds(60), seconds(0), kFetchBegan);
  EXPECT_EQ(patience.stalled_at(), kFetchBegan + seconds(60));
  patience.progress(kFetchBegan + seconds(10));
  EXPECT_EQ(patience.stalled_at(), kFetchBegan + seconds(70));
}

TEST(Patience, DropsOfABlobAreNoProgress) {
  Patience patience(seconds(60), seconds(0), kFetchBegan);
  patience.blob_bytes(16 * limits::kKiB - 1, false, kFetchBegan + seconds(1));
  EXPECT_EQ(patience.last_progress(), kFetchBegan);
  patience.blob_bytes(1, false, kFetchBegan + seconds(2));
  EXPECT_EQ(patience.last_progress(), kFetchBegan + seconds(2));
  // They are counted anew from there.
  patience.blob_bytes(16 * limits::kKiB - 1, false, kFetchBegan + seconds(3));
  EXPECT_EQ(patience.last_progress(), kFetchBegan + seconds(2));
}

TEST(Patience, TheEndOfABlobIsProgressHoweverShort) {
  Patience patience(seconds(60), seconds(0), kFetchBegan);
  patience.blob_bytes(1, true, kFetchBegan + seconds(1));
  EXPECT_EQ(patience.last_progress(), kFetchBegan + seconds(1));
}

TEST(Patience, TheClockStandsWhileASourceIsWaitedFor) {
  Patience patience(seconds(60), seconds(300), kFetchBegan);
  EXPECT_TRUE(patience.waits(kFetchBegan + seconds(299)));
  patience.hold(kFetchBegan + seconds(200));
  EXPECT_EQ(patience.stalled_at(), kFetchBegan + seconds(260));
  // The last stall timeout of the wait is one in which it may end.
  patience.hold(kFetchBegan + seconds(290));
  EXPECT_EQ(patience.stalled_at(), kFetchBegan + seconds(300));
  EXPECT_FALSE(patience.waits(kFetchBegan + seconds(300)));
}

TEST(Patience, ASourceThatAnswersInTimeHasAllOfItsTime) {
  Patience patience(seconds(60), seconds(300), kFetchBegan);
  patience.greeted(kFetchBegan + seconds(100));
  EXPECT_EQ(patience.stalled_at(), kFetchBegan + seconds(160));
  patience.peer_had_it();
  patience.greeted(kFetchBegan + seconds(150));  // another one: it is waited for no more
  EXPECT_EQ(patience.stalled_at(), kFetchBegan + seconds(160));
}

TEST(Patience, RoomOfAFullPeerIsWaitedFor) {
  Patience patience(seconds(60), seconds(0), kFetchBegan);
  patience.wait_for_room(kFetchBegan + seconds(60));
  EXPECT_EQ(patience.stalled_at(), kFetchBegan + seconds(120));
}

TEST(Patience, NobodyHasToHaveTheModelForATimeWithoutABreak) {
  Patience patience(seconds(60), seconds(0), kFetchBegan);
  EXPECT_FALSE(patience.nobody_for(seconds(5), true, kFetchBegan));
  EXPECT_FALSE(patience.nobody_for(seconds(5), true, kFetchBegan + milliseconds(4999)));
  EXPECT_FALSE(patience.nobody_for(seconds(5), false, kFetchBegan + seconds(5)));
  EXPECT_FALSE(patience.nobody_since());
  EXPECT_FALSE(patience.nobody_for(seconds(5), true, kFetchBegan + seconds(6)));
  EXPECT_TRUE(patience.nobody_for(seconds(5), true, kFetchBegan + seconds(11)));
}

}  // namespace
}  // namespace shardswarm
