// Small swarms from end to end: what comes out is what the rates allow, and always the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "simulator/model.h"
#include "simulator/swarm.h"

namespace shardswarm::sim {
namespace {

constexpr double kLinkRate = 125e6;

Scenario broadcast(std::uint32_t fetchers, std::uint32_t pieces) {
  Scenario scenario;
  scenario.name = "broadcast";
  scenario.model = {.pieces = pieces, .piece_bytes = 1U << 20, .layers = 4};
  scenario.nodes.push_back({.name = "seed", .seed = true});
  for (std::uint32_t i = 0; i < fetchers; ++i) {
    scenario.nodes.push_back({.name = "node" + std::to_string(i)});
  }
  return scenario;
}

double in_seconds(Time time) { return std::chrono::duration<double>(time).count(); }

auto key(const NodeOutcome& node) {
  return std::tie(node.name, node.wanted_bytes, node.finished, node.first_layer, node.fetched_bytes,
                  node.duplicate_bytes, node.sent_bytes, node.error);
}

void expect_same(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.makespan, b.makespan);
  EXPECT_EQ(a.events, b.events);
  EXPECT_EQ(a.control_bytes, b.control_bytes);
  EXPECT_EQ(a.control_messages, b.control_messages);
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (std::size_t i = 0; i < a.nodes.size(); ++i) {
    EXPECT_EQ(key(a.nodes[i]), key(b.nodes[i]));
  }
}

TEST(Engine, ManifestHasTheShapeAskedFor) {
  const auto large = make_manifest({.pieces = 200, .piece_bytes = 1U << 20, .layers = 5});
  EXPECT_EQ(large->piece_count(), 201U);  // and one of config.json
  EXPECT_EQ(large->extent(PieceIndex(100)).length, 1U << 20);
  const auto small = make_manifest({.pieces = 100, .piece_bytes = 1000, .layers = 5});
  EXPECT_EQ(small->piece_count(), 101U);
  EXPECT_EQ(small->extent(PieceIndex(50)).length, 1000U);
}

TEST(Engine, OneFetcherTakesWhatTheUplinkGives) {
  const Outcome outcome = run(broadcast(1, 64), 1);
  EXPECT_TRUE(outcome.complete);
  const double at_best = static_cast<double>(outcome.model_bytes) / kLinkRate;
  EXPECT_GT(in_seconds(outcome.makespan), at_best);
  EXPECT_LT(in_seconds(outcome.makespan), at_best * 1.2);
  EXPECT_EQ(outcome.nodes[1].fetched_bytes, outcome.model_bytes);
  EXPECT_EQ(outcome.nodes[0].sent_bytes, outcome.model_bytes);
  EXPECT_DOUBLE_EQ(outcome.source_copies, 1);
  EXPECT_LT(outcome.nodes[1].first_layer, outcome.nodes[1].finished);
}

TEST(Engine, FetchersServeOneAnother) {
  const Outcome outcome = run(broadcast(8, 128), 1);
  EXPECT_TRUE(outcome.complete);
  EXPECT_LT(outcome.source_copies, 3);
  for (const NodeOutcome& node : outcome.nodes) EXPECT_EQ(node.error, "");
  EXPECT_GT(outcome.control_messages, 8U * 128U);
}

TEST(Engine, TheSameSeedGivesTheSameOutcome) {
  Scenario scenario = broadcast(6, 64);
  scenario.learn = true;
  scenario.racks = {{.name = "rack", .up = 250e6, .down = 250e6}};
  for (std::size_t i = 4; i < 7; ++i) scenario.nodes[i].rack = "rack";
  const Outcome first = run(scenario, 5);
  EXPECT_TRUE(first.complete);
  expect_same(first, run(scenario, 5));
  EXPECT_NE(first.makespan, run(scenario, 6).makespan);
}

TEST(Engine, ALayerIsAPartOfTheModel) {
  Scenario scenario = broadcast(2, 96);
  scenario.nodes[1].selection.stages = {{1, 2}};
  scenario.nodes[2].selection.stages = {{2, 2}};
  const Outcome outcome = run(scenario, 1);
  EXPECT_TRUE(outcome.complete);
  for (std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    EXPECT_EQ(outcome.nodes[i].fetched_bytes, outcome.nodes[i].wanted_bytes);
    EXPECT_LT(outcome.nodes[i].wanted_bytes, outcome.model_bytes * 6 / 10);
    EXPECT_TRUE(outcome.nodes[i].first_layer);
  }
}

TEST(Engine, NodesComeAndGo) {
  Scenario scenario = broadcast(6, 128);
  scenario.nodes[1].leaves = std::chrono::milliseconds(500);
  scenario.nodes[2].joins = std::chrono::seconds(4);
  scenario.nodes[3].behaviour = Behaviour::kHoards;
  const Outcome outcome = run(scenario, 1);
  EXPECT_TRUE(outcome.complete);
  EXPECT_FALSE(outcome.nodes[1].finished);
  EXPECT_LT(outcome.nodes[1].fetched_bytes, outcome.model_bytes);
  EXPECT_GT(outcome.nodes[2].finished, std::chrono::seconds(4));
  EXPECT_EQ(outcome.nodes[3].sent_bytes, 0U);
  EXPECT_GT(outcome.nodes[4].sent_bytes, 0U);
}

TEST(Engine, GivesUpAtTheLimit) {
  Scenario scenario = broadcast(1, 64);
  scenario.limit = std::chrono::milliseconds(300);
  const Outcome outcome = run(scenario, 1);
  EXPECT_FALSE(outcome.complete);
  EXPECT_EQ(outcome.makespan, scenario.limit);
}

TEST(Engine, ASlowDiskHoldsUpTheEnd) {
  Scenario scenario = broadcast(1, 64);
  scenario.nodes[1].disk = kLinkRate / 4;
  const Outcome outcome = run(scenario, 1);
  EXPECT_TRUE(outcome.complete);
  EXPECT_GT(in_seconds(outcome.makespan),
            static_cast<double>(outcome.model_bytes) / (kLinkRate / 4));
}

}  // namespace
}  // namespace shardswarm::sim
