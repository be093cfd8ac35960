#include "node/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardswarm {
namespace {

TEST(Address, ParsesHostsAndBracketedIpv6) {
  const auto v4 = parse_host_port("10.0.0.1:7000");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->host, "10.0.0.1");
  EXPECT_EQ(v4->port, 7000);
  const auto v6 = parse_host_port("[::1]:7000");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "::1");
  const auto any = parse_host_port(":0");
  ASSERT_TRUE(any);
  EXPECT_TRUE(any->host.empty());
}

TEST(Address, RefusesWhatIsNone) {
  for (const char* text : {"", "host", "host:", "host:65536", "host:-1", "host:7x", "::1:7000",
                           "[]:7000", "[::1]7000", "a b:1", "a\n:1", "host:+1"}) {
    const auto parsed = parse_host_port(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::kUsage);
    EXPECT_THAT(parsed.error().message, testing::HasSubstr("HOST:PORT"));
  }
}

TEST(Address, JoinsWhatItParses) {
  for (const char* text : {"10.0.0.1:7000", "[fe80::1]:1", "node7:65535"}) {
    const auto parsed = parse_host_port(text).value();
    EXPECT_EQ(join_host_port(parsed.host, parsed.port), text);
  }
}

TEST(Address, FindsAnAddressOfThisMachine) { EXPECT_FALSE(usable_addresses().empty()); }

}  // namespace
}  // namespace shardswarm
