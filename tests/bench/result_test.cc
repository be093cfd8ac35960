// What leaves the harness: JSON, the table, commands of tools.
#include "bench/lan/result.h"

#include <gmock/gmock.h>

#include "bench/lan/base64.h"
#include "bench/lan/deploy.h"
#include "bench/lan/describe.h"
#include "bench/lan/report.h"
#include "bench/lan/summary.h"
#include "bench/lan/table.h"
#include "bench/lan/tool.h"

namespace shardswarm::bench {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Measurement measurement() {
  Measurement measurement;
  measurement.origin = {.command = "shardswarm-bench pair --rivals curl",
                        .version = "shardswarm 0.1.0",
                        .started = "2026-11-30T20:13:21Z",
                        .rivals = {{"curl", "curl 7.88.1"}}};
  measurement.scenario = {.name = "pair", .hosts = 2, .rate_bits_per_second = 2e8, .repeats = 1};
  measurement.model = {
      .name = "llama", .id = "00", .bytes = 1000, .files = 5, .tensors = 7, .pieces = 9};
  measurement.hosts = {{.name = "a",
                        .cpus = 2,
                        .memory_bytes = std::uint64_t{24} << 30,
                        .kernel = "6.1",
                        .cpu = "AMD EPYC"},
                       {.name = "b", .cpus = 4}};
  RunResult run{.tool = "shardswarm",
                .repeat = 1,
                .makespan_seconds = 3,
                .bound = Bound{.seconds = 2, .which = "source uplink"},
                .source_copies = 1.25};
  run.nodes = {{.name = "a", .source = true, .sent_bytes = 1250, .cpu_seconds = 0.5},
               {.name = "b",
                .done_seconds = 3,
                .wanted_bytes = 1000,
                .received_bytes = 1250,
                .fetched_from = {{"a", 1250}},
                .duplicate_bytes = 250,
                .cpu_seconds = 1,
                .peak_private_bytes = 3 << 20,
                .rate = {{1, 2, 3}}}};
  RunResult failed{
      .tool = "curl", .settings = {{"connections", 4}}, .repeat = 1, .error = "exit 7: no route"};
  measurement.runs = {run, failed};
  measurement.summary = summarize(measurement.runs);
  return measurement;
}

TEST(ResultJson, SaysAllAndNullsWhatIsNotKnown) {
  const Json json = to_json(measurement());
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["scenario"]["rate_bits_per_second"], 2e8);
  EXPECT_TRUE(json["scenario"]["stages"].is_null());
  EXPECT_EQ(json["scenario"]["transport"], "plain");
  EXPECT_EQ(json["scenario"]["model_bytes"], 1000);
  EXPECT_EQ(json["origin"]["command"], "shardswarm-bench pair --rivals curl");
  EXPECT_EQ(json["origin"]["version"], "shardswarm 0.1.0");
  EXPECT_EQ(json["origin"]["started"], "2026-11-30T20:13:21Z");
  EXPECT_EQ(json["origin"]["rivals"]["curl"], "curl 7.88.1");
  EXPECT_EQ(json["model"]["name"], "llama");
  EXPECT_EQ(json["model"]["pieces"], 9);
  EXPECT_EQ(json["conclusion"], conclusion_of(measurement()));
  EXPECT_EQ(json["hosts"][0]["cpu"], "AMD EPYC");
  EXPECT_EQ(json["hosts"][1]["cpus"], 4);
  const Json& run = json["runs"][0];
  EXPECT_EQ(run["ratio"], 1.5);
  EXPECT_EQ(run["bound"], "source uplink");
  EXPECT_TRUE(run["error"].is_null());
  EXPECT_EQ(run["nodes"][0]["role"], "source");
  EXPECT_TRUE(run["nodes"][0]["done_seconds"].is_null());
  EXPECT_EQ(run["nodes"][1]["fetched_from"]["a"], 1250);
  EXPECT_EQ(run["nodes"][1]["rate"][0]["sent_bytes_per_second"], 3);
  EXPECT_TRUE(json["runs"][1]["ratio"].is_null());
  EXPECT_EQ(json["runs"][1]["error"], "exit 7: no route");
  EXPECT_EQ(json["summary"].size(), 1U);
  EXPECT_EQ(json["summary"][0]["median_receiver_cpu_seconds"], 1);
}

TEST(ResultJson, IsWhatTheReportTakes) {
  const auto page = html_report(to_json(measurement()));
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_THAT(*page, HasSubstr("shardswarm"));
}

TEST(Table, NamesToolsAndWhatFailed) {
  const std::string text = table_of(measurement());
  EXPECT_THAT(text, HasSubstr("pair: 2 hosts, 200 Mbit/s links"));
  EXPECT_THAT(text, HasSubstr("1.500"));
  EXPECT_THAT(text, HasSubstr("run 1 curl (connections 4): FAILED: exit 7: no route"));
}

