#include "swarm/peer_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swarm/core.h"
#include "tests/swarm/expect_complete.h"
#include "tests/swarm/raw_peer.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

TEST(PeerExchange, LearnsOfPeersThroughPeers) {
  const MemoryModel model = make_memory_model(8, 4, 200'000, 10);
  VirtualSwarm swarm;
  swarm.add_seed(model);
  auto& first = swarm.add_fetcher(model, {}, {"10.0.0.0:1"});
  auto& second = swarm.add_fetcher(model, {}, {"10.0.0.0:1"});
  swarm.run_all_fetches();
  expect_complete(first, "first");
  expect_complete(second, "second");
  EXPECT_GT(first.core->status(first.key).sent_bytes + second.core->status(second.key).sent_bytes,
            0U);
}

// A fetch, and a peer that tells it of others.
class PeerExchangeTest : public testing::Test {
 protected:
  PeerExchangeTest() {
    const auto key = core_.add_fetch({.id = model_.manifest->id(),
                                      .selection = {},
                                      .stall_timeout = std::chrono::seconds(60),
                                      .kept = nullptr},
                                     now_);
    key_ = key.value();
    teller_.run(now_);
    channel_ = teller_.session.open(model_.manifest->id());
    teller_.run(now_);
    (void)core_.take_actions();
  }
  std::vector<std::string> dialed_after(const std::vector<PeerAddress>& told) {
    teller_.session.peers(channel_, told);
    // RawPeer settles the core, which dials.
    teller_.run(now_);
    std::vector<std::string> dialed;
    for (const Action& action : core_.take_actions()) {
      if (const auto* dial = std::get_if<action::Dial>(&action)) dialed.push_back(dial->address);
    }
    return dialed;
  }
  static PeerAddress at(const std::string& address) {
    return {.id = sha256(std::as_bytes(std::span(address))), .address = address};
  }

  const MemoryModel model_ = make_memory_model(2, 2, 1000, 1);
  BufferPool buffers_{4, 4};
  Core core_{{.hello = {.node_id = sha256({}), .agent = "test", .advertised = {}}}, buffers_};
  Time now_ = std::chrono::seconds(1000);
  ModelKey key_;
  RawPeer teller_{core_, ConnectionId(1), "10.0.0.1:1", true, now_};
  Channel channel_;
};

TEST_F(PeerExchangeTest, DialsWhoIsToldOf) {
  EXPECT_THAT(dialed_after({at("10.0.0.2:1"), at("[fd00::3]:1")}),
              testing::UnorderedElementsAre("10.0.0.2:1", "[fd00::3]:1"));
}

TEST_F(PeerExchangeTest, DialsNoNames) {
  EXPECT_THAT(dialed_after({at("db.internal:5432"), at("localhost:1"), at("")}),
              testing::IsEmpty());
}

TEST_F(PeerExchangeTest, DialsNeitherItselfNorWhoIsConnected) {
  PeerAddress itself = at("10.0.0.9:1");
  itself.id = sha256({});
  EXPECT_THAT(dialed_after({itself, at("10.0.0.1:1")}), testing::IsEmpty());
}

}  // namespace
}  // namespace shardswarm::test
