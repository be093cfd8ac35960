// Peers of the own site before others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/scheduler/downloader.h"

namespace shardswarm::test {
namespace {

using testing::IsEmpty;

// Ann is near; Bob and Cid are far. All windows have room for 8 pieces.
class NearFirst : public testing::Test {
 protected:
  void add(PeerKey peer, PieceRun pieces, bool near) {
    down_.scheduler.add_peer(peer, 0s, near);
    down_.has(peer, pieces);
  }
  Downloader down_{run(0, 40)};
};

TEST_F(NearFirst, FarPeersAreAskedForWhatNoNearOneHolds) {
  add(kAnn, run(0, 20), true);
  add(kBob, run(0, 40), false);
  add(kCid, run(0, 40), false);
  down_.decide(0s);
  EXPECT_EQ(down_.asked[kAnn].count(), 8U);
  EXPECT_EQ(down_.asked[kBob].count(), 8U);
  EXPECT_EQ(down_.asked[kCid].count(), 8U);
  const PieceSet near = set_of(run(0, 20));
  EXPECT_FALSE(down_.asked[kBob].intersects(near));
  EXPECT_FALSE(down_.asked[kCid].intersects(near));
}

TEST_F(NearFirst, WhatANearPeerRejectsIsAskedOfAFarOne) {
  add(kAnn, run(0, 40), true);
  add(kBob, run(0, 40), false);
  down_.decide(0s);
  EXPECT_THAT(down_.asked[kBob].runs(), IsEmpty());
  down_.reject(kAnn, run(0, 40), 0s);
  down_.decide(0s);
  EXPECT_EQ(down_.asked[kBob].count(), 8U);
}

TEST_F(NearFirst, WhatANearPeerHeldIsAskedOfFarOnesWhenItIsGone) {
  add(kAnn, run(0, 40), true);
  add(kBob, run(0, 40), false);
  add(kCid, run(0, 40), false);
  down_.decide(0s);
  EXPECT_THAT(down_.asked[kBob].runs(), IsEmpty());
  down_.scheduler.remove_peer(kAnn);
  down_.decide(0s);
  EXPECT_EQ(down_.asked[kBob].count(), 8U);
  EXPECT_EQ(down_.asked[kCid].count(), 8U);
}

TEST_F(NearFirst, ASilentNearPeerIsNotWaitedFor) {
  add(kAnn, run(0, 40), true);
  add(kBob, run(0, 40), false);
  down_.decide(0s);
  down_.decide(6s);
  EXPECT_EQ(down_.asked[kBob].count(), 8U);
}

}  // namespace
}  // namespace shardswarm::test