TEST(Table, SaysHowItWasMadeAndWhatItShows) {
  const std::string text = table_of(measurement());
  for (const char* said : {"command  shardswarm-bench pair --rivals curl\n",
                           "version  shardswarm 0.1.0\n", "started  2026-11-30T20:13:21Z\n",
                           "model    llama: 1000 bytes, 5 files, 7 tensors, 9 pieces\n",
                           "rival    curl: curl 7.88.1\n",
                           "host     a: AMD EPYC, 2 cores, 24.0 GiB memory, Linux 6.1\n"}) {
    EXPECT_THAT(text, HasSubstr(said));
  }
  EXPECT_THAT(text, testing::EndsWith("\n" + conclusion_of(measurement()) + "\n"));
  Measurement alike = measurement();
  alike.hosts[1] = alike.hosts[0];
  alike.hosts[1].name = "b";
  EXPECT_THAT(table_of(alike),
              HasSubstr("hosts    2 with AMD EPYC, 2 cores, 24.0 GiB memory, Linux 6.1\n"));
}

TEST(Base64, ComesBack) {
  for (const std::string& bytes : {std::string(), std::string("a"), std::string("ab"),
                                   std::string("abc"), std::string("\0\xff\n", 3)}) {
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
  }
  EXPECT_EQ(to_base64("ab"), "YWI=");
  EXPECT_FALSE(from_base64("no base64!"));
}

TEST(ShellQuoted, KeepsEveryCharacter) {
  EXPECT_EQ(shell_quoted("a b$c"), "'a b$c'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
}

const Programs kPrograms{.bench = "/p/bench", .shardswarm = "/p/shardswarm", .rivals = "/p/rivals"};
const NodeFiles kFiles{.model = "/d/copy",
                       .state = "/d/state",
                       .directory = "/d",
                       .prepared = "/d/prepared",
                       .manifest = "/d/manifest.json"};
const Meeting kMeeting{.source = "192.0.2.1",
                       .ticket = "swarm:x",
                       .more_sources = {"192.0.2.2"},
                       .fetchers = {"192.0.2.3", "192.0.2.4"}};

TEST(ToolCommands, OfOursTakeNothingFromTheUser) {
  const Command fetch =
      fetch_command(Tool{}, {.engine = "posix"}, kPrograms, kFiles, "192.0.2.9", kMeeting, "1/2");
  EXPECT_THAT(
      fetch.argv,
      ElementsAre("/p/shardswarm", "fetch", "swarm:x", "--to", "/d/copy", "--json", "--linger",
                  "forever", "--no-reuse", "--peer", "192.0.2.2:7700", "--stage", "1/2", "--listen",
                  "192.0.2.9:7700", "--state", "/d/state", "--insecure", "--io", "posix"));
  EXPECT_EQ(fetch.env.at("SHARDSWARM_KEY"), "");
  const Command with_key = fetch_command(Tool{}, {.key_file = "key", .reuse = true}, kPrograms,
                                         kFiles, "192.0.2.9", kMeeting, "");
  EXPECT_THAT(with_key.argv, Contains("/d/key"));
  EXPECT_THAT(with_key.argv, Not(Contains("--insecure")));
  EXPECT_THAT(with_key.argv, Not(Contains("--no-reuse")));
}

TEST(ToolCommands, OfRivalsFollowTheAdaptersContract) {
  const Tool tool{.name = "curl", .settings = {{"n", 4}}};
  EXPECT_THAT(
      seed_command(tool, {}, kPrograms, kFiles, "192.0.2.1").argv,
      ElementsAre("/p/rivals/curl.py", "seed", "--dir", "/d/copy", "--listen", "192.0.2.1",
                  "--state", "/d/state", "--settings", "{\"n\":4}", "--prepared", "/d/prepared"));
  EXPECT_THAT(fetch_command(tool, {}, kPrograms, kFiles, "192.0.2.9", kMeeting, "").argv,
              ElementsAre("/p/rivals/curl.py", "fetch", "--source", "192.0.2.1", "--peers",
                          "192.0.2.2,192.0.2.3,192.0.2.4", "--out", "/d/copy", "--listen",
                          "192.0.2.9", "--manifest", "/d/manifest.json", "--state", "/d/state",
                          "--settings", "{\"n\":4}", "--prepared", "/d/prepared"));
}

TEST(ToolLines, SayReadyAndDone) {
  const Tool rival{.name = "curl"};
  EXPECT_EQ(ready_of(Tool{}, "swarm:abc"), "swarm:abc");
  EXPECT_EQ(ready_of(rival, R"({"event":"ready"})"), "");
  EXPECT_FALSE(ready_of(rival, "listening"));
  EXPECT_FALSE(done_of(Tool{}, R"({"event":"progress"})"));
  EXPECT_FALSE(done_of(Tool{}, "[1]"));
  const auto ours = done_of(
      Tool{},
      R"({"event":"done","wanted_bytes":9,"duplicate_bytes":1,"peak_private_bytes":7,)"
      R"("peers":[{"address":"a:1","fetched_bytes":4},{"address":"b:1","fetched_bytes":5}]})");
  ASSERT_TRUE(ours);
  EXPECT_EQ(ours->wanted_bytes, 9U);
  EXPECT_EQ(ours->duplicate_bytes, 1U);
  EXPECT_EQ(ours->fetched_from->at("b:1"), 5U);
  const auto theirs = done_of(rival, R"({"event":"done","fetched_from":{"a":4},"verified":true})");
  ASSERT_TRUE(theirs);
  EXPECT_TRUE(theirs->verified);
  EXPECT_EQ(theirs->fetched_from->at("a"), 4U);
  EXPECT_FALSE(done_of(rival, R"({"event":"done","fetched_from":null})")->fetched_from);
}

}  // namespace
}  // namespace shardswarm::bench
