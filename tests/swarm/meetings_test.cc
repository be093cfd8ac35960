// How often a peer may name the same pieces (WIRE-68), and which models are open on a connection.
#include "swarm/meetings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/swarm/fetch_on_a_link.h"
#include "tests/swarm/raw_peer.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;

class NamedPieces : public testing::Test {
 protected:
  explicit NamedPieces(MemoryModel model = make_memory_model(100, 50, 4, 1))
      : model_(std::move(model)) {
    core_.add_seed(model_.manifest, PieceSet(pieces()), now_).value();
    peer_.run(now_);
    channel_ = peer_.session.open(model_.manifest->id());
    peer_.run(now_);
  }
  std::uint32_t pieces() const { return model_.manifest->piece_count(); }
  bool closed() const { return core_.closing(kConnection); }
  void have() {
    say([&] { peer_.session.have(channel_, {&run_, 1}); });
  }
  void lost() {
    say([&] { peer_.session.lost(channel_, {&run_, 1}); });
  }
  void want(std::span<const PieceRun> runs) {
    say([&] { peer_.session.want(channel_, runs); });
  }
  template <class F>
  void say(F&& what) {
    if (closed()) return;
    what();
    peer_.run(now_);
  }
  void expect_closed_for_it() {
    ASSERT_TRUE(closed());
    const auto* close = peer_.heard<event::Closed>();
    ASSERT_NE(close, nullptr);
    EXPECT_EQ(close->reason, CloseReason::kProtocolError);
    EXPECT_THAT(close->text, HasSubstr("again and again"));
  }

  static constexpr ConnectionId kConnection{1};
  const MemoryModel model_;
  Time now_ = seconds(1000);
  BufferPool buffers_{limits::kBuffersLarge, limits::kBuffersSmall};
  Core core_{[] {
               CoreOptions options;
               options.hello.node_id = sha256({});
               options.hello.agent = "test";
               return options;
             }(),
             buffers_};
  RawPeer peer_{core_, kConnection, "10.0.0.1:1", false, now_};
  Channel channel_;
  PieceRun run_{PieceIndex(0), model_.manifest->piece_count()};
};

TEST_F(NamedPieces, HaveAndLostOfEverythingByTurnsEndTheConnection) {
  for (int i = 0; i < 15; ++i) {
    have();
    lost();
  }
  EXPECT_FALSE(closed());
  have();
  lost();
  expect_closed_for_it();
}

TEST_F(NamedPieces, WantsAgainAndAgainEndTheConnection) {
  for (int i = 0; i < 15; ++i) {
    want({&run_, 1});
    want({});
  }
  EXPECT_FALSE(closed());
  want({&run_, 1});
  want({});
  expect_closed_for_it();
}

TEST_F(NamedPieces, OpeningAgainAndAgainEndsTheConnection) {
  for (int i = 0; i < 40; ++i) {
    say([&] { peer_.session.unknown_model(channel_); });
    say([&] { (void)peer_.session.open(model_.manifest->id()); });
  }
  expect_closed_for_it();
}

TEST_F(NamedPieces, WhatIsNamedComesBackWithTime) {
  for (int i = 0; i < 40; ++i) {
    have();
    lost();
    for (std::uint32_t s = 0; s < 2 * limits::kNamedRefillSeconds; s += 5) {
      now_ += seconds(5);
      peer_.run(now_);  // PING and PONG
    }
  }
  EXPECT_FALSE(closed());
}

// What came before the manifest did is counted when it is looked at.
TEST(NamedPiecesEarly, TheSameHavesBeforeTheManifestEndTheConnection) {
  const MemoryModel model = make_memory_model(100, 50, 4, 1);
  BufferPool buffers(limits::kBuffersLarge, limits::kBuffersSmall);
  CoreOptions options;
  options.hello.node_id = sha256({});
  options.hello.agent = "test";
  Core core(options, buffers);
  const Time now = seconds(1000);
  const ModelKey key = core.add_fetch({.id = model.manifest->id(),
                                       .selection = {},
                                       .stall_timeout = seconds(60),
                                       .kept = model.manifest},
                                      now)
                           .value();
  const ConnectionId connection(1);
  RawPeer peer(core, connection, "10.0.0.1:1", false, now);
  peer.run(now);
  const Channel channel = peer.session.open(model.manifest->id());
  const PieceRun all{PieceIndex(0), model.manifest->piece_count()};
  for (int i = 0; i < 1000; ++i) peer.session.have(channel, {&all, 1});
  peer.run(now);
  ASSERT_FALSE(core.closing(connection));
  const PieceSet none(model.manifest->piece_count());
  core.store_opened(key, none, none, none, now);
  EXPECT_TRUE(core.closing(connection));
}

