#include "simulator/scenario.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "piece/selection_text.h"

namespace shardswarm::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

// A scenario around these members, with a seed and a fetcher unless they say otherwise.
std::string around(const std::string& members) {
  const std::string nodes = members.find("\"nodes\"") == std::string::npos
                                ? R"(,"nodes":[{"name":"s","seed":true},{"name":"n"}])"
                                : "";
  return R"({"name":"x")" + nodes + (members.empty() ? "" : ",") + members + "}";
}

std::string with_nodes(const std::string& groups) {
  return around(R"("nodes":[{"name":"s","seed":true},)" + groups + "]");
}

Scenario must(const std::string& json, const std::vector<std::string>& set = {}) {
  auto scenario = parse_scenario(json, set);
  if (!scenario) throw std::runtime_error(scenario.error().message);
  return std::move(*scenario);
}

std::string error_of(const std::string& json, const std::vector<std::string>& set = {}) {
  const auto scenario = parse_scenario(json, set);
  if (scenario) return "no error";
  EXPECT_EQ(scenario.error().code, Errc::kUsage);
  return scenario.error().message;
}

std::vector<std::string> names_of(const Scenario& scenario) {
  std::vector<std::string> names;
  for (const NodeSpec& node : scenario.nodes) names.push_back(node.name);
  return names;
}

TEST(ScenarioTest, DefaultsAreTheHeaders) {
  const Scenario scenario = must(around(""));
  EXPECT_EQ(scenario.name, "x");
  EXPECT_EQ(scenario.model.pieces, ModelShape().pieces);
  EXPECT_THAT(names_of(scenario), ElementsAre("s", "n"));
  EXPECT_TRUE(scenario.nodes[0].seed);
  EXPECT_FALSE(scenario.nodes[1].seed);
  EXPECT_EQ(scenario.nodes[1].up, NodeSpec().up);
  EXPECT_TRUE(scenario.nodes[1].selection.whole());
}

TEST(ScenarioTest, EveryMemberArrives) {
  const Scenario scenario = must(R"({
    "name": "x", "about": "for people", "learn": true, "limit": "2min",
    "socket": "128KiB", "quantum": "4KiB", "turn": "3ms",
    "model": {"pieces": 40, "piece": "64KiB", "layers": 3},
    "racks": [{"name": "a", "up": "8mbit", "down": "2MB"}],
    "rules": {"leases": false, "lease_min": "1s", "stall": "2s", "window_min": "1MiB",
              "window_max": "2MiB", "degree": 7, "order": "layers", "late_binding": false,
              "in_all": "30ms", "in_all_min": "3MiB"},
    "nodes": [
      {"name": "s", "seed": true},
      {"name": "n", "up": "16mbit", "down": "3MB", "latency": "5ms", "disk": "1GB", "hash": "2GB",
       "rack": "a", "site": "here", "joins": "10ms", "leaves": "1.5s", "behaviour": "hoards",
       "peers": ["m"], "select": {"layers": ["0-1"]}},
      {"name": "m", "select": "--layers 2 --shared all"}]})");
  EXPECT_TRUE(scenario.learn);
  EXPECT_EQ(scenario.limit, std::chrono::minutes(2));
  EXPECT_EQ(scenario.socket_bytes, 128U << 10);
  EXPECT_EQ(scenario.quantum_bytes, 4U << 10);
  EXPECT_EQ(scenario.turn, milliseconds(3));
  EXPECT_EQ(scenario.model.pieces, 40U);
  EXPECT_EQ(scenario.model.piece_bytes, 64U << 10);
  EXPECT_EQ(scenario.model.layers, 3U);
  ASSERT_EQ(scenario.racks.size(), 1U);
  EXPECT_EQ(scenario.racks[0].name, "a");
  EXPECT_EQ(scenario.racks[0].up, 1e6);
  EXPECT_EQ(scenario.racks[0].down, 2e6);
  EXPECT_FALSE(scenario.core.upload.leases);
  EXPECT_EQ(scenario.core.upload.lease_min, milliseconds(1000));
  EXPECT_EQ(scenario.core.download.stall, milliseconds(2000));
  EXPECT_EQ(scenario.core.download.window_bytes_min, 1U << 20);
  EXPECT_EQ(scenario.core.download.window_bytes_max, 2U << 20);
  EXPECT_EQ(scenario.core.degree, 7U);
  EXPECT_EQ(scenario.order, FetchOrder::kLayers);
  EXPECT_FALSE(scenario.core.download.late_binding);
  EXPECT_EQ(scenario.core.download.in_all, milliseconds(30));
  EXPECT_EQ(scenario.core.download.in_all_bytes_min, 3U << 20);
  const NodeSpec& node = scenario.nodes[1];
  EXPECT_EQ(node.up, 2e6);
  EXPECT_EQ(node.down, 3e6);
  EXPECT_EQ(node.latency, milliseconds(5));
  EXPECT_EQ(node.disk, 1e9);
  EXPECT_EQ(node.hash, 2e9);
  EXPECT_EQ(node.rack, "a");
  EXPECT_EQ(node.site, "here");
  EXPECT_EQ(node.joins, milliseconds(10));
  EXPECT_EQ(node.leaves, milliseconds(1500));
  EXPECT_EQ(node.behaviour, Behaviour::kHoards);
  EXPECT_THAT(node.peers, ElementsAre("m"));
  EXPECT_EQ(describe(node.selection), "--layers 0-1");
  EXPECT_EQ(describe(scenario.nodes[2].selection), "--layers 2 --shared all");
}

