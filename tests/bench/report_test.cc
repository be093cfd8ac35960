#include "bench/lan/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardswarm::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

Json node(const char* name, const char* role) {
  return {
      {"name", name},
      {"role", role},
      {"start_seconds", 0.0},
      {"done_seconds", 2.5},
      {"wanted_bytes", 1048576},
      {"received_bytes", 1048576},
      {"sent_bytes", 0},
      {"fetched_from", {{"host-0", 1048576}}},
      {"duplicate_bytes", nullptr},
      {"cpu_seconds", 0.25},
      {"peak_private_bytes", nullptr},
      {"peak_resident_bytes", 3145728},
      {"disk_written_bytes", nullptr},
      {"rate", {{{"t", 0.5}, {"received_bytes_per_second", 1e6}, {"sent_bytes_per_second", 0.0}}}}};
}

Json run(const char* tool, double makespan) {
  return {{"tool", tool},
          {"settings", Json::object()},
          {"repeat", 1},
          {"warm_up", false},
          {"error", nullptr},
          {"makespan_seconds", makespan},
          {"bound_seconds", nullptr},
          {"bound", nullptr},
          {"ratio", nullptr},
          {"source_copies", nullptr},
          {"nodes", {node("host-0", "source"), node("host-1", "fetcher")}}};
}

Json result() {
  return {{"schema", 1},
          {"scenario",
           {{"name", "pair"},
            {"hosts", 2},
            {"stages", nullptr},
            {"replicas", nullptr},
            {"rate_bits_per_second", nullptr},
            {"model_bytes", 1048576},
            {"transport", "plain"},
            {"engine", "auto"},
            {"repeats", 1}}},
          {"hosts",
           {{{"name", "host-0"},
             {"cpus", 2},
             {"memory_bytes", 1048576},
             {"kernel", "6.1"},
             {"clock_offset_seconds", 0.0},
             {"clock_error_seconds", 0.0}}}},
          {"runs", {run("shardswarm", 2.5)}},
          {"summary",
           {{{"tool", "shardswarm"},
             {"settings", Json::object()},
             {"runs", 1},
             {"median_makespan_seconds", 2.5},
             {"median_ratio", nullptr},
             {"median_receiver_cpu_seconds", 0.25},
             {"times_shardswarm", 1.0}}}}};
}

TEST(Report, FiguresCarryTheirRawValueAndTheirPlace) {
  const auto page = html_report(result());
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_THAT(*page,
              HasSubstr(R"(data-path="/summary/0/median_makespan_seconds" data-value="2.5")"));
  EXPECT_THAT(*page,
              HasSubstr(R"(data-path="/runs/0/nodes/1/fetched_from/host-0" data-value="1048576")"));
}

TEST(Report, WhatIsNotKnownIsADash) {
  const auto page = html_report(result());
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_THAT(*page, Not(HasSubstr("null")));
  EXPECT_THAT(*page, Not(HasSubstr("nan")));
}

TEST(Report, NoTextOfTheResultIsMarkup) {
  const std::string hostile = R"("><script>alert('1')</script>&)";
  Json with = result();
  with["scenario"]["name"] = hostile;
  with["scenario"]["engine"] = hostile;
  with["hosts"][0]["name"] = hostile;
  with["hosts"][0]["kernel"] = hostile;
  with["runs"][0]["tool"] = hostile;
  with["summary"][0]["tool"] = hostile;
  with["runs"][0]["settings"] = {{hostile, hostile}};
  with["summary"][0]["settings"] = {{hostile, hostile}};
  with["runs"][0]["bound"] = hostile;
  for (Json& one : with["runs"][0]["nodes"]) one["name"] = hostile;
  with["runs"][0]["nodes"][1]["fetched_from"] = {{hostile, 1}};
  with["runs"].push_back(run(hostile.c_str(), 1));
  with["runs"][1]["error"] = hostile;
  const auto page = html_report(with);
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_THAT(*page, Not(HasSubstr("<script")));
  EXPECT_THAT(*page, HasSubstr("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"));
}

TEST(Report, RunsThatFailedAreSaid) {
  Json with = result();
  with["runs"].push_back(run("rsync", 1));
  with["runs"][1]["error"] = "connection reset";
  with["runs"][1]["makespan_seconds"] = nullptr;
  const auto page = html_report(with);
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_THAT(*page, HasSubstr("connection reset"));
}

TEST(Report, WithoutAGoodRunThereIsStillAPage) {
  Json with = result();
  with["runs"][0]["error"] = "connection reset";
  EXPECT_TRUE(html_report(with));
  with["runs"] = Json::array();
  with["summary"] = Json::array();
  EXPECT_TRUE(html_report(with));
}

TEST(Report, WhatIsNotAResultIsRefused) {
  EXPECT_EQ(html_report(Json::array()).error().code, Errc::kMalformed);
  Json with = result();
  with["schema"] = 2;
  EXPECT_EQ(html_report(with).error().code, Errc::kVersion);
  with = result();
  with["runs"][0]["nodes"][1].erase("cpu_seconds");
  EXPECT_EQ(html_report(with).error().code, Errc::kMalformed);
  with = result();
  with["scenario"]["model_bytes"] = "many";
  EXPECT_EQ(html_report(with).error().code, Errc::kMalformed);
}

}  // namespace
}  // namespace shardswarm::bench
