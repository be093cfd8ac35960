// What is made of measured numbers: clocks, rates, bounds, summaries.
#include <gmock/gmock.h>

#include "bench/lan/bound.h"
#include "bench/lan/clock.h"
#include "bench/lan/rates.h"
#include "bench/lan/scenario.h"
#include "bench/lan/summary.h"

namespace shardswarm::bench {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

TEST(Clock, TakesTheShortestRoundTrip) {
  // The host is 100 s ahead; the second trip waited 1 s on its way back.
  const std::vector<RoundTrip> trips = {
      {.asked = 0, .there = 100.3, .answered = 0.5},
      {.asked = 1, .there = 101.01, .answered = 2.02},
      {.asked = 3, .there = 103.02, .answered = 3.04},
  };
  const ClockFit fit = fit_clock(trips);
  EXPECT_THAT(fit.offset, DoubleNear(100, 1e-9));
  EXPECT_THAT(fit.error, DoubleNear(0.02, 1e-9));
}

TEST(Clock, ErrsByNoMoreThanItSays) {
  for (const double there : {0.0, 0.25, 0.5, 1.0}) {  // when in the trip the host looked
    const ClockFit fit = fit_clock(std::vector<RoundTrip>{{0, there - 7, 1}});
    EXPECT_LE(std::abs(fit.offset - -7), fit.error + 1e-12) << there;
  }
}

std::vector<CounterSample> samples() {
  return {{.seconds = -1, .counters = {.received = 0, .sent = 5}},
          {.seconds = 0, .counters = {.received = 10, .sent = 5}},
          {.seconds = 0.5, .counters = {.received = 20, .sent = 5}},
          {.seconds = 2, .counters = {.received = 50, .sent = 8}},
          {.seconds = 3, .counters = {.received = 60, .sent = 8}}};
}

TEST(RatesOf, AreDifferencesOverTime) {
  const auto rates = rates_of(samples());
  ASSERT_EQ(rates.size(), 4U);
  EXPECT_EQ(rates[0].seconds, 0);
  EXPECT_EQ(rates[0].received, 10);
  EXPECT_EQ(rates[1].received, 20);
  EXPECT_EQ(rates[2].received, 20);
  EXPECT_EQ(rates[2].sent, 2);
  EXPECT_TRUE(rates_of({}).empty());
  EXPECT_TRUE(rates_of(std::vector<CounterSample>(1)).empty());
  EXPECT_TRUE(rates_of(std::vector<CounterSample>(2)).empty());  // of one moment
}

TEST(RatesOf, KeepsAllBytesWhenThinned) {
  std::vector<CounterSample> many;
  for (std::uint64_t i = 0; i <= 1000; ++i) {
    many.push_back({.seconds = static_cast<double>(i) / 4, .counters = {.received = i * i}});
  }
  for (const std::size_t most : {1UL, 7UL, 240UL, 999UL, 1000UL, 5000UL}) {
    const auto rates = rates_of(many, most);
    EXPECT_LE(rates.size(), most);
    double bytes = 0;
    double last = 0;
    for (const RatePoint& point : rates) {
      bytes += point.received * (point.seconds - last);
      last = point.seconds;
    }
    EXPECT_THAT(bytes, DoubleNear(1e6, 1e-3)) << most;
  }
}

TEST(During, TakesTheSamplesAroundTheRun) {
  const auto inside = during(samples(), 0.1, 1.9);
  ASSERT_EQ(inside.size(), 3U);
  EXPECT_EQ(inside.front().seconds, 0);
  EXPECT_EQ(inside.back().seconds, 2);
  EXPECT_EQ(carried_in(inside).received, 40U);
  EXPECT_EQ(carried_in(inside).sent, 3U);
  EXPECT_EQ(during(samples(), -9, 9).size(), 5U);
  EXPECT_EQ(during(samples(), 0, 0).size(), 1U);
  EXPECT_TRUE(during({}, 0, 1).empty());
  EXPECT_EQ(carried_in({}).received, 0U);
}

BoundNode node(bool source, double up, double down, std::uint64_t wanted, double start = 0) {
  return {.source = source, .up = up, .down = down, .wanted_bytes = wanted, .start_seconds = start};
}

TEST(LowerBound, IsTheLargestOfThree) {
  // 1000 bytes are 8000 bits.
  const auto slow_source =
      lower_bound(std::vector{node(true, 1000, 1000, 0), node(false, 8000, 8000, 1000)}, 1000);
  EXPECT_EQ(slow_source->seconds, 8);
  EXPECT_EQ(slow_source->which, "source uplink");
  const auto slow_downlink =
      lower_bound(std::vector{node(true, 8000, 8000, 0), node(false, 8000, 500, 1000)}, 1000);
  EXPECT_EQ(slow_downlink->seconds, 16);
  EXPECT_EQ(slow_downlink->which, "downlink");
  const auto weak_peers =
      lower_bound(std::vector{node(true, 8000, 8000, 0), node(false, 1, 8000, 1000),
                              node(false, 1, 8000, 1000)},
                  1000);
  EXPECT_THAT(weak_peers->seconds, DoubleNear(16000.0 / 8002, 1e-9));
  EXPECT_EQ(weak_peers->which, "all uplinks");
}

TEST(LowerBound, CountsLateJoinsAndSeveralSources) {
  const auto late =
      lower_bound(std::vector{node(true, 8000, 8000, 0), node(false, 8000, 8000, 1000, 5)}, 1000);
  EXPECT_EQ(late->seconds, 6);
  const auto two = lower_bound(std::vector{node(true, 1000, 1000, 0), node(true, 1000, 1000, 0),
                                           node(false, 8000, 8000, 1000)},
                               1000);
  EXPECT_EQ(two->seconds, 4);
}

TEST(LowerBound, IsUnknownWithoutRates) {
  std::vector nodes{node(true, 8000, 8000, 0), node(false, 8000, 8000, 1000)};
  nodes[1].down.reset();
  EXPECT_FALSE(lower_bound(nodes, 1000));
}

TEST(Median, IsTheMiddle) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(median({7}), 7);
}

