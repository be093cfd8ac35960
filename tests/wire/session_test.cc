#include "wire/session.h"

#include <gmock/gmock.h>

#include "tests/wire/pair.h"

namespace shardswarm {
namespace {

using test::digest_of;
using test::End;
using test::hello_of;
using test::Pair;
using test::run_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Bytes = std::vector<std::byte>;

TEST(Session, BothSidesBecomeReady) {  // WIRE-10
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    Pair pair(seed, 1 + seed * 7);
    pair.run();
    const auto ready = pair.b.all<event::Ready>();
    ASSERT_THAT(ready, SizeIs(1));
    EXPECT_EQ(ready[0].hello.node_id, digest_of(1));
    EXPECT_EQ(ready[0].version, kProtocolVersion);
    EXPECT_THAT(pair.a.all<event::Ready>(), SizeIs(1));
    EXPECT_FALSE(pair.a.session.closing());
    EXPECT_EQ(pair.a.session.queue().bytes(), 0U);
  }
}

TEST(Session, HelloSaysEverything) {
  Hello hello{.node_id = digest_of(3),
              .agent = "shardswarm/0.1",
              .listen_port = 7777,
              .advertised = {"192.0.2.1:7777"},
              .features = 6};
  Pair pair(hello, hello_of(2));
  pair.run();
  const auto ready = pair.b.all<event::Ready>();
  ASSERT_THAT(ready, SizeIs(1));
  EXPECT_EQ(ready[0].hello.agent, hello.agent);
  EXPECT_EQ(ready[0].hello.listen_port, hello.listen_port);
  EXPECT_EQ(ready[0].hello.advertised, hello.advertised);
  EXPECT_EQ(ready[0].hello.features, hello.features);
}

TEST(Session, FeaturesOfBothSidesAreInUse) {  // WIRE-12
  Pair pair(hello_of(1, 0x8000000000000003), hello_of(2, 0x8000000000000005));
  EXPECT_EQ(pair.a.session.features_in_use(), 0U);
  pair.run();
  EXPECT_EQ(pair.a.session.features_in_use(), 0x8000000000000001);
  EXPECT_EQ(pair.b.session.features_in_use(), 0x8000000000000001);
}

TEST(Session, ConnectedToItselfFailsOnBothEnds) {  // WIRE-14
  Pair pair(hello_of(5), hello_of(5));
  pair.run();
  for (const End* end : {&pair.a, &pair.b}) {
    const auto failed = end->all<event::Failed>();
    ASSERT_THAT(failed, SizeIs(1));
    EXPECT_EQ(failed[0].reason, CloseReason::kSelf);
    EXPECT_EQ(failed[0].error.message, "connected to itself");
    EXPECT_TRUE(end->session.closing());
  }
}

TEST(Session, ChannelsAreLocalAndHandlesArePerSide) {  // WIRE-20
  Pair pair;
  pair.run();
  // Each side opens other models first, so that numbers differ.
  const Channel a_only = pair.a.session.open(digest_of(10));
  const Channel a_shared = pair.a.session.open(digest_of(11));
  const Channel b_shared = pair.b.session.open(digest_of(11));
  pair.run();
  EXPECT_NE(a_shared, b_shared);
  EXPECT_EQ(pair.a.session.open(digest_of(11)), a_shared);
  EXPECT_TRUE(pair.a.session.peer_opened(a_shared));
  EXPECT_FALSE(pair.a.session.peer_opened(a_only));
  EXPECT_THAT(pair.a.all<event::Opened>(), SizeIs(1));
  const PieceRun run = run_of(1, 1);
  pair.a.session.have(a_shared, {&run, 1});
  pair.run();
  const auto have = pair.b.all<event::Have>();
  ASSERT_THAT(have, SizeIs(1));
  EXPECT_EQ(have[0].channel, b_shared);
}

TEST(Session, OpenIsSentOnceAndAnswersThePeersOpen) {
  Pair pair;
  pair.run();
  pair.a.session.open(digest_of(10));
  pair.a.session.open(digest_of(10));
  pair.run();
  const auto opened = pair.b.all<event::Opened>();
  ASSERT_THAT(opened, SizeIs(1));
  EXPECT_EQ(pair.b.session.open(digest_of(10)), opened[0].channel);
  pair.run();
  EXPECT_THAT(pair.a.all<event::Opened>(), SizeIs(1));
}

TEST(Session, UnknownModelsAreToldAndMayComeBack) {  // WIRE-24
  Pair pair;
  pair.run();
  const Channel a = pair.a.session.open(digest_of(10));
  pair.run();
  const Channel b = pair.b.all<event::Opened>().at(0).channel;
  pair.b.session.unknown_model(b);
  pair.run();
  const auto unknown = pair.a.all<event::UnknownModel>();
  ASSERT_THAT(unknown, SizeIs(1));
  EXPECT_EQ(unknown[0].channel, a);
  EXPECT_EQ(unknown[0].model, digest_of(10));

  EXPECT_EQ(pair.b.session.open(digest_of(10)), b);
  pair.run();
  EXPECT_TRUE(pair.a.session.peer_opened(a));
  pair.b.session.unknown_model(b);
  pair.run();
  EXPECT_FALSE(pair.a.session.peer_opened(a));
  pair.b.session.open(digest_of(10));
  pair.run();
  EXPECT_TRUE(pair.a.session.peer_opened(a));
  EXPECT_THAT(pair.a.all<event::Opened>(), SizeIs(2));
  EXPECT_THAT(pair.a.all<event::Failed>(), IsEmpty());
}

TEST(Session, EveryPieceMessageArrives) {
  for (std::uint32_t seed = 0; seed < 10; ++seed) {
    Pair pair(seed, 3 + seed * 11);
    const Channel channel = pair.open_model();
    const std::vector<PieceRun> pieces = {run_of(3, 4), run_of(70'000, 1)};
    Session& from = pair.a.session;
    from.have(channel, pieces);
    from.lost(channel, pieces);
    from.want(channel, pieces);
    from.want(channel, {});
    from.request(channel, pieces, 12345, true);
    from.request(channel, pieces, 0, false);
    from.claim(channel, PieceIndex(8));
    from.cancel(channel, pieces, 99);
    from.cancel(channel, {}, 7);
    from.reject(channel, pieces, RejectReason::kLeased);
    pair.run();
    EXPECT_EQ(pair.b.all<event::Have>().at(0).pieces, pieces);
    EXPECT_EQ(pair.b.all<event::Lost>().at(0).pieces, pieces);
    EXPECT_EQ(pair.b.all<event::Want>().at(0).pieces, pieces);
    EXPECT_THAT(pair.b.all<event::Want>().at(1).pieces, IsEmpty());
    const auto requests = pair.b.all<event::Request>();
    ASSERT_THAT(requests, SizeIs(2));
    EXPECT_EQ(requests[0].pieces, pieces);
    EXPECT_EQ(requests[0].credit_bytes, 12345U);
    EXPECT_TRUE(requests[0].any);
    EXPECT_FALSE(requests[1].any);
    EXPECT_THAT(pair.b.all<event::Claim>().at(0).pieces, ElementsAre(run_of(8, 1)));
    EXPECT_EQ(pair.b.all<event::Cancel>().at(0).credit_bytes, 99U);
    EXPECT_THAT(pair.b.all<event::Cancel>().at(1).pieces, IsEmpty());
    EXPECT_EQ(pair.b.all<event::Reject>().at(0).reason, RejectReason::kLeased);
    EXPECT_EQ(pair.b.all<event::Reject>().at(0).channel, channel);
  }
}

TEST(Session, EmptySetsThatSayNothingAreNotSent) {
  Pair pair;
  const Channel channel = pair.open_model();
  pair.a.session.have(channel, {});
  pair.a.session.lost(channel, {});
  pair.a.session.reject(channel, {}, RejectReason::kBusy);
  pair.a.session.cancel(channel, {}, 0);
  EXPECT_EQ(pair.a.session.queue().bytes(), 0U);
}

TEST(Session, HugeSetsAreSplitAndTheCreditCountsOnce) {  // WIRE-52
  Pair pair(3, 200'000);
  const Channel channel = pair.open_model();
  std::vector<PieceRun> pieces;  // every third piece of 405B's 774,000
  for (std::uint32_t i = 0; i < 774'000; i += 3) pieces.push_back(run_of(i, 1));
  pair.a.session.request(channel, pieces, 1 << 20, true);
  pair.a.session.want(channel, pieces);
  pair.run();
  const auto requests = pair.b.all<event::Request>();
  ASSERT_GT(requests.size(), 1U);
  std::uint64_t credit = 0;
  std::vector<PieceRun> all;
  for (const auto& request : requests) {
    credit += request.credit_bytes;
    EXPECT_TRUE(request.any);
    all.insert(all.end(), request.pieces.begin(), request.pieces.end());
  }
  EXPECT_EQ(credit, 1U << 20);
  EXPECT_EQ(all, pieces);
  const auto wants = pair.b.all<event::Want>();
  ASSERT_THAT(wants, SizeIs(1));
  EXPECT_EQ(wants[0].pieces, pieces);
}

TEST(Session, AWantOfTooManyRunsIsCutByItsSender) {  // WIRE-53
  Pair pair(3, 500'000);
  const Channel channel = pair.open_model();
  std::vector<PieceRun> pieces;
  for (std::uint32_t i = 0; i < limits::kWantRunsMax + 5000; ++i) {
    pieces.push_back(run_of(3 * i, 2));  // stretches that the cuts between frames go through
  }
  pair.a.session.want(channel, pieces);
  pair.run();
  EXPECT_THAT(pair.b.all<event::Failed>(), IsEmpty());
  pieces.resize(limits::kWantRunsMax);
  EXPECT_EQ(pair.b.all<event::Want>().at(0).pieces, pieces);
}

TEST(Session, PeersAndPingsArrive) {  // WIRE-66
  Pair pair;
  const Channel channel = pair.open_model();
  const PeerAddress peer{.id = digest_of(7), .address = "192.0.2.9:4", .connected = true};
  pair.a.session.peers(channel, {&peer, 1});
  pair.a.session.ping(0xffff'ffff'ffff'ffff);
  pair.a.session.ping(0);
  pair.run();
  const auto peers = pair.b.all<event::Peers>();
  ASSERT_THAT(peers, SizeIs(1));
  ASSERT_THAT(peers[0].peers, SizeIs(1));
  EXPECT_EQ(peers[0].peers[0].address, peer.address);
  const auto pongs = pair.a.all<event::Pong>();
  ASSERT_THAT(pongs, SizeIs(2));
  EXPECT_EQ(pongs[0].token, 0xffff'ffff'ffff'ffff);
  EXPECT_EQ(pongs[1].token, 0U);
}

TEST(Session, CloseIsTheLastFrame) {  // WIRE-70
  Pair pair;
  const Channel channel = pair.open_model();
  const PieceRun run = run_of(0, 1);
  pair.a.session.have(channel, {&run, 1});
  pair.a.session.close(CloseReason::kShutdown, "the node ends\n");
  pair.a.session.close(CloseReason::kDone, "again");
  pair.a.session.have(channel, {&run, 1});
  pair.a.session.ping(1);
  EXPECT_TRUE(pair.a.session.closing());
  pair.run();
  EXPECT_THAT(pair.b.all<event::Have>(), SizeIs(1));
  const auto closed = pair.b.all<event::Closed>();
  ASSERT_THAT(closed, SizeIs(1));
  EXPECT_EQ(closed[0].reason, CloseReason::kShutdown);
  EXPECT_EQ(closed[0].text, "the node ends?");
  EXPECT_TRUE(pair.b.session.closing());
  pair.b.session.ping(2);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(pair.b.session.next_output()));
  EXPECT_TRUE(pair.b.session.receive_spans()[0].empty());
  pair.b.session.close(CloseReason::kDone, "");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(pair.b.session.next_output()));
}

TEST(Session, CloseBeforeHelloStillSaysWho) {
  End busy(hello_of(1));
  End dialer(hello_of(2));
  busy.session.close(CloseReason::kOverload, "too many connections");
  dialer.give_all(busy.take_all_output());
  EXPECT_THAT(dialer.all<event::Ready>(), SizeIs(1));
  EXPECT_EQ(dialer.all<event::Closed>().at(0).reason, CloseReason::kOverload);
}

TEST(Session, OutputStaysInPlaceWhileMoreIsQueued) {
  Pair pair;
  const Channel channel = pair.open_model();
  const PieceRun run = run_of(0, 1);
  pair.a.session.have(channel, {&run, 1});
  const auto before = std::get<OutputBytes>(pair.a.session.next_output());
  const Bytes copy(before.bytes.begin(), before.bytes.end());
  for (std::uint32_t i = 0; i < 10'000; ++i) pair.a.session.claim(channel, PieceIndex(i));
  const auto after = std::get<OutputBytes>(pair.a.session.next_output());
  EXPECT_EQ(before.bytes.data(), after.bytes.data());
  EXPECT_EQ(before.bytes.size(), after.bytes.size());
  EXPECT_EQ(Bytes(before.bytes.begin(), before.bytes.end()), copy);
  pair.a.session.sent(before.bytes.size());
  // What gathered meanwhile comes as one.
  const auto rest = std::get<OutputBytes>(pair.a.session.next_output());
  EXPECT_EQ(rest.bytes.size(), pair.a.session.queue().bytes());
}

TEST(Session, APeerThatDoesNotReadIsGivenUp) {  // WIRE-7
  Pair pair;
  const Channel channel = pair.open_model();
  const PieceRun run = run_of(5, 1);
  std::size_t largest = 0;
  while (!pair.a.session.closing()) {
    pair.a.session.have(channel, {&run, 1});
    largest = std::max(largest, pair.a.session.queue().bytes());
  }
  EXPECT_LE(largest, limits::kSendQueueBytesMax);
  pair.a.drain();
  const auto failed = pair.a.all<event::Failed>();
  ASSERT_THAT(failed, SizeIs(1));
  EXPECT_THAT(failed[0].error.message, HasSubstr("peer does not read"));
  EXPECT_LT(pair.a.session.queue().bytes(), 1000U);  // the CLOSE
  pair.run();
  EXPECT_THAT(pair.b.all<event::Closed>(), SizeIs(1));
}

}  // namespace
}  // namespace shardswarm
