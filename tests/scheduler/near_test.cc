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

// Ann and Bob hold all of 400 pieces, Ann near. Each brings so many pieces of what it was asked a
// second, in tenths of it, for 20 s; returns how many came from Bob.
std::uint32_t far_pieces(double near_rate, double far_rate) {
  Downloader down;
  down.scheduler.add_peer(kAnn, 0s, true);
  down.has(kAnn, run(0, kPieces));
  down.scheduler.add_peer(kBob, 0s, false);
  down.has(kBob, run(0, kPieces));
  std::map<PeerKey, double> may{{kAnn, 0}, {kBob, 0}};
  std::uint32_t far = 0;
  for (Time now = 0s; now < 20s; now += 100ms) {
    may[kAnn] += near_rate / 10;
    may[kBob] += far_rate / 10;
    for (auto& [peer, pieces] : may) {
      down.decide(now);
      while (pieces >= 1 && !down.asked[peer].empty()) {
        const PieceIndex piece = *down.asked[peer].next(PieceIndex(0));
        down.deliver(peer, piece.value, now);
        for (auto& [other, asked] : down.asked) asked.erase(piece);
        pieces -= 1;
        far += peer == kBob ? 1U : 0U;
      }
      pieces = std::min(pieces, 1.0);
    }
  }
  return far;
}

TEST(SlowNear, DoesNotShutOutAFarPeerThatIsMuchFaster) { EXPECT_GE(far_pieces(1, 50), 300U); }

TEST(SlowNear, IsPreferredToAFarPeerThatIsFasterBySome) { EXPECT_LE(far_pieces(10, 20), 40U); }

}  // namespace
}  // namespace shardswarm::test