RunResult run(const char* tool, std::uint32_t repeat, double seconds,
              Json settings = Json::object()) {
  RunResult run{.tool = tool,
                .settings = std::move(settings),
                .repeat = repeat,
                .warm_up = repeat == 0,
                .makespan_seconds = seconds,
                .bound = Bound{.seconds = 2, .which = "downlink"}};
  run.nodes.push_back({.name = "host-0", .source = true, .cpu_seconds = 100});
  run.nodes.push_back({.name = "host-1", .cpu_seconds = seconds});
  run.nodes.push_back({.name = "host-2", .cpu_seconds = seconds + 2});
  return run;
}

TEST(Summarize, ComparesRunsOfOneRound) {
  std::vector<RunResult> runs = {run("shardswarm", 0, 99), run("shardswarm", 1, 2),
                                 run("rival", 1, 8),       run("shardswarm", 2, 4),
                                 run("rival", 2, 8),       run("shardswarm", 3, 3),
                                 run("rival", 3, 99)};
  runs.back().error = "lost";
  const auto summaries = summarize(runs);
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[0].tool, "shardswarm");
  EXPECT_EQ(summaries[0].runs, 3U);
  EXPECT_EQ(summaries[0].median_makespan_seconds, 3);
  EXPECT_EQ(summaries[0].median_ratio, 1.5);
  EXPECT_EQ(summaries[0].times_shardswarm, 1);
  EXPECT_EQ(summaries[0].median_receiver_cpu_seconds, 4);
  EXPECT_EQ(summaries[1].runs, 2U);
  EXPECT_EQ(summaries[1].times_shardswarm, 3);  // of 8/2 and 8/4
}