// All that a fetch, two widenings and a bad disk come to, in one moment.
class HonestPeer : public NamedPieces {
 protected:
  HonestPeer() : NamedPieces(make_memory_model(100, 1000, 4, 1)) {}
};

TEST_F(HonestPeer, NeverNamesTooMuchAtAHundredThousandPieces) {
  ASSERT_GE(pieces(), 100'000U);
  for (int widened = 0; widened < 3; ++widened) {
    want({&run_, 1});
    have();  // what there was at the start, and again as it was announced meanwhile
    for (std::uint32_t i = 0; i < pieces(); i += 50) {
      const PieceRun batch{PieceIndex(i), std::min(50U, pieces() - i)};
      say([&] { peer_.session.have(channel_, {&batch, 1}); });
    }
    for (std::uint32_t i = 0; i < 2000; ++i) {
      const PieceRun piece{PieceIndex(i * 7), 1};
      say([&] { peer_.session.lost(channel_, {&piece, 1}); });
      say([&] { peer_.session.have(channel_, {&piece, 1}); });
    }
    want({});
    say([&] { peer_.session.unknown_model(channel_); });
    say([&] { (void)peer_.session.open(model_.manifest->id()); });
    ASSERT_FALSE(closed()) << widened;
  }
}

// Three nodes, of which one widens its fetch: nobody is taken for a flooder.
TEST(NamedPiecesSwarm, HonestPeersNeverNameTooMuch) {
  const MemoryModel model = make_memory_model(50, 100, 4, 1);
  ASSERT_GE(model.manifest->piece_count(), limits::kNamedPiecesMin);
  VirtualSwarm swarm;
  auto& seed = swarm.add_seed(model);
  auto& first = swarm.add_fetcher(model, {}, {seed.name});
  auto& second = swarm.add_fetcher(model, {.layers = {{0, 9}}}, {seed.name});
  swarm.run([&] { return second.ended; });
  swarm.fetch_again(second, {});
  swarm.run_all_fetches();
  for (const auto* node : {&seed, &first, &second}) {
    EXPECT_THAT(node->warnings, IsEmpty());
    EXPECT_THAT(node->breaks, IsEmpty());
    EXPECT_FALSE(node->error);
  }
}

// --- opening and parting ---

using MeetingsTest = FetchOnALink;

TEST_F(MeetingsTest, AModelThatIsGoneIsTakenOffItsConnections) {
  const ModelKey key = model_->key;
  parts_.meetings.forget(*model_);
  EXPECT_EQ(parts_.context.models.find(key), nullptr);
  EXPECT_FALSE(peer_.link.closing);
  EXPECT_TRUE(peer_.link.models.empty());
  EXPECT_TRUE(peer_.link.by_channel.empty());
  exchange();
  EXPECT_EQ(heard<event::UnknownModel>(), 1U);
}

TEST_F(MeetingsTest, AConnectionInTheMiddleOfAPieceCannotGoOnWithoutItsModel) {
  begin_to_send(PieceIndex(2));
  ASSERT_TRUE(peer_.link.downlink.arriving());
  parts_.meetings.forget(*model_);
  EXPECT_TRUE(peer_.link.closing);
}

// HELLO, and behind it a header that is none, in one read: the session has failed before its HELLO
// is handled.
TEST(MeetingsOfAFailedSession, NoModelIsOpenedOnIt) {
  const MemoryModel content = make_memory_model(2, 2, 1000, 1);
  BufferPool buffers(4, 4);
  Parts parts(CoreOptions{.hello = hello_of("here")}, buffers);
  PeerEvents events(parts);
  parts.context.models.add(content.manifest->id(), Seeding{}).manifest = content.manifest;
  Link& link = parts.context.links.add(ConnectionId(1), parts.context.options.hello, std::nullopt);
  Session far(hello_of("there"), std::nullopt);
  const Output output = far.next_output();
  const auto greeting = std::get<OutputBytes>(output).bytes;
  std::vector<std::byte> stream(greeting.begin(), greeting.end());
  stream.insert(stream.end(), limits::kFrameHeaderBytes, std::byte{0xff});
  for (std::size_t at = 0; at < stream.size();) {
    std::size_t moved = 0;
    for (const auto& span : link.session.receive_spans()) {
      const std::size_t n = std::min(span.size(), stream.size() - at - moved);
      std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at + moved), n, span.begin());
      moved += n;
    }
    ASSERT_GT(moved, 0U);
    link.session.received(moved);
    at += moved;
  }
  ASSERT_TRUE(link.session.closing());
  events.drain(link, kRigTime);
  EXPECT_TRUE(link.hello);
  EXPECT_TRUE(link.closing);
  EXPECT_TRUE(link.models.empty());
  EXPECT_TRUE(link.by_channel.empty());
}

}  // namespace
}  // namespace shardswarm::test
