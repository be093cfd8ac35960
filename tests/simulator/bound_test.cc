// Bounds beside what a pencil gives. Rates of 100 MiB/s and pieces of 1 MiB keep the numbers round.
#include "simulator/bound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"

namespace shardswarm::sim {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr double kRate = 100.0 * 1024 * 1024;

// One file of `pieces` MiB.
std::shared_ptr<const Manifest> model_of(std::uint32_t pieces) {
  ManifestRoot root;
  root.files.push_back(
      {.path = "weights.bin", .size = pieces * limits::kPieceBytesMax, .pieces = pieces});
  return std::make_shared<Manifest>(Manifest::from_root(encode_root(root).value()).value());
}

class Swarm {
 public:
  explicit Swarm(std::uint32_t pieces) : pieces_(pieces) { wants_.manifest = model_of(pieces); }

  NodeSpec& add_seed(double rate = kRate) { return add({}, rate, true); }
  NodeSpec& add_taker(std::vector<PieceRun> runs, double rate = kRate) {
    return add(runs, rate, false);
  }
  NodeSpec& add_taker_of_all(double rate = kRate) {
    return add_taker({{PieceIndex(0), pieces_}}, rate);
  }
  void add_rack(const std::string& name, double rate) {
    scenario_.racks.push_back({.name = name, .up = rate, .down = rate});
  }

  Bound bound() const { return lower_bound(scenario_, wants_); }
  double seconds() const { return std::chrono::duration<double>(bound().time).count(); }

 private:
  NodeSpec& add(const std::vector<PieceRun>& runs, double rate, bool seed) {
    PieceSet& pieces = wants_.pieces.emplace_back(pieces_);
    for (const PieceRun run : runs) pieces.insert(run);
    NodeSpec& node = scenario_.nodes.emplace_back();
    node.name = "n" + std::to_string(scenario_.nodes.size() - 1);
    node.up = node.down = rate;
    node.seed = seed;
    return node;
  }