TEST(Summarize, TellsSettingsApart) {
  const Json few = {{"queue", 8}};
  const Json many = {{"queue", 500}};
  const std::vector<RunResult> runs = {run("rival", 1, 8, few), run("rival", 1, 6, many)};
  const auto summaries = summarize(runs);
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[1].settings, many);
  EXPECT_FALSE(summaries[1].times_shardswarm);
}

TEST(FastestSettings, LeavesFailedRunsOut) {
  std::vector<RunResult> runs = {run("rival", 0, 8, {{"n", 1}}), run("rival", 0, 6, {{"n", 2}}),
                                 run("rival", 0, 1, {{"n", 3}}), run("other", 0, 1)};
  runs[2].error = "lost";
  EXPECT_EQ(fastest_settings(runs, "rival"), Json({{"n", 2}}));
  EXPECT_FALSE(fastest_settings(runs, "third"));
}

TEST(Plans, HaveTheNodesOfTheirScenario) {
  EXPECT_EQ(plan_of("pair", 8, 0, 0)->nodes.size(), 2U);
  EXPECT_EQ(plan_of("broadcast", 8, 0, 0)->nodes.size(), 8U);
  const auto stages = plan_of("stages", 9, 2, 3);
  ASSERT_EQ(stages->nodes.size(), 7U);
  std::vector<std::string> parts;
  for (const NodePlan& node : stages->nodes) parts.push_back(node.stage);
  EXPECT_THAT(parts, ElementsAre("", "1/2", "2/2", "1/2", "2/2", "1/2", "2/2"));
  const auto lost = plan_of("source-lost", 4, 0, 0);
  EXPECT_TRUE(lost->nodes[0].source && lost->nodes[1].source && !lost->nodes[2].source);
  EXPECT_EQ(lost->nodes[0].happening, Happening::kKill);
  EXPECT_EQ(lost->trigger_node, 2U);
  EXPECT_EQ(plan_of("resume", 2, 0, 0)->nodes[1].happening, Happening::kRestart);
  EXPECT_EQ(plan_of("late-join", 3, 0, 0)->nodes[2].happening, Happening::kStartLate);
}

TEST(Plans, NeedEnoughHosts) {
  EXPECT_FALSE(plan_of("pair", 1, 0, 0));
  EXPECT_FALSE(plan_of("late-join", 2, 0, 0));
  EXPECT_FALSE(plan_of("source-lost", 2, 0, 0));
  EXPECT_FALSE(plan_of("stages", 4, 2, 2));
  EXPECT_FALSE(plan_of("party", 9, 1, 1));
  for (const std::string_view scenario : kScenarios) {
    EXPECT_TRUE(plan_of(scenario, hosts_by_default(scenario, 3, 2), 3, 2)) << scenario;
  }
}

RunResult tried(double seconds, Json settings, std::uint32_t repeat = 0) {
  return {.tool = "curl",
          .settings = std::move(settings),
          .repeat = repeat,
          .warm_up = repeat == 0,
          .makespan_seconds = seconds};
}

TEST(Finalists, AreTheFastestOfEachKindAndThoseAsFast) {
  std::vector<RunResult> runs;
  const std::vector<std::tuple<double, int, bool>> made = {
      {4.0, 1, true},  {4.1, 2, true},   {4.3, 3, true},  {3.0, 4, false},
      {3.1, 5, false}, {3.12, 6, false}, {3.13, 7, false}};
  for (const auto& [seconds, queue, verify] : made) {
    runs.push_back(tried(seconds, {{"queue", queue}, {"verify", verify}}));
  }
  runs.push_back(tried(1, {{"queue", 8}}, 1));  // not of the warm-up
  runs.push_back(tried(1, {{"queue", 9}}));
  runs.back().error = "exit 1";
  std::vector<int> queues;
  for (const Json& settings : finalists(runs, "curl")) queues.push_back(settings.at("queue"));
  EXPECT_THAT(queues, ElementsAre(4, 5, 6, 1, 2));
  EXPECT_TRUE(finalists(runs, "rsync").empty());
}

}  // namespace
}  // namespace shardswarm::bench
