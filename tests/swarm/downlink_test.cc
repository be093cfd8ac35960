#include "swarm/downlink.h"

#include <gtest/gtest.h>

#include "tests/swarm/fetch_on_a_link.h"

namespace shardswarm::test {
namespace {

constexpr PieceIndex kPiece{2};

using DownlinkTest = FetchOnALink;

TEST_F(DownlinkTest, APieceThatWasAskedForIsStored) {
  send(kPiece);
  EXPECT_EQ(stored(), 1U);
  EXPECT_FALSE(peer_.link.downlink.arriving());
  EXPECT_EQ(model_->counters.duplicate_bytes, 0U);
}

TEST_F(DownlinkTest, APieceOutsideTheSelectionEndsTheConnection) {
  const PieceIndex last(content_.manifest->piece_count() - 1);  // lm_head
  ASSERT_FALSE(model_->fetching().wanted.contains(last));
  send(last);
  EXPECT_TRUE(peer_.link.closing);
  EXPECT_EQ(peer_.link.error->code, Errc::kProtocol);
}

TEST_F(DownlinkTest, WhatComesASecondTimeIsThrownAwayAndCounted) {
  send(kPiece);
  ASSERT_EQ(stored(), 1U);
  parts_.fetches.piece_stored(*model_, kPiece, peer_.link.id, 1000, {}, kRigTime);
  send(kPiece);
  EXPECT_EQ(stored(), 0U);
  EXPECT_EQ(model_->counters.duplicate_bytes, 1000U);
  EXPECT_EQ(heard<event::Cancel>(), 1U) << "it is told that this is not wanted";
  EXPECT_FALSE(peer_.link.closing);
}

TEST_F(DownlinkTest, WithoutABufferThePieceWaits) {
  auto small = buffers_.take(1000);
  auto large = buffers_.take(1000);
  ASSERT_TRUE(small);
  send(kPiece);
  EXPECT_TRUE(peer_.link.downlink.waiting());
  EXPECT_TRUE(parts_.downlink.waiting().contains(peer_.link.id));
  EXPECT_FALSE(parts_.downlink.accept(peer_.link, kRigTime));
  small.reset();
  large.reset();
  EXPECT_TRUE(parts_.downlink.accept(peer_.link, kRigTime));
  EXPECT_FALSE(parts_.downlink.waiting().contains(peer_.link.id));
  exchange();
  EXPECT_EQ(stored(), 1U);
}

TEST_F(DownlinkTest, WhileTooMuchIsNotDurableThePieceWaits) {
  parts_.fetches.undurable(*model_, limits::kUndurableBytesMax, kRigTime);
  send(kPiece);
  EXPECT_TRUE(peer_.link.downlink.waiting());
  parts_.fetches.undurable(*model_, limits::kUndurableBytesMax - 1, kRigTime);
  EXPECT_TRUE(parts_.downlink.accept(peer_.link, kRigTime));
}

TEST_F(DownlinkTest, AConnectionThatEndsGivesItsBufferBack) {
  begin_to_send(kPiece);
  ASSERT_TRUE(peer_.link.downlink.arriving());
  ASSERT_EQ(buffers_.taken(), 1U);
  parts_.downlink.removed(peer_.link);
  EXPECT_EQ(buffers_.taken(), 0U);
}

TEST_F(DownlinkTest, AConnectionThatEndsIsNotWaitedForAnyMore) {
  auto taken = buffers_.take(1000);
  auto other = buffers_.take(1000);
  send(kPiece);
  ASSERT_TRUE(peer_.link.downlink.waiting());
  parts_.downlink.removed(peer_.link);
  EXPECT_TRUE(parts_.downlink.waiting().empty());
  EXPECT_EQ(model_->fetching().waiting, 0U);
}

TEST_F(DownlinkTest, AClaimOfWhatWasNotAskedForIsRefused) {
  peer_.far.claim(channel_, PieceIndex(content_.manifest->piece_count() - 1));
  exchange();
  EXPECT_TRUE(peer_.link.closing);
}

}  // namespace
}  // namespace shardswarm::test
