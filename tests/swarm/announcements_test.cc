#include "swarm/announcements.h"

#include <gtest/gtest.h>

#include "tests/swarm/fetch_on_a_link.h"
#include "tests/swarm/greeted_link.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Time kCameAt = std::chrono::seconds(1000);

// A model that is served and of which pieces come, on a connection to a peer that has it open.
class AnnouncementsTest : public testing::Test {
 protected:
  AnnouncementsTest() : model_(parts_.context.models.add(content_.manifest->id(), Seeding{})) {
    model_.manifest = content_.manifest;
    model_.activate(parts_.context.options, PieceSet(content_.manifest->piece_count()));
    peer_.far.open(model_.id);
    parts_.meetings.open(peer_.link, model_);
    peer_.exchange();
    parts_.meetings.introduce(peer_.link, model_, peer_.link.models.at(model_.key), kCameAt);
    (void)peer_.heard<event::Have>();
  }
  void came(std::uint32_t first, std::uint32_t count, Time now) {
    for (std::uint32_t i = 0; i < count; ++i) {
      Announcements::came(model_, PieceIndex(first + i), now);
    }
  }

  const MemoryModel content_ = make_memory_model(20, 4, 1000, 1);
  BufferPool buffers_{4, 4};
  Parts parts_{CoreOptions{.hello = hello_of("here")}, buffers_};
  Model& model_;
  GreetedLink peer_{parts_, ConnectionId(1), "there", kCameAt};
};

TEST_F(AnnouncementsTest, PiecesThatComeWithinFiveMillisecondsAreToldTogether) {
  came(0, 1, kCameAt);
  came(1, 1, kCameAt + milliseconds(4));
  EXPECT_EQ(parts_.announcements.next_deadline(model_), kCameAt + milliseconds(5));
  parts_.announcements.announce(model_, kCameAt + milliseconds(5) - microseconds(1));
  EXPECT_EQ(peer_.heard<event::Have>(), 0U);
  parts_.announcements.announce(model_, kCameAt + milliseconds(5));
  EXPECT_EQ(peer_.heard<event::Have>(), 1U);
  EXPECT_TRUE(model_.announcements.done());
  EXPECT_EQ(parts_.announcements.next_deadline(model_), std::nullopt);
}

TEST_F(AnnouncementsTest, ManyPiecesAreToldAtOnce) {
  came(0, 63, kCameAt);
  parts_.announcements.announce(model_, kCameAt);
  EXPECT_EQ(peer_.heard<event::Have>(), 0U);
  came(63, 1, kCameAt);
  parts_.announcements.announce(model_, kCameAt);
  EXPECT_EQ(peer_.heard<event::Have>(), 1U);
}

TEST_F(AnnouncementsTest, WhatIsLostBeforeItWasToldIsNotTold) {
  came(0, 1, kCameAt);
  const PieceRun lost{PieceIndex(0), 1};
  parts_.announcements.lost(model_, PieceSet(content_.manifest->piece_count()), {&lost, 1});
  EXPECT_TRUE(model_.announcements.done());
  parts_.announcements.announce(model_, kCameAt + milliseconds(5));
  std::size_t have = 0;
  std::size_t told_lost = 0;
  peer_.exchange();
  while (auto event = peer_.far.next_event()) {
    have += std::holds_alternative<event::Have>(*event) ? 1U : 0U;
    told_lost += std::holds_alternative<event::Lost>(*event) ? 1U : 0U;
  }
  EXPECT_EQ(have, 0U);
  EXPECT_EQ(told_lost, 1U);
}

using CompleteFetchTest = FetchOnALink;

TEST_F(CompleteFetchTest, ItsLastPiecesAreToldAtOnceAlsoAfterItsEnd) {
  std::size_t pieces = 0;
  model_->fetching().wanted.for_each([&](PieceIndex piece) {
    send(piece);
    parts_.fetches.piece_stored(*model_, piece, peer_.link.id, 1000, {}, kRigTime);
    ++pieces;
  });
  ASSERT_LT(pieces, 64U) << "so many are told at once in any case";
  parts_.announcements.announce(*model_, kRigTime);
  EXPECT_FALSE(model_->announcements.done());
  parts_.fetches.check_complete(*model_);
  parts_.fetches.finished(*model_, kRigTime);
  parts_.announcements.announce(*model_, kRigTime);
  EXPECT_TRUE(model_->announcements.done());
  exchange();
  EXPECT_EQ(heard<event::Have>(), 1U);
}

}  // namespace
}  // namespace shardswarm::test
