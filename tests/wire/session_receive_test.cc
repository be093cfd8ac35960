// Pieces on their way in: buffers, chunking, and how they end.
#include <gmock/gmock.h>

#include "tests/wire/pair.h"
#include "wire/session.h"

namespace shardswarm {
namespace {

using test::Acceptor;
using test::bytes_arrived;
using test::kFull;
using test::Pair;
using test::piece_byte;
using test::run_of;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Bytes = std::vector<std::byte>;

TEST(SessionReceive, PiecesArriveWhole) {  // WIRE-30
  for (std::uint32_t seed = 0; seed < 5; ++seed) {
    Pair pair(seed, 300'000);
    const Channel channel = pair.open_model();
    Acceptor acceptor(pair.b, kFull - seed);
    for (std::uint32_t i = 0; i < 3; ++i) {
      pair.a.session.send_piece(channel, PieceIndex(i), kFull - seed);
    }
    pair.run();
    EXPECT_FALSE(pair.a.session.queue().has_output());
    for (std::uint32_t i = 0; i < 3; ++i) EXPECT_TRUE(acceptor.holds(PieceIndex(i))) << i;
    const auto ends = pair.b.all<event::PieceEnd>();
    ASSERT_THAT(ends, SizeIs(3));
    EXPECT_FALSE(ends[0].discarded);
    EXPECT_EQ(bytes_arrived(pair.b), 3 * std::uint64_t{kFull - seed});
    const auto sent = pair.a.all<event::PieceSent>();
    ASSERT_THAT(sent, SizeIs(3));
    EXPECT_FALSE(sent[2].aborted);
  }
}

TEST(SessionReceive, TinyPiecesArriveInAnyChunking) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    Pair pair(seed, 1 + seed);
    const Channel channel = pair.open_model();
    Acceptor acceptor(pair.b, 37);
    for (std::uint32_t i = 0; i < 50; ++i) {
      pair.a.session.claim(channel, PieceIndex(i));
      pair.a.session.send_piece(channel, PieceIndex(i), 37);
    }
    pair.run();
    for (std::uint32_t i = 0; i < 50; ++i) EXPECT_TRUE(acceptor.holds(PieceIndex(i))) << i;
    EXPECT_THAT(pair.b.all<event::Claim>(), SizeIs(50));
  }
}

TEST(SessionReceive, BodyAndNextHeaderComeInOneRead) {
  Pair pair;
  const Channel channel = pair.open_model();
  Acceptor acceptor(pair.b, 1000);
  pair.a.session.send_piece(channel, PieceIndex(5), 1000);
  pair.a.session.send_piece(channel, PieceIndex(6), 1000);
  const Bytes stream = pair.a.take_all_output();
  pair.b.give_input(stream, limits::kFrameHeaderBytes);
  const auto spans = pair.b.session.receive_spans();
  EXPECT_EQ(spans[0].data(), acceptor.buffers[PieceIndex(5)].data());
  EXPECT_EQ(spans[0].size(), 1000U);
  EXPECT_EQ(spans[1].size(), limits::kFrameHeaderBytes);
  pair.b.give_input(std::span(stream).subspan(16), 1016);
  EXPECT_EQ(pair.b.session.receive_spans()[0].data(), acceptor.buffers[PieceIndex(6)].data());
}

TEST(SessionReceive, NothingIsReceivedBeforeTheAnswer) {
  Pair pair;
  const Channel channel = pair.open_model();
  pair.a.session.send_piece(channel, PieceIndex(5), 1000);
  pair.run();
  EXPECT_THAT(pair.b.all<event::PieceBegin>(), SizeIs(1));
  EXPECT_TRUE(pair.b.session.receive_spans()[0].empty());
  Bytes buffer(1000);
  pair.b.session.accept_piece(buffer);
  pair.run();
  EXPECT_THAT(pair.b.all<event::PieceEnd>(), SizeIs(1));
  EXPECT_EQ(buffer[999], piece_byte(PieceIndex(5), 999));
}

TEST(SessionReceive, DiscardedPiecesLeaveNoTrace) {
  Pair pair(4, 100'000);
  const Channel channel = pair.open_model();
  pair.b.on_piece = [&](const event::PieceBegin&) { pair.b.session.discard_piece(kFull); };
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  pair.a.session.send_piece(channel, PieceIndex(2), kFull);
  pair.run();
  const auto ends = pair.b.all<event::PieceEnd>();
  ASSERT_THAT(ends, SizeIs(2));
  EXPECT_TRUE(ends[0].discarded);
  EXPECT_EQ(bytes_arrived(pair.b), 2 * std::uint64_t{kFull});
}

TEST(SessionReceive, ADroppedBufferIsNotTouchedAgain) {
  Pair pair(4, 50'000);
  const Channel channel = pair.open_model();
  pair.b.session.drop_receive();  // nothing under way: nothing happens
  Acceptor acceptor(pair.b, kFull);
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  while (bytes_arrived(pair.b) < 200'000) ASSERT_TRUE(pair.step());
  pair.b.session.drop_receive();
  Bytes& buffer = acceptor.buffers[PieceIndex(1)];
  std::fill(buffer.begin(), buffer.end(), std::byte{0x11});
  pair.run();
  EXPECT_THAT(buffer, ::testing::Each(std::byte{0x11}));
  const auto ends = pair.b.all<event::PieceEnd>();
  ASSERT_THAT(ends, SizeIs(1));
  EXPECT_TRUE(ends[0].discarded);
  EXPECT_EQ(bytes_arrived(pair.b), kFull);
}

// Several connections are read before what each of them read is told.
TEST(SessionReceive, WhatWasReadCountsThoughThePieceWasDroppedMeanwhile) {
  for (const bool closed : {false, true}) {
    Pair pair;
    const Channel channel = pair.open_model();
    Acceptor acceptor(pair.b, 1000);
    pair.a.session.send_piece(channel, PieceIndex(5), 1000);
    pair.a.session.ping(77);
    const Bytes stream = pair.a.take_all_output();
    std::size_t at = 0;
    while (bytes_arrived(pair.b) < 300) at += pair.b.give_input(std::span(stream).subspan(at), 100);
    const std::uint64_t arrived = bytes_arrived(pair.b);
    const auto spans = pair.b.session.receive_spans();
    ASSERT_EQ(spans[0].size(), 1000 - arrived);
    std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at), spans[0].size(),
                spans[0].begin());
    if (closed) {
      pair.b.session.close(CloseReason::kDuplicate, "");
    } else {
      pair.b.session.drop_receive();
    }
    pair.b.session.received(spans[0].size());
    pair.b.drain();
    at += spans[0].size();
    EXPECT_EQ(bytes_arrived(pair.b), closed ? arrived : 1000U);
    const auto ends = pair.b.all<event::PieceEnd>();
    ASSERT_THAT(ends, SizeIs(closed ? 0 : 1));
    if (closed) continue;
    EXPECT_TRUE(ends[0].discarded);
    while (at < stream.size()) at += pair.b.give_input(std::span(stream).subspan(at), 100);
    EXPECT_FALSE(pair.b.session.closing()) << "what came behind it was understood";
  }
}

TEST(SessionReceive, AnAbortedPieceEndsAfterItsFrame) {  // WIRE-35
  for (std::uint32_t seed = 0; seed < 10; ++seed) {
    Pair pair(seed, 40'000);
    const Channel channel = pair.open_model();
    Acceptor acceptor(pair.b, kFull);
    pair.a.session.send_piece(channel, PieceIndex(1), kFull);
    pair.a.session.send_piece(channel, PieceIndex(2), kFull);
    while (bytes_arrived(pair.b) < 300'000) ASSERT_TRUE(pair.step());
    EXPECT_TRUE(pair.a.session.abort_piece(channel, PieceIndex(1)));
    EXPECT_FALSE(pair.a.session.abort_piece(channel, PieceIndex(1)));
    pair.run();
    EXPECT_THAT(pair.b.all<event::Failed>(), IsEmpty());
    const auto rejects = pair.b.all<event::Reject>();
    ASSERT_THAT(rejects, SizeIs(1));
    EXPECT_EQ(rejects[0].reason, RejectReason::kCancelled);
    EXPECT_THAT(rejects[0].pieces, ElementsAre(run_of(1, 1)));
    const auto ends = pair.b.all<event::PieceEnd>();
    ASSERT_THAT(ends, SizeIs(1));
    EXPECT_EQ(ends[0].piece, PieceIndex(2));
    EXPECT_TRUE(acceptor.holds(PieceIndex(2)));
    const auto sent = pair.a.all<event::PieceSent>();
    ASSERT_THAT(sent, SizeIs(2));
    EXPECT_TRUE(sent[0].aborted);
    EXPECT_FALSE(sent[1].aborted);
  }
}

TEST(SessionReceive, AnAbortedPieceMayBeSentAgain) {
  Pair pair(1, 40'000);
  const Channel channel = pair.open_model();
  Acceptor acceptor(pair.b, kFull);
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  while (bytes_arrived(pair.b) < 300'000) ASSERT_TRUE(pair.step());
  EXPECT_TRUE(pair.a.session.abort_piece(channel, PieceIndex(1)));
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  pair.run();
  EXPECT_THAT(pair.b.all<event::PieceBegin>(), SizeIs(2));
  EXPECT_THAT(pair.b.all<event::PieceEnd>(), SizeIs(1));
  EXPECT_TRUE(acceptor.holds(PieceIndex(1)));
}

TEST(SessionReceive, AbortBeforeTheFirstFrameSendsNothingOfIt) {
  Pair pair;
  const Channel channel = pair.open_model();
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  EXPECT_TRUE(pair.a.session.abort_piece(channel, PieceIndex(1)));
  EXPECT_FALSE(pair.a.session.abort_piece(channel, PieceIndex(7)));
  pair.run();
  EXPECT_THAT(pair.b.all<event::PieceBegin>(), IsEmpty());
  EXPECT_THAT(pair.b.all<event::Reject>(), SizeIs(1));
  EXPECT_TRUE(pair.a.all<event::PieceSent>().at(0).aborted);
}

TEST(SessionReceive, ThereIsNoAbortOfTheLastFrame) {  // WIRE-63
  Pair pair;
  const Channel channel = pair.open_model();
  Acceptor acceptor(pair.b, 1000);
  pair.a.session.send_piece(channel, PieceIndex(1), 1000);
  pair.a.session.next_output();
  EXPECT_FALSE(pair.a.session.abort_piece(channel, PieceIndex(1)));
  pair.run();
  EXPECT_TRUE(acceptor.holds(PieceIndex(1)));
  EXPECT_THAT(pair.b.all<event::Reject>(), IsEmpty());
  EXPECT_FALSE(pair.a.all<event::PieceSent>().at(0).aborted);
}

TEST(SessionReceive, AnyRejectOfThePieceUnderWayFreesItsBuffer) {  // WIRE-35
  Pair pair;
  const Channel channel = pair.open_model();
  Acceptor acceptor(pair.b, kFull);
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  Bytes stream;
  while (stream.size() < 16 + limits::kShortFrameBytes) pair.a.take_output(stream, 16 + 131072);
  stream.resize(16 + limits::kShortFrameBytes);
  message::append_piece_list(stream, FrameType::kReject, 1, std::vector{run_of(0, 3)},
                             {.reason = RejectReason::kNotHere});
  pair.b.give_all(stream);
  EXPECT_THAT(pair.b.all<event::Reject>(), SizeIs(1));
  Bytes& buffer = acceptor.buffers[PieceIndex(1)];
  const auto spans = pair.b.session.receive_spans();
  EXPECT_EQ(spans[0].size(), limits::kFrameHeaderBytes);
  EXPECT_FALSE(spans[0].data() >= buffer.data() && spans[0].data() < buffer.data() + buffer.size());
}

}  // namespace
}  // namespace shardswarm