TEST(ScenarioTest, SingleRulesGoOverTheSet) {
  const Scenario scenario = must(around(R"("rules":{"leases":true,"set":"rarest-first"})"));
  EXPECT_TRUE(scenario.core.upload.leases);
  EXPECT_FALSE(scenario.core.download.late_binding);
  EXPECT_EQ(scenario.core.download.window_bytes_min, 4U << 20);
  EXPECT_FALSE(must(around(R"("rules":{"set":"small-windows"})")).core.upload.leases);
  EXPECT_THAT(error_of(around(R"("rules":{"set":"best"})")),
              HasSubstr("rules.set is none of rarest-first, small-windows, leases, late-binding"));
  EXPECT_THAT(error_of(around(R"("rules":{"degree":1})")), HasSubstr("rules.degree is below 2"));
  EXPECT_THAT(error_of(around(R"("rules":{"order":"best"})")), HasSubstr("rarest or layers"));
  EXPECT_THAT(error_of(with_nodes(R"({"name":"n","site":"a b"})")), HasSubstr("site is no site"));
}

TEST(ScenarioTest, DefaultsHoldForAllGroupsWhereverTheyStand) {
  const Scenario scenario = must(with_nodes(R"({"name":"n","up":"1MB"}],"defaults":{"up":"2MB"},
      "racks":[)"));
  EXPECT_EQ(scenario.nodes[0].up, 2e6);
  EXPECT_EQ(scenario.nodes[1].up, 1e6);
}

TEST(ScenarioTest, ACountMakesLikeNodesThatMayJoinOneAfterTheOther) {
  const Scenario scenario =
      must(with_nodes(R"({"name":"n","count":3,"joins":{"from":"1s","every":"20ms"}})"));
  EXPECT_THAT(names_of(scenario), ElementsAre("s", "n-1", "n-2", "n-3"));
  EXPECT_EQ(scenario.nodes[1].joins, milliseconds(1000));
  EXPECT_EQ(scenario.nodes[3].joins, milliseconds(1040));
}

TEST(ScenarioTest, StagesAndSlicesMakeRanks) {
  const Scenario scenario = must(with_nodes(
      R"({"name":"p","stages":2,"replicas":2},{"name":"t","slices":2,"sliced":["*.w?"]},)"
      R"({"name":"b","stages":1,"slices":1,"replicas":1,"sliced":["*"],"select":"--shared all"})"));
  EXPECT_THAT(names_of(scenario),
              ElementsAre("s", "p-1-1", "p-1-2", "p-2-1", "p-2-2", "t-0", "t-1", "b-1-0-1"));
  EXPECT_EQ(describe(scenario.nodes[3].selection), "--stage 2/2");
  EXPECT_EQ(describe(scenario.nodes[6].selection), "--slice '*.w?:1/2'");
  EXPECT_EQ(describe(scenario.nodes[7].selection), "--stage 1/1 --slice '*:0/1' --shared all");
}

TEST(ScenarioTest, AssignmentsReplaceAddAndReachElements) {
  const Scenario scenario = must(with_nodes(R"({"name":"n","count":2})"),
                                 {"nodes.1.count=3", "model.piece=256KiB", "rules.leases=false",
                                  "name=y z", "nodes.1.joins={\"every\":\"1ms\"}"});
  EXPECT_EQ(scenario.nodes.size(), 4U);
  EXPECT_EQ(scenario.model.piece_bytes, 256U << 10);
  EXPECT_FALSE(scenario.core.upload.leases);
  EXPECT_EQ(scenario.name, "y z");
  EXPECT_EQ(scenario.nodes[3].joins, milliseconds(2));
}

TEST(ScenarioTest, WrongAssignmentsAreNamed) {
  const std::string json = around("");
  EXPECT_THAT(error_of(json, {"learn"}), HasSubstr("'learn' does not read like PATH=VALUE"));
  EXPECT_THAT(error_of(json, {"nodes.2.up=1MB"}), HasSubstr("no element '2' for nodes.2.up"));
  EXPECT_THAT(error_of(json, {"nodes.n.up=1MB"}), HasSubstr("no element 'n'"));
  EXPECT_THAT(error_of(json, {"name.x=1"}), HasSubstr("nothing can stand below 'x'"));
  EXPECT_THAT(error_of(json, {"rules.lease=false"}), HasSubstr("rules.lease is unknown"));
}

struct Bad {
  std::string members;
  std::string says;
};

TEST(ScenarioTest, WhatIsUnknownOrWrongIsNamedWithItsPlace) {
  const std::vector<Bad> all = {
      {R"("foo":1)", "foo is unknown here; there are: name about"},
      {R"("model":{"size":1})", "model.size is unknown"},
      {R"("model":7)", "model is no object"},
      {R"("model":{"pieces":0})", "model.pieces is no whole number of 1 to"},
      {R"("model":{"pieces":1.5})", "model.pieces is no whole number"},
      {R"("model":{"pieces":-1})", "model.pieces is no whole number"},
      {R"("model":{"piece":"2MiB"})", "model.piece is not within 1 to 1048576 bytes"},
      {R"("model":{"piece":"0B"})", "model.piece is not within 1"},
      {R"("model":{"piece":"1.5B"})", "model.piece is wrong: '1.5B' is no size"},
      {R"("model":{"checkpoint":"no/such"})", "model.checkpoint is no checkpoint: "},
      {R"("model":{"checkpoint":1})", "model.checkpoint is no text"},
      {R"("model":{"checkpoint":"no/such","layers":1})", "model has a checkpoint and more"},
      {R"("defaults":{"name":"x"})", "defaults.name is unknown"},
      {R"("defaults":{"up":"0gbit"})", "defaults.up is a rate of zero"},
      {R"("defaults":{"up":"-1gbit"})", "defaults.up is wrong: '-1gbit' is no rate"},
      {R"("defaults":{"up":"1 gbit"})", "'1 gbit' is no rate"},
      {R"("defaults":{"up":"1gibit"})", "'1gibit' is no rate"},
      {R"("defaults":{"up":125})", "defaults.up is no text"},
      {R"("defaults":{"latency":"5"})", "defaults.latency is wrong: '5' is no duration"},
      {R"("limit":"1e3s")", "'1e3s' is no duration"},
      {R"("limit":"999999999h")", "is no duration"},
      {R"("learn":"yes")", "learn is neither true nor false"},
      {R"("rules":{"leases":1})", "rules.leases is neither true nor false"},
      {R"("rules":{"window_min":"2MiB","window_max":"1MiB"})", "rules has a window_min above"},
      {R"("racks":{})", "racks is no array"},
      {R"("racks":[{"up":"1MB"}])", "racks[0] has no name"},
      {R"("racks":[{"name":"a"},{"name":"a"}])", "racks[1] has the name of another"},
      {R"("learn":true,"learn":true)", "member 'learn' is there twice"},
      {R"("learn":)", "no JSON: "},
      {R"("nodes":7)", "nodes is no array"},
      {R"("nodes":[])", "nobody seeds"},
      {R"("nodes":[{"name":"n"}])", "nobody seeds"},
      {R"("nodes":[{"name":"s","seed":true}])", "nobody fetches"},
  };
  for (const Bad& bad : all) EXPECT_THAT(error_of(around(bad.members)), HasSubstr(bad.says));
}

TEST(ScenarioTest, WrongGroupsAreNamed) {
  const std::vector<Bad> all = {
      {R"({"name":"n","layers":1})", "nodes[1].layers is unknown"},
      {R"({"count":2})", "nodes[1] has no name"},
      {R"({"name":"n","stages":2,"count":2})", "say replicas, not count"},
      {R"({"name":"n","replicas":2})", "replicas without stages"},
      {R"({"name":"n","slices":2})", "both slices and sliced"},
      {R"({"name":"n","sliced":["*"]})", "both slices and sliced"},
      {R"({"name":"n","count":99999},{"name":"m","count":2})", "nodes[2] makes more than 100000"},
      {R"({"name":"n","select":"--layer 1"})", "nodes[1].select is wrong: '--layer'"},
      {R"({"name":"n","select":{"layer":["1"]}})", "nodes[1].select is wrong: "},
      {R"({"name":"n","select":7})", "nodes[1].select is neither"},
      {R"({"name":"n","seed":true,"select":"--layers 1"})", "nodes[1] seeds and selects"},
      {R"({"name":"n","seed":true,"behaviour":"hoards"})", "nodes[1] seeds and hoards"},
      {R"({"name":"n","behaviour":"x"})", "nodes[1].behaviour is not"},
      {R"({"name":"n","joins":{"each":"1s"}})", "nodes[1].joins.each is unknown"},
      {R"({"name":"n","peers":["s",""]})", "nodes[1].peers[1] is no text"},
      {R"({"name":"n","peers":["x"]})", "node 'n' has the peer 'x', which is no other"},
      {R"({"name":"n","peers":["n"]})", "node 'n' has the peer 'n'"},
      {R"({"name":"n"},{"name":"n"})", "node 'n' is there twice"},
      {R"({"name":"n"},{"name":"m","select":"--layers 32"})", "node 'm' selects what is not there"},
      {R"({"name":"n","rack":"a"})", "node 'n' stands in rack 'a'"},
      {R"({"name":"n","joins":"2s","leaves":"2s"})", "node 'n' leaves before"},
      {R"({"name":"n","leaves":"2s"})", "nobody fetches who stays"},
      {R"({"name":"n","behaviour":"hoards"})", "nobody fetches who stays"},
  };
  for (const Bad& bad : all) EXPECT_THAT(error_of(with_nodes(bad.members)), HasSubstr(bad.says));
}

TEST(ScenarioTest, AFileThatIsNotThereIsNotFound) {
  const auto scenario = read_scenario("no/such/file.json");
  ASSERT_FALSE(scenario);
  EXPECT_EQ(scenario.error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace shardswarm::sim
