#include "swarm/liveness.h"

#include <gtest/gtest.h>

#include "tests/swarm/greeted_link.h"

namespace shardswarm::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kLinkBegan = seconds(1000);
constexpr ConnectionId kSilentPeer{1};

class LivenessTest : public testing::Test {
 protected:
  // As the core does it, for all that are due.
  void watch(Time now) {
    for (const ConnectionId id : parts_.liveness.take_due({}, now)) {
      parts_.liveness.check(*parts_.context.links.find(id), now);
      parts_.liveness.schedule(*parts_.context.links.find(id));
    }
    (void)parts_.context.links.take_ready();
  }

  // Tokens of the answers that came to what was asked since the last call.
  static std::vector<std::uint64_t> pongs(GreetedLink& peer) {
    peer.exchange();
    std::vector<std::uint64_t> tokens;
    while (auto event = peer.link.session.next_event()) {
      if (const auto* pong = std::get_if<event::Pong>(&*event)) tokens.push_back(pong->token);
    }
    return tokens;
  }

  BufferPool buffers_{4, 4};
  Parts parts_{CoreOptions{.hello = hello_of("here")}, buffers_};
};

TEST_F(LivenessTest, WhoSaysNoHelloIsClosed) {
  Link& link = parts_.context.links.add(kSilentPeer, parts_.context.options.hello, std::nullopt);
  link.liveness.begins(kLinkBegan);
  watch(kLinkBegan);
  EXPECT_EQ(parts_.liveness.next_deadline(), kLinkBegan + kHelloTimeout);
  watch(kLinkBegan + kHelloTimeout - milliseconds(1));
  EXPECT_FALSE(link.closing);
  watch(kLinkBegan + kHelloTimeout);
  EXPECT_TRUE(link.closing);
  EXPECT_EQ(link.error->code, Errc::kUnreachable);
}

TEST_F(LivenessTest, ASilentPeerIsAskedOnceAndThenClosed) {
  GreetedLink peer(parts_, kSilentPeer, "there", kLinkBegan);
  parts_.liveness.ping(peer.link, kLinkBegan);  // as after its HELLO
  ASSERT_TRUE(Liveness::pong(peer.link, pongs(peer).at(0), kLinkBegan));
  watch(kLinkBegan);
  watch(kLinkBegan + kPingEvery - milliseconds(1));
  EXPECT_TRUE(pongs(peer).empty()) << "it is asked too early";
  watch(kLinkBegan + kPingEvery);
  EXPECT_EQ(pongs(peer).size(), 1U);
  // That answer is not told to the core: the question stays open, and is not asked again.
  watch(kLinkBegan + kPingEvery + kPingEvery);
  watch(kLinkBegan + kDeadAfter - milliseconds(1));
  EXPECT_TRUE(pongs(peer).empty()) << "it is asked twice";
  EXPECT_FALSE(peer.link.closing);
  watch(kLinkBegan + kDeadAfter);
  EXPECT_TRUE(peer.link.closing);
  EXPECT_EQ(peer.link.error->code, Errc::kStalled);
}

TEST_F(LivenessTest, APongTellsTheRoundTripOnce) {
  GreetedLink peer(parts_, kSilentPeer, "there", kLinkBegan);
  parts_.liveness.ping(peer.link, kLinkBegan);
  const std::uint64_t token = pongs(peer).at(0);
  EXPECT_EQ(Liveness::pong(peer.link, token + 1, kLinkBegan + milliseconds(3)), std::nullopt);
  EXPECT_EQ(Liveness::pong(peer.link, token, kLinkBegan + milliseconds(7)), milliseconds(7));
  EXPECT_EQ(Liveness::pong(peer.link, token, kLinkBegan + milliseconds(9)), std::nullopt);
}

TEST_F(LivenessTest, WhoTakesNothingIsClosedThoughItSpeaks) {
  GreetedLink peer(parts_, kSilentPeer, "there", kLinkBegan);
  parts_.liveness.ping(peer.link, kLinkBegan);  // nobody takes it
  watch(kLinkBegan);                            // there was nothing to send before
  for (Time now = kLinkBegan; now < kLinkBegan + kDeadAfter; now += seconds(1)) {
    peer.link.liveness.received(now);
    parts_.context.links.mark_ready(peer.link);
    watch(now);
    ASSERT_FALSE(peer.link.closing);
  }
  parts_.context.links.mark_ready(peer.link);
  watch(kLinkBegan + kDeadAfter);
  EXPECT_TRUE(peer.link.closing);
}

TEST_F(LivenessTest, WhatWasTouchedIsLookedAtOnce) {
  GreetedLink peer(parts_, kSilentPeer, "there", kLinkBegan);
  (void)parts_.context.links.take_ready();
  FlatSet<ConnectionId> touched;
  touched.insert(kSilentPeer);
  parts_.liveness.touch(touched);
  EXPECT_TRUE(parts_.liveness.take_due({}, kLinkBegan).contains(kSilentPeer));
  EXPECT_TRUE(parts_.liveness.take_due({}, kLinkBegan).empty());
  EXPECT_TRUE(parts_.liveness.take_due(touched, kLinkBegan).contains(kSilentPeer))
      << "it waits for us";
}

TEST_F(LivenessTest, OfARemovedConnectionNothingIsDue) {
  GreetedLink peer(parts_, kSilentPeer, "there", kLinkBegan);
  watch(kLinkBegan);
  ASSERT_TRUE(parts_.liveness.next_deadline());
  const auto entry = parts_.context.links.extract(kSilentPeer);
  parts_.liveness.removed(entry->second);
  EXPECT_EQ(parts_.liveness.next_deadline(), std::nullopt);
  EXPECT_TRUE(parts_.liveness.take_due({}, kLinkBegan + seconds(60)).empty());
}

}  // namespace
}  // namespace shardswarm::test
