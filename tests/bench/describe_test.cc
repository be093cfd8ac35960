#include "bench/lan/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/lan/summary.h"

namespace shardswarm::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

RunResult run(const std::string& tool, double seconds, Json settings = Json::object(),
              std::uint32_t repeat = 1) {
  return {.tool = tool,
          .settings = std::move(settings),
          .repeat = repeat,
          .warm_up = repeat == 0,
          .makespan_seconds = seconds};
}

Measurement measured(const std::string& scenario, std::uint32_t hosts,
                     std::vector<RunResult> runs) {
  Measurement measurement{.scenario = {.name = scenario, .hosts = hosts},
                          .model = {.bytes = 2'230'000'000},
                          .runs = std::move(runs)};
  measurement.summary = summarize(measurement.runs);
  return measurement;
}

TEST(Conclusion, SaysWhatWasMovedAndComparesWithTheBestOfARivalsSettings) {
  Measurement measurement =
      measured("pair", 2,
               {run("libtorrent", 5, {{"queue", 8}}, 0), run("libtorrent", 4, {{"queue", 64}}, 0)});
  for (std::uint32_t repeat = 1; repeat <= 5; ++repeat) {
    measurement.runs.push_back(run("shardswarm", 1.34, Json::object(), repeat));
    measurement.runs.push_back(run("libtorrent", 4.42, {{"queue", 64}}, repeat));
  }
  measurement.summary = summarize(measurement.runs);
  EXPECT_EQ(conclusion_of(measurement),
            "shardswarm brought 2.23 GB from one host to another in 1.34 s, 3.3 times as fast as "
            "libtorrent with the best of 2 settings (median of five rounds).");
}

TEST(Conclusion, DoesNotHideAFasterRival) {
  const std::string text = conclusion_of(
      measured("pair", 2,
               {run("shardswarm", 2), run("rsync", 3, {{"verify", true}}),
                run("curl", 1, {{"verify", false}}), run("aria2", 1.5, {{"verify", false}})}));
  EXPECT_THAT(text, HasSubstr("1.50 times as fast as rsync, and taking 2.00 times as long as curl, "
                              "which verified nothing (one round)."));
  EXPECT_THAT(text, Not(HasSubstr("aria2")));
}

TEST(Conclusion, ComparesWithTheBoundWhereThereIsOne) {
  RunResult ours = run("shardswarm", 12);
  ours.bound = Bound{.seconds = 10, .which = "source uplink"};
  EXPECT_EQ(conclusion_of(measured("broadcast", 8, {ours})),
            "shardswarm brought 2.23 GB from one host to seven others in 12.0 s, 1.20 times the "
            "least time that the links allow (one round).");
}

TEST(Conclusion, EveryScenarioHasItsWords) {
  for (const auto& [scenario, words] :
       {std::pair{"stages", "brought two hosts their pipeline stages of 2.23 GB in 1.00 s"},
        std::pair{"late-join", "two hosts, of which one came when the first had half of it, in 1"},
        std::pair{"source-lost",
                  "one host, although one of two sources was lost at half of it, in"},
        std::pair{"resume", "of which one was killed at half of it and started again, in 1.00 s"},
        std::pair{"reuse", "brought two hosts that hold an older version a new one of 2.23 GB"}}) {
    EXPECT_THAT(conclusion_of(measured(scenario, 3, {run("shardswarm", 1)})), HasSubstr(words));
  }
}

TEST(Conclusion, OfRunsThatFailedSaysThat) {
  RunResult failed = run("shardswarm", 0);
  failed.error = "exit 3";
  EXPECT_EQ(conclusion_of(measured("pair", 2, {failed, run("curl", 1)})),
            "No run of shardswarm came to its end.");
}

TEST(CommandLine, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(command_line(std::vector<std::string>{"bin/shardswarm-bench", "--size=2GiB", "", "a b",
                                                  "$x", "it's"}),
            R"(bin/shardswarm-bench --size=2GiB '' 'a b' '$x' 'it'\''s')");
}

TEST(ModelName, IsTheDirectorysOrTheRepositorysOfAHubCache) {
  EXPECT_EQ(model_name("/models/llama-3"), "llama-3");
  EXPECT_EQ(model_name("models/llama-3/"), "llama-3");
  EXPECT_EQ(model_name("/h/hub/models--org--a--b/snapshots/0123abc"), "org/a--b");
  EXPECT_EQ(model_name("/h/snapshots/0123abc"), "0123abc");
}

}  // namespace
}  // namespace shardswarm::bench
