#include "simulator/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace shardswarm::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr LinkRates kMegabyte{.up = 1e6, .down = 1e6};
constexpr LinkRates kFast{.up = 1e9, .down = 1e9};

// Flows that always have something to send, and receivers that read at once what comes.
class Pipes {
 public:
  explicit Pipes(Network& network) : network_(network) {}

  FlowIndex add(HostIndex from, HostIndex to) {
    const FlowIndex flow = network_.open(from, to);
    fill(flow, Time{});
    return flow;
  }
  // Handles what happens up to `end`.
  void run(Time end) {
    while (network_.next() && *network_.next() <= end) {
      const Time now = *network_.next();
      std::vector<Network::Change> changes;
      network_.advance(changes);
      for (const auto& change : changes) {
        if (change.arrived) {
          const std::uint32_t bytes = network_.readable(change.flow);
          got[change.flow] += bytes;
          network_.read(change.flow, bytes, now);
        } else {
          fill(change.flow, now);
        }
      }
    }
  }
  std::map<FlowIndex, double> got;  // bytes

 private:
  void fill(FlowIndex flow, Time now) { network_.send(flow, network_.room(flow), now); }

  Network& network_;
};

// The time at which so many bytes are readable, nothing read.
Time time_of_arrival(Network& network, FlowIndex flow, std::uint32_t bytes) {
  std::vector<Network::Change> changes;
  while (network.next()) {
    const Time now = *network.next();
    network.advance(changes);
    if (network.readable(flow) >= bytes) return now;
  }
  return Time::max();
}

TEST(Network, ChunksPassUplinkLatencyAndDownlink) {
  Network network({});
  const auto a = network.add_host({.up = 1e6, .down = 1e9}, milliseconds(3), std::nullopt);
  const auto b = network.add_host({.up = 1e9, .down = 2e6}, milliseconds(4), std::nullopt);
  const FlowIndex flow = network.open(a, b);
  network.send(flow, 1000, Time{});
  // 1 ms up, 7 ms on the way, 0.5 ms down.
  EXPECT_EQ(time_of_arrival(network, flow, 1000), microseconds(8500));
}

TEST(Network, TheSlowestLinkOfThePathGivesTheRate) {
  const auto rate = [](LinkRates from, LinkRates to) {
    Network network({});
    Pipes pipes(network);
    const auto a = network.add_host(from, microseconds(100), std::nullopt);
    const auto b = network.add_host(to, microseconds(100), std::nullopt);
    const FlowIndex flow = pipes.add(a, b);
    pipes.run(seconds(10));
    return pipes.got[flow] / 10;
  };
  EXPECT_NEAR(rate(kMegabyte, kFast), 1e6, 1e4);
  EXPECT_NEAR(rate(kFast, kMegabyte), 1e6, 1e4);
}

TEST(Network, FlowsShareALinkAlike) {
  Network network({});
  Pipes pipes(network);
  const auto hub = network.add_host(kMegabyte, microseconds(100), std::nullopt);
  std::vector<FlowIndex> out;
  std::vector<FlowIndex> in;
  for (int i = 0; i < 4; ++i) {
    const auto leaf = network.add_host(kFast, microseconds(100), std::nullopt);
    out.push_back(pipes.add(hub, leaf));
    in.push_back(pipes.add(leaf, hub));
  }
  pipes.run(seconds(20));
  // A full duplex link: both directions go on at once.
  for (const FlowIndex flow : out) EXPECT_NEAR(pipes.got[flow], 5e6, 1e5);
  for (const FlowIndex flow : in) EXPECT_NEAR(pipes.got[flow], 5e6, 1e5);
}

TEST(Network, AFlowLimitedElsewhereLeavesItsShareToOthers) {
  Network network({});
  Pipes pipes(network);
  const auto hub = network.add_host(kMegabyte, microseconds(100), std::nullopt);
  const auto slow = network.add_host({.up = 1e6, .down = 1e5}, microseconds(100), std::nullopt);
  const auto fast = network.add_host(kFast, microseconds(100), std::nullopt);
  const FlowIndex limited = pipes.add(hub, slow);
  const FlowIndex other = pipes.add(hub, fast);
  pipes.run(seconds(20));
  EXPECT_NEAR(pipes.got[limited], 2e6, 3e5);
  EXPECT_NEAR(pipes.got[other], 18e6, 5e5);
}

