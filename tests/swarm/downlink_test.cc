#include "swarm/downlink.h"

#include <gtest/gtest.h>

#include <utility>

#include "swarm/peer_events.h"
#include "tests/swarm/greeted_link.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using std::chrono::seconds;

constexpr Time kSentAt = seconds(1000);
constexpr PieceIndex kPiece{2};

// A fetch of one model, and a peer that has all of it and was asked for it.
class DownlinkTest : public testing::Test {
 protected:
  DownlinkTest() {
    const auto key = parts_.fetches.add({.id = content_.manifest->id(),
                                         .selection = {.layers = {{0, 1}}},
                                         .stall_timeout = seconds(60),
                                         .kept = content_.manifest},
                                        kSentAt);
    model_ = parts_.context.models.find(*key);
    const PieceSet none(content_.manifest->piece_count());
    parts_.fetches.store_opened(*model_, none, none, none, kSentAt);
    channel_ = peer_.far.open(model_->id);
    exchange();
    const PieceRun all{PieceIndex(0), content_.manifest->piece_count()};
    peer_.far.have(channel_, {&all, 1});
    exchange();
    parts_.downlink.ask(*model_, kSentAt);
    exchange();
    (void)parts_.context.out.take();
  }
  void exchange() {
    for (int i = 0; i < 3; ++i) {
      peer_.exchange();
      events_.drain(peer_.link, kSentAt);
      while (auto event = peer_.far.next_event()) heard_.push_back(std::move(*event));
    }
  }
  void send(PieceIndex piece) {
    peer_.far.send_piece(channel_, piece, content_.manifest->extent(piece).length);
    exchange();
  }
  template <class E>
  std::size_t heard() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        heard_, [](const SessionEvent& event) { return std::holds_alternative<E>(event); }));
  }
  std::size_t stored() {
    const auto actions = parts_.context.out.take();
    return static_cast<std::size_t>(std::ranges::count_if(actions, [](const Action& action) {
      return std::holds_alternative<action::StorePiece>(action);
    }));
  }

  const MemoryModel content_ = make_memory_model(4, 2, 1000, 1);
  BufferPool buffers_{1, 1};
  Parts parts_{CoreOptions{.hello = hello_of("here")}, buffers_};
  PeerEvents events_{parts_};
  GreetedLink peer_{parts_, ConnectionId(1), "there", kSentAt};
  Model* model_ = nullptr;
  Channel channel_;
  std::vector<SessionEvent> heard_;
};

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
  parts_.fetches.piece_stored(*model_, kPiece, peer_.link.id, 1000, {}, kSentAt);
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
  EXPECT_FALSE(parts_.downlink.accept(peer_.link, kSentAt));
  small.reset();
  large.reset();
  EXPECT_TRUE(parts_.downlink.accept(peer_.link, kSentAt));
  EXPECT_FALSE(parts_.downlink.waiting().contains(peer_.link.id));
  exchange();
  EXPECT_EQ(stored(), 1U);
}

TEST_F(DownlinkTest, WhileTooMuchIsNotDurableThePieceWaits) {
  parts_.fetches.undurable(*model_, limits::kUndurableBytesMax, kSentAt);
  send(kPiece);
  EXPECT_TRUE(peer_.link.downlink.waiting());
  parts_.fetches.undurable(*model_, limits::kUndurableBytesMax - 1, kSentAt);
  EXPECT_TRUE(parts_.downlink.accept(peer_.link, kSentAt));
}

TEST_F(DownlinkTest, AConnectionThatEndsGivesItsBufferBack) {
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
