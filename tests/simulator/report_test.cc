#include "simulator/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace shardswarm::sim {
namespace {

using std::chrono::milliseconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

struct Case {
  Scenario scenario;
  Outcome outcome;
  Bound bound{.time = milliseconds(2000), .which = "source uplink"};
};

// A seed, a fetcher that is done after 2.5 s, and one that left early.
Case finished() {
  Case made;
  made.scenario.name = "x";
  for (const char* name : {"s", "n", "gone"}) {
    made.scenario.nodes.emplace_back().name = name;
    made.outcome.nodes.emplace_back().name = name;
  }
  made.scenario.nodes[0].seed = true;
  made.scenario.nodes[1].joins = milliseconds(250);
  made.scenario.nodes[2].leaves = milliseconds(1);
  NodeOutcome& node = made.outcome.nodes[1];
  node.wanted_bytes = 1U << 20;
  node.fetched_bytes = 3U << 19;
  node.duplicate_bytes = 1U << 19;
  node.finished = milliseconds(2500);
  node.first_layer = milliseconds(500);
  made.outcome.makespan = milliseconds(2500);
  made.outcome.complete = true;
  made.outcome.source_copies = 1.5;
  return made;
}

nlohmann::json json_of(const Case& made) {
  return nlohmann::json::parse(as_json(made.scenario, 7, made.outcome, made.bound));
}

TEST(ReportTest, JsonHasSecondsAndBytes) {
  const nlohmann::json json = json_of(finished());
  EXPECT_EQ(json["scenario"], "x");
  EXPECT_EQ(json["seed"], 7);
  EXPECT_EQ(json["complete"], true);
  EXPECT_EQ(json["seconds"], 2.5);
  EXPECT_EQ(json["bound_seconds"], 2.0);
  EXPECT_EQ(json["bound"], "source uplink");
  EXPECT_EQ(json["ratio"], 1.25);
  EXPECT_EQ(json["median_seconds"], 2.5);
  EXPECT_EQ(json["first_layer_seconds"], 0.5) << "who left early does not count";
  EXPECT_EQ(json["source_copies"], 1.5);
  ASSERT_EQ(json["nodes"].size(), 3U);
  const nlohmann::json& node = json["nodes"][1];
  EXPECT_EQ(node["name"], "n");
  EXPECT_EQ(node["seed"], false);
  EXPECT_EQ(node["joined_seconds"], 0.25);
  EXPECT_EQ(node["finished_seconds"], 2.5);
  EXPECT_EQ(node["fetched_bytes"], 3U << 19);
  EXPECT_EQ(node["duplicate_bytes"], 1U << 19);
  EXPECT_FALSE(node.contains("error"));
  EXPECT_EQ(json["nodes"][2]["finished_seconds"], nullptr);
}

TEST(ReportTest, WhatIsNotCompleteHasNoRatio) {
  Case made = finished();
  made.outcome.complete = false;
  made.outcome.nodes[1].first_layer.reset();
  made.outcome.nodes[1].error = "no peer";
  const nlohmann::json json = json_of(made);
  EXPECT_EQ(json["ratio"], nullptr);
  EXPECT_EQ(json["first_layer_seconds"], nullptr);
  EXPECT_EQ(json["nodes"][1]["error"], "no peer");
  EXPECT_EQ(ratio(made.outcome, made.bound), std::nullopt);
  const std::string text = as_text(made.scenario, made.outcome, made.bound, true);
  EXPECT_THAT(text, HasSubstr("NOT COMPLETE after 2.500 s"));
  EXPECT_THAT(text, HasSubstr("no peer\n"));
}

TEST(ReportTest, WhatCannotBeDoneHasNoBound) {
  Case made = finished();
  made.bound.time = Time::max();
  EXPECT_EQ(json_of(made)["bound_seconds"], nullptr);
  EXPECT_EQ(json_of(made)["ratio"], nullptr);
  EXPECT_THAT(as_text(made.scenario, made.outcome, made.bound, false),
              HasSubstr("of at least never (source uplink): no ratio"));
}

TEST(ReportTest, TextIsALineAndOnePerNodeIfAskedFor) {
  const Case made = finished();
  const std::string line = as_text(made.scenario, made.outcome, made.bound, false);
  EXPECT_THAT(line, HasSubstr("x: 2.500 s of at least 2.000 s (source uplink): x1.250; "
                              "source 1.50 copies"));
  EXPECT_THAT(line, EndsWith("first layer 0.500 s\n"));
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  const std::string nodes = as_text(made.scenario, made.outcome, made.bound, true);
  EXPECT_EQ(std::ranges::count(nodes, '\n'), 4);
  EXPECT_THAT(nodes, HasSubstr("wanted 1.0 MiB, fetched 1.5 MiB, sent 0 B, twice 512.0 KiB\n"));
  EXPECT_THAT(nodes, Not(HasSubstr("NOT COMPLETE")));
}

}  // namespace
}  // namespace shardswarm::sim
