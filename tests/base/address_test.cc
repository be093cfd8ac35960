#include "base/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

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
                           "[]:7000", "[::1]7000", "a b:1", "a\n:1", "host:+1", "[::1", "[host]:1",
                           "[::1]:", "a,b:1", "a/b:1", "a?b:1", "[::1]:1]:1"}) {
    const auto parsed = parse_host_port(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::kUsage);
    EXPECT_THAT(parsed.error().message, testing::HasSubstr("HOST:PORT"));
  }
}

// Whoever advertises an address has it printed in a command that others paste into shells.
TEST(Address, AHostHasNoCharacterThatAShellObeys) {
  for (char c = ' '; c < 0x7f; ++c) {
    const bool letter_or_digit = std::isalnum(static_cast<unsigned char>(c)) != 0;
    const std::string name = std::string("x") + c + "y:7000";
    const bool in_names = letter_or_digit || std::string_view(".-_").find(c) != std::string::npos;
    // With a colon "y:7000" would be the port.
    EXPECT_EQ(parse_host_port(name).has_value(), in_names) << name;
    const std::string v6 = std::string("[fe80::1") + c + "y]:7000";
    const bool in_brackets = in_names || c == ':' || c == '%';
    EXPECT_EQ(parse_dialable(v6).has_value(), in_brackets) << v6;
  }
}

TEST(Address, AKeyInPlaceOfAnAddressIsNotShown) {
  for (const char* text : {"shardswarm-key:U0VDUkVU", "-----BEGIN PRIVATE KEY-----U0VDUkVU"}) {
    const auto parsed = parse_dialable(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().message, testing::Not(testing::HasSubstr("U0VDUkVU")));
    EXPECT_THAT(parsed.error().message, testing::HasSubstr("not shown"));
  }
}

TEST(Address, WhatIsRefusedIsShownWithoutEscapesAndNotAtAnyLength) {
  const auto hostile = parse_host_port("\x1b]52;c;cm0gLXJmIC8=\a");
  ASSERT_FALSE(hostile);
  EXPECT_EQ(hostile.error().message.find('\x1b'), std::string::npos);
  const auto longest = parse_host_port(std::string(100'000, 'x') + ":1");
  ASSERT_FALSE(longest);
  EXPECT_LT(longest.error().message.size(), 400U);
}

TEST(Address, ATypedAddressMayLackItsPort) {
  EXPECT_EQ(parse_typed_address("node7")->host, "node7");
  EXPECT_EQ(parse_typed_address("node7")->port, std::nullopt);
  EXPECT_EQ(parse_typed_address("[fd00::1]")->host, "fd00::1");
  EXPECT_EQ(parse_typed_address("[fd00::1]")->port, std::nullopt);
  EXPECT_EQ(parse_typed_address(":7000")->port, 7000);
  EXPECT_EQ(parse_typed_address("%5Bfd00::1%5d:7000")->host, "fd00::1");
  EXPECT_EQ(parse_typed_address("[fe80::1%eth0]:7000")->host, "fe80::1%eth0");
  // Which colon would be the port's?
  const auto bare = parse_typed_address("fd00::1");
  ASSERT_FALSE(bare);
  EXPECT_THAT(bare.error().message, testing::HasSubstr("brackets"));
}

TEST(Address, ADialableOneHasAHostAndAPort) {
  EXPECT_EQ(parse_dialable("node7").value(), "node7:17976");
  EXPECT_EQ(parse_dialable("[fd00::1]").value(), "[fd00::1]:17976");
  EXPECT_EQ(parse_dialable("%5Bfd00::1%5D:1").value(), "[fd00::1]:1");
  EXPECT_EQ(parse_dialable("169.254.7.7:1").value(), "169.254.7.7:1");
  for (const char* text :
       {":7000", "a:0", "0.0.0.0:1", "0:1", "[::]:1", "[::ffff:0.0.0.0]:1", "[0:0:0:0:0:0:0:0]:1",
        "224.0.0.1:1", "239.1.2.3:1", "255.255.255.255:1", "[ff02::1]:1"}) {
    const auto parsed = parse_dialable(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::kUsage);
  }
}

TEST(Address, KnowsWhereHostsAre) {
  EXPECT_EQ(kind_of_host("LocalHost."), HostKind::kLoopback);
  EXPECT_EQ(kind_of_host("127.0.1.1"), HostKind::kLoopback);
  EXPECT_EQ(kind_of_host("::1"), HostKind::kLoopback);
  EXPECT_EQ(kind_of_host("::ffff:127.0.0.1"), HostKind::kLoopback);
  EXPECT_EQ(kind_of_host("fe80::1%eth0"), HostKind::kLinkLocal);
  EXPECT_EQ(kind_of_host("10.0.0.1"), HostKind::kUnicast);
  EXPECT_EQ(kind_of_host("fd00::1"), HostKind::kUnicast);
  EXPECT_EQ(kind_of_host("localhost.example"), HostKind::kName);
  EXPECT_EQ(kind_of_host("node7"), HostKind::kName);
}

TEST(Address, JoinsWhatItParses) {
  for (const char* text : {"10.0.0.1:7000", "[fe80::1]:1", "node7:65535"}) {
    const auto parsed = parse_host_port(text).value();
    EXPECT_EQ(join_host_port(parsed.host, parsed.port), text);
  }
}

TEST(Address, KnowsTheNetworkOfAnIpv6Address) {
  EXPECT_EQ(network_of("[2001:db8:0:7:1:2:3:4]"), "2001:db8:0:7::/64");
  EXPECT_EQ(network_of("[fe80::1%eth0]"), "fe80::/64%eth0");
  EXPECT_EQ(network_of("10.0.0.1"), "10.0.0.1");
  EXPECT_EQ(network_of("[nonsense]"), "[nonsense]");
}

}  // namespace
}  // namespace shardswarm