TEST(Network, PacketsOvertakeTheBulkOfOtherFlows) {
  Network network({.quantum_bytes = 10'000, .window_bytes = 200'000});
  const auto a = network.add_host(kMegabyte, Duration(0), std::nullopt);
  const auto b = network.add_host(kFast, Duration(0), std::nullopt);
  const FlowIndex bulk = network.open(a, b);
  const FlowIndex second = network.open(a, b);
  const FlowIndex packet = network.open(a, b);
  network.send(bulk, 200'000, Time{});
  network.send(second, 200'000, Time{});
  network.send(packet, 1000, Time{});
  // Behind the chunk under way alone: 10 ms, and its own millisecond.
  EXPECT_NEAR(static_cast<double>(time_of_arrival(network, packet, 1000).count()), 11e6, 1e5);
}

TEST(Network, TheWindowIsAllThatMayBeUnread) {
  Network network({.quantum_bytes = 1000, .window_bytes = 4000});
  const auto a = network.add_host(kMegabyte, milliseconds(5), std::nullopt);
  const auto b = network.add_host(kMegabyte, milliseconds(5), std::nullopt);
  const FlowIndex flow = network.open(a, b);
  EXPECT_EQ(network.room(flow), 4000U);
  network.send(flow, 4000, Time{});
  EXPECT_EQ(network.room(flow), 0U);
  const Time arrived = time_of_arrival(network, flow, 4000);
  EXPECT_FALSE(network.next());
  EXPECT_EQ(network.room(flow), 0U) << "nothing was read";
  network.read(flow, 1500, arrived);
  EXPECT_EQ(network.room(flow), 0U) << "the sender does not know yet";
  EXPECT_EQ(network.next(), arrived + milliseconds(10));
  std::vector<Network::Change> changes;
  network.advance(changes);
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_FALSE(changes[0].arrived);
  EXPECT_EQ(network.room(flow), 1500U);
}

TEST(Network, RacksShareTheirLinksToTheCore) {
  Network network({});
  Pipes pipes(network);
  const auto rack = network.add_rack({.up = 1e6, .down = 2e6});
  const auto other = network.add_rack({.up = 1e9, .down = 5e5});
  const auto in_rack = [&](std::uint32_t r) {
    return network.add_host({.up = 10e6, .down = 10e6}, microseconds(100), r);
  };
  const auto a = in_rack(rack);
  const auto b = in_rack(rack);
  const auto c = in_rack(other);
  const auto outside = network.add_host(kFast, microseconds(100), std::nullopt);
  const FlowIndex within = pipes.add(a, b);
  const FlowIndex up = pipes.add(b, outside);
  const FlowIndex down = pipes.add(outside, a);
  const FlowIndex to_other = pipes.add(outside, c);
  pipes.run(seconds(10));
  EXPECT_NEAR(pipes.got[within] / 10, 10e6, 1e6) << "past the rack's switch alone";
  EXPECT_NEAR(pipes.got[up] / 10, 1e6, 5e4);
  EXPECT_NEAR(pipes.got[down] / 10, 2e6, 1e5);
  EXPECT_NEAR(pipes.got[to_other] / 10, 5e5, 3e4);
}

TEST(Network, WhatIsOnTheWayOfAClosedFlowIsLost) {
  Network network({});
  Pipes pipes(network);
  const auto a = network.add_host(kMegabyte, milliseconds(1), std::nullopt);
  const auto b = network.add_host(kMegabyte, milliseconds(1), std::nullopt);
  const FlowIndex lost = pipes.add(a, b);
  const FlowIndex kept = pipes.add(a, b);
  network.close(lost);
  const FlowIndex later = pipes.add(a, b);
  EXPECT_NE(later, lost) << "its chunk is still being served";
  pipes.run(seconds(10));
  EXPECT_EQ(pipes.got[lost], 0);
  EXPECT_NEAR(pipes.got[kept] / 10, 5e5, 2e4);
  EXPECT_NEAR(pipes.got[later] / 10, 5e5, 2e4);
  EXPECT_EQ(network.open(b, a), lost);
}

}  // namespace
}  // namespace shardswarm::sim
