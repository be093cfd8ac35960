#include "bench/lan/hosts.h"

#include <gmock/gmock.h>

namespace shardswarm::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Rates, AreANumberAndAUnit) {
  EXPECT_EQ(parse_rate("200mbit"), 200e6);
  EXPECT_EQ(parse_rate("1gbit"), 1e9);
  EXPECT_EQ(parse_rate("1.5gbit"), 1.5e9);
  EXPECT_EQ(parse_rate("64kbit"), 64e3);
  for (const char* text : {"", "200", "mbit", "0mbit", "-1mbit", "200 mbit", "200Mbit", "nangbit",
                           "infgbit", "200mbits"}) {
    EXPECT_FALSE(parse_rate(text)) << text;
  }
}

TEST(HostsFile, HasAHostALine) {
  const auto hosts = parse_hosts(
      "# the source\n"
      "me@node1:2222 name=source rate=10gbit dir=/data\n"
      "\n"
      "  node2\taddress=192.0.2.2 up=1gbit down=2gbit  # slower\r\n"
      "node3");
  ASSERT_TRUE(hosts) << hosts.error().message;
  ASSERT_EQ(hosts->size(), 3U);
  const HostSpec& first = hosts->at(0);
  EXPECT_EQ(first.name, "source");
  EXPECT_EQ(first.target, "me@node1");
  EXPECT_EQ(first.port, 2222);
  EXPECT_EQ(first.directory, "/data");
  EXPECT_EQ(first.up, 10e9);
  EXPECT_EQ(first.down, 10e9);
  EXPECT_EQ(first.reach, Reach::kSsh);
  const HostSpec& second = hosts->at(1);
  EXPECT_EQ(second.name, "node2");
  EXPECT_EQ(second.address, "192.0.2.2");
  EXPECT_EQ(second.port, 0);
  EXPECT_EQ(second.up, 1e9);
  EXPECT_EQ(second.down, 2e9);
  EXPECT_EQ(hosts->at(2).up, std::nullopt);
}

TEST(HostsFile, IsRefusedWithTheLinesNumber) {
  for (const char* line : {"node1 color=red", "node1 rate=fast", "node1 name=", "node1 name",
                           "node1:port", "node1:0", "-oProxyCommand=x", "node0"}) {
    const auto hosts = parse_hosts(std::string("node0\n") + line + "\n");
    ASSERT_FALSE(hosts) << line;
    EXPECT_EQ(hosts.error().code, Errc::kUsage) << line;
    EXPECT_THAT(hosts.error().message, HasSubstr("line 2")) << line;
  }
}

TEST(HostsFile, LeavesColonsOfIpv6Alone) {
  const auto hosts = parse_hosts("me@2001:db8::1");
  ASSERT_TRUE(hosts);
  EXPECT_EQ(hosts->front().target, "me@2001:db8::1");
  EXPECT_EQ(hosts->front().port, 0);
}

TEST(NodeList, ExpandsRanges) {
  const auto expand = [](std::string_view list) { return expand_node_list(list).value(); };
  EXPECT_THAT(expand("login"), ElementsAre("login"));
  EXPECT_THAT(expand("node[01-03,7]"), ElementsAre("node01", "node02", "node03", "node7"));
  EXPECT_THAT(expand("node[8-11]"), ElementsAre("node8", "node9", "node10", "node11"));
  EXPECT_THAT(expand("a1,b[2-3]-ib,c"), ElementsAre("a1", "b2-ib", "b3-ib", "c"));
  EXPECT_THAT(expand("r[1-2]n[1-2]"), ElementsAre("r1n1", "r1n2", "r2n1", "r2n2"));
  EXPECT_THAT(expand("n[099-101]"), ElementsAre("n099", "n100", "n101"));
}

TEST(NodeList, RefusesWhatIsNone) {
  for (const char* list :
       {"", "a,", ",a", "n[1-", "n1]", "n[]", "n[a-b]", "n[3-1]", "n[[1]]", "n[1-2,]", "n[-1]"}) {
    EXPECT_FALSE(expand_node_list(list)) << list;
  }
  const auto many = expand_node_list("n[1-99999999999]");
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().code, Errc::kLimit);
  EXPECT_FALSE(expand_node_list("a[1-1000]b[1-1000]"));
}

TEST(LoopbackHosts, HaveAddressesOfTheirOwn) {
  const auto hosts = loopback_hosts(2);
  ASSERT_EQ(hosts.size(), 2U);
  EXPECT_EQ(hosts[0].address, "127.0.0.1");
  EXPECT_EQ(hosts[1].address, "127.0.0.2");
  EXPECT_EQ(hosts[1].reach, Reach::kHere);
}

}  // namespace
}  // namespace shardswarm::bench
