// The scenarios of the repository: each within its ratio to the bound, and the same at every run.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "simulator/report.h"

namespace shardswarm::sim {
namespace {

struct Expected {
  const char* name;
  double ratio;                         // at most
  double copies;                        // of the source, at most
  std::vector<std::string> times = {};  // what the smaller model shortens
  friend std::ostream& operator<<(std::ostream& out, const Expected& e) { return out << e.name; }
};

// Measured with this many pieces, seed 1, and a tenth on top; the files have four times as many, to
// measure with.
const char* const kPieces = "model.pieces=250";
const std::vector<Expected> kExpected = {
    {"broadcast-8", 1.15, 1.02},
    {"pipeline-4x2", 1.1, 1.02},
    {"two-sources", 1.17, 1.52},
    {"leaving", 1.2, 1.1, {"nodes.2.leaves=1s"}},
    {"hoarder", 1.2, 1.15},
    {"staggered", 1.11, 1.25, {"nodes.1.joins.every=70ms"}},
    {"tensor-parallel", 1.1, 1.02},
    {"mixed", 1.14, 1.1},
    {"slow-node", 1.1, 1.25},
    {"home-upload", 1.75, 2.55},
    {"wifi", 1.1, 1.22},
    {"racks", 2.15, 1.35},
    {"layers-order", 1.21, 1.02},
};

Scenario scenario_of(const Expected& expected) {
  std::vector<std::string> set = expected.times;
  set.emplace_back(kPieces);
  const std::string file = std::string(expected.name) + ".json";
  auto scenario = read_scenario(std::filesystem::path(SCENARIO_DIRECTORY) / file, set);
  if (!scenario) throw std::runtime_error(scenario.error().message);
  return std::move(*scenario);
}

class ScenariosTest : public testing::TestWithParam<Expected> {};

TEST_P(ScenariosTest, IsWithinItsRatio) {
  const Scenario scenario = scenario_of(GetParam());
  EXPECT_EQ(scenario.name, GetParam().name);
  const Bound bound = lower_bound(scenario, resolve_wants(scenario));
  const Outcome outcome = run(scenario, 1);
  const std::string text = as_text(scenario, outcome, bound, true);
  ASSERT_TRUE(outcome.complete) << text;
  EXPECT_LE(ratio(outcome, bound).value(), GetParam().ratio) << text;
  EXPECT_GE(ratio(outcome, bound).value(), 1.0) << "faster than what can be: " << text;
  EXPECT_LE(outcome.source_copies, GetParam().copies) << text;
}

std::string name_of(const testing::TestParamInfo<Expected>& test) {
  std::string name = test.param.name;
  std::ranges::replace(name, '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(All, ScenariosTest, testing::ValuesIn(kExpected), name_of);

TEST(DeterminismTest, TheSameSeedGivesTheSameReport) {
  for (const char* name : {"mixed", "hoarder"}) {
    const Scenario scenario = scenario_of({.name = name});
    const Bound bound = lower_bound(scenario, resolve_wants(scenario));
    const std::string first = as_json(scenario, 3, run(scenario, 3), bound);
    EXPECT_EQ(as_json(scenario, 3, run(scenario, 3), bound), first);
    EXPECT_NE(as_json(scenario, 3, run(scenario, 4), bound), first) << "the seed changes nothing";
  }
}

TEST(ScenarioFilesTest, AllAreAcceptedAndBearTheirFilesName) {
  for (const auto& file : std::filesystem::directory_iterator(SCENARIO_DIRECTORY)) {
    const auto scenario = read_scenario(file.path());
    ASSERT_TRUE(scenario) << scenario.error().message;
    EXPECT_EQ(scenario->name, file.path().stem());
  }
}

}  // namespace
}  // namespace shardswarm::sim