  std::uint32_t pieces_;
  Scenario scenario_;
  Wants wants_;
};

PieceRun run_of(std::uint32_t first, std::uint32_t count) { return {PieceIndex(first), count}; }

TEST(BoundTest, BroadcastTakesOneCopyWhateverTheNumber) {
  for (const int takers : {1, 7, 63}) {
    Swarm swarm(400);
    swarm.add_seed();
    for (int i = 0; i < takers; ++i) swarm.add_taker_of_all();
    EXPECT_NEAR(swarm.seconds(), 4.0, 1e-8) << takers;
    EXPECT_EQ(swarm.bound().which, "source uplink");
  }
}

TEST(BoundTest, WeakTakersMakeTheUplinksOfAllTheBound) {
  Swarm swarm(400);
  swarm.add_seed();
  // 8 copies of 4 s at the seed's rate; 1 + 8 / 10 such uplinks.
  for (int i = 0; i < 8; ++i) swarm.add_taker_of_all().up = kRate / 10;
  EXPECT_NEAR(swarm.seconds(), 32.0 / 1.8, 1e-8);
  EXPECT_EQ(swarm.bound().which, "uplinks of all");
}

TEST(BoundTest, StagesNeedOneCopyFromTheSource) {
  Swarm swarm(400);
  swarm.add_seed();
  for (std::uint32_t stage = 0; stage < 4; ++stage) {
    for (int replica = 0; replica < 8; ++replica) swarm.add_taker({run_of(100 * stage, 100)});
  }
  EXPECT_NEAR(swarm.seconds(), 4.0, 1e-8);
  EXPECT_EQ(swarm.bound().which, "source uplink");
}

TEST(BoundTest, WhatNobodyWantsCostsNothing) {
  Swarm swarm(400);
  swarm.add_seed();
  swarm.add_taker({run_of(0, 50)});
  swarm.add_taker({run_of(25, 50)});
  EXPECT_NEAR(swarm.seconds(), 0.75, 1e-8);
}

TEST(BoundTest, TwoSourcesShareTheCopy) {
  Swarm swarm(400);
  swarm.add_seed();
  swarm.add_seed(3 * kRate);
  for (int i = 0; i < 2; ++i) swarm.add_taker_of_all(8 * kRate);
  EXPECT_NEAR(swarm.seconds(), 1.0, 1e-8);
  EXPECT_EQ(swarm.bound().which, "source uplink");
}

TEST(BoundTest, ASlowDownlinkIsNamed) {
  Swarm swarm(400);
  swarm.add_seed();
  swarm.add_taker_of_all();
  swarm.add_taker_of_all().down = kRate / 10;
  EXPECT_NEAR(swarm.seconds(), 40.0, 1e-8);
  EXPECT_EQ(swarm.bound().which, "downlink of n2");
}

TEST(BoundTest, WeakUplinksWantingAAreNotHelpedByStrongOnesWantingB) {
  Swarm swarm(200);
  swarm.add_seed();
  // 10 x 1 s of A over the seed and ten tenths; B alone and all together take less.
  for (int i = 0; i < 10; ++i) swarm.add_taker({run_of(0, 100)}).up = kRate / 10;
  for (int i = 0; i < 2; ++i) swarm.add_taker({run_of(100, 100)}, 20 * kRate);
  EXPECT_NEAR(swarm.seconds(), 5.0, 1e-8);
  EXPECT_EQ(swarm.bound().which, "uplinks for what only n1, n2, n3, n4 and 6 more want");
}

TEST(BoundTest, MoreThanTwelveClassesAreTriedAloneAndTogether) {
  Swarm swarm(1400);
  swarm.add_seed(14 * kRate);
  // 14 classes. The last one's takers have no uplinks to speak of: 30 x 1 s over 14 and 30/1000.
  for (std::uint32_t c = 0; c < 13; ++c) swarm.add_taker({run_of(100 * c, 100)}, 14 * kRate);
  for (int i = 0; i < 30; ++i) swarm.add_taker({run_of(1300, 100)}).up = kRate / 1000;
  EXPECT_NEAR(swarm.seconds(), 30 / 14.03, 1e-8);
  EXPECT_THAT(swarm.bound().which, HasSubstr("n14, n15, n16, n17 and 26 more"));
}

TEST(BoundTest, UplinksCountFromTheJoin) {
  Swarm swarm(400);
  swarm.add_seed();
  // Weak uplinks but for n3's, which comes after 10 s: 3 x 4 s of work, 1 s a second until then.
  swarm.add_taker_of_all().up = 1;
  swarm.add_taker_of_all().up = 1;
  swarm.add_taker_of_all(9 * kRate).joins = milliseconds(10'000);
  EXPECT_NEAR(swarm.seconds(), 10.0 + 4.0 / 9, 1e-6);  // n3's own downlink
  EXPECT_EQ(swarm.bound().which, "downlink of n3");
  for (int i = 0; i < 6; ++i) swarm.add_taker_of_all().up = 1;
  EXPECT_NEAR(swarm.seconds(), 10.0 + 26.0 / 10, 1e-6);  // 9 x 4 s less 10 s, over ten uplinks
  EXPECT_EQ(swarm.bound().which, "uplinks of all");
}

TEST(BoundTest, NothingMovesBeforeSomebodyWantsIt) {
  Swarm swarm(400);
  swarm.add_seed();
  swarm.add_taker_of_all(10 * kRate).joins = milliseconds(3000);
  EXPECT_NEAR(swarm.seconds(), 7.0, 1e-8);
}

TEST(BoundTest, ALateSeedIsWaitedFor) {
  Swarm swarm(400);
  swarm.add_seed().joins = milliseconds(2000);
  swarm.add_taker_of_all();
  EXPECT_NEAR(swarm.seconds(), 6.0, 1e-8);
}

TEST(BoundTest, WhoLeavesServesAndIsNoDemand) {
  Swarm swarm(400);
  swarm.add_seed();
  for (int i = 0; i < 3; ++i) swarm.add_taker_of_all().up = 1;
  EXPECT_NEAR(swarm.seconds(), 12.0, 1e-6);
  // Three uplinks for 2 s, one for the other 6 of 12.
  NodeSpec& leaver = swarm.add_taker_of_all(2 * kRate);
  leaver.leaves = milliseconds(2000);
  EXPECT_NEAR(swarm.seconds(), 8.0, 1e-6);
  EXPECT_EQ(swarm.bound().which, "uplinks of all");
}

TEST(BoundTest, WhoHoardsNeitherServesNorMatters) {
  Swarm swarm(400);
  swarm.add_seed();
  for (int i = 0; i < 3; ++i) swarm.add_taker_of_all().up = 1;
  NodeSpec& hoarder = swarm.add_taker_of_all(kRate);
  hoarder.behaviour = Behaviour::kHoards;
  hoarder.down = 1;
  EXPECT_NEAR(swarm.seconds(), 12.0, 1e-6);
}

TEST(BoundTest, ASeedThatLeavesTooEarlyMeansNever) {
  Swarm swarm(400);
  swarm.add_seed().leaves = milliseconds(5000);
  swarm.add_taker_of_all();
  EXPECT_NEAR(swarm.seconds(), 4.0, 1e-8);
  Swarm hopeless(400);
  hopeless.add_seed().leaves = milliseconds(3999);
  hopeless.add_taker_of_all();
  EXPECT_EQ(hopeless.bound().time, Time::max());
  EXPECT_EQ(hopeless.bound().which, "source uplink");
}

TEST(BoundTest, OneCopyOfWhatARackWantsComesIn) {
  Swarm swarm(400);
  swarm.add_rack("a", 1000 * kRate);
  swarm.add_rack("b", kRate / 2);
  swarm.add_seed(10 * kRate).rack = "a";
  for (int i = 0; i < 4; ++i) swarm.add_taker({run_of(0, 300)}, 10 * kRate).rack = "b";
  EXPECT_NEAR(swarm.seconds(), 6.0, 1e-8);
  EXPECT_EQ(swarm.bound().which, "downlink of rack b");
  swarm.add_seed(10 * kRate).rack = "b";
  EXPECT_LT(swarm.seconds(), 1.0);
}

TEST(BoundTest, OneCopyOfWhatTheOthersWantLeavesTheSeedsRack) {
  Swarm swarm(400);
  swarm.add_rack("a", kRate / 4);
  swarm.add_seed(10 * kRate).rack = "a";
  swarm.add_taker_of_all(10 * kRate).rack = "a";
  EXPECT_NEAR(swarm.seconds(), 0.4, 1e-8);
  swarm.add_taker({run_of(0, 50)}, 10 * kRate);
  swarm.add_taker({run_of(50, 50)}, 10 * kRate);
  EXPECT_NEAR(swarm.seconds(), 4.0, 1e-8);
  EXPECT_EQ(swarm.bound().which, "uplink of rack a");
}

}  // namespace
}  // namespace shardswarm::sim
