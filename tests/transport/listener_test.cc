// Real sockets on loopback. What needs other addresses is tried in namespaces: tests/e2e.
#include "transport/listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/address.h"

namespace shardswarm {
namespace {

using asio::ip::tcp;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class ListenerTest : public testing::Test {
 protected:
  Result<Listener> open(Listener::Options options) {
    return Listener::open(io_, options, congestion_);
  }
  void expect_error(Errc code, const Listener::Options& options, const std::string& word) {
    const auto listener = open(options);
    ASSERT_FALSE(listener) << word;
    EXPECT_EQ(listener.error().code, code) << listener.error().message;
    EXPECT_THAT(listener.error().message, HasSubstr(word));
  }
  // This machine may have no IPv6.
  bool accepts_v6(std::uint16_t port) {
    tcp::acceptor any(io_);
    asio::error_code none;
    any.open(tcp::v6(), none);
    if (!none) any.bind({asio::ip::address_v6::loopback(), 0}, none);
    return none || accepts("::1", port);
  }
  bool accepts(const char* host, std::uint16_t port) {
    tcp::socket socket(io_);
    asio::error_code ec;
    socket.connect({asio::ip::make_address(host), port}, ec);
    return !ec;
  }

  asio::io_context io_;
  Congestion congestion_ = Congestion::make("system").value();
};

TEST_F(ListenerTest, WithoutAKeyItListensOnLoopbackOfBothFamilies) {
  const auto listener = open({.listen = ":0", .loopback_only = true});
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_TRUE(accepts("127.0.0.1", listener->port()));
  EXPECT_TRUE(accepts_v6(listener->port()));
  EXPECT_THAT(listener->addresses(),
              testing::ElementsAre("127.0.0.1:" + std::to_string(listener->port())));
  EXPECT_THAT(listener->notes(), testing::ElementsAre(HasSubstr("without a cluster key")));
}

TEST_F(ListenerTest, LocalhostIsBothFamiliesWhateverTheHostsFileSays) {
  const auto listener = open({.listen = "localhost:0"});
  ASSERT_TRUE(listener);
  EXPECT_TRUE(accepts("127.0.0.1", listener->port()));
  EXPECT_TRUE(accepts_v6(listener->port()));
  EXPECT_THAT(listener->notes(), testing::ElementsAre(HasSubstr("loopback")));
}

TEST_F(ListenerTest, WithAKeyItListensEverywhere) {
  const auto listener = open({.listen = ":0"});
  ASSERT_TRUE(listener);
  EXPECT_TRUE(accepts("127.0.0.1", listener->port()));
  EXPECT_TRUE(accepts_v6(listener->port()));
  for (const std::string& one : listener->addresses()) EXPECT_TRUE(parse_dialable(one)) << one;
}

TEST_F(ListenerTest, AnExactPortThatIsTakenIsNamed) {
  const auto first = open({.listen = "127.0.0.1:0"});
  ASSERT_TRUE(first);
  const std::string where = "127.0.0.1:" + std::to_string(first->port());
  const auto second = open({.listen = where});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kIo);
  EXPECT_THAT(second.error().message, HasSubstr(where));
  EXPECT_THAT(second.error().message, HasSubstr("in use"));
}

TEST_F(ListenerTest, WithoutAPortTheUsualOnesAreTakenInOrder) {
  // This test's own: tests that run at the same time listen on the usual ports of all addresses.
  const Listener::Options usual{.listen = "127.77.1.9", .first_port = 17941, .last_port = 17944};
  std::vector<Listener> taken;
  for (std::uint16_t port = usual.first_port; port <= usual.last_port; ++port) {
    auto listener = open(usual);
    ASSERT_TRUE(listener) << listener.error().message;
    EXPECT_EQ(listener->port(), port);
    const auto note = Contains(HasSubstr("listens on port " + std::to_string(port)));
    EXPECT_EQ(port != usual.first_port, testing::Value(listener->notes(), note));
    taken.push_back(std::move(*listener));
  }
  const auto beyond = open(usual);
  ASSERT_TRUE(beyond) << beyond.error().message;
  EXPECT_GT(beyond->port(), usual.last_port);
  const Listener::Options none{};
  EXPECT_EQ(none.first_port, kDefaultPort);
  EXPECT_EQ(none.last_port, kDefaultPortLast);
}

TEST_F(ListenerTest, ANodeThatOnlyFetchesLeavesTheFirstPortToSeeds) {
  const auto fetch = open({.listen = "127.77.1.10", .leave_default_port = true});
  ASSERT_TRUE(fetch);
  EXPECT_GT(fetch->port(), kDefaultPort);
}

TEST_F(ListenerTest, WhatCannotBeListenedOnIsSaid) {
  expect_error(Errc::kUsage, {.listen = "224.0.0.1:7000"}, "multicast");
  expect_error(Errc::kUsage, {.listen = "255.255.255.255:7000"}, "broadcast");
  expect_error(Errc::kUsage, {.listen = "[ff02::1]:7000"}, "multicast");
  expect_error(Errc::kUsage, {.listen = "fd00::1"}, "brackets");
  expect_error(Errc::kRefused, {.listen = "0.0.0.0:0", .loopback_only = true}, "--insecure");
  expect_error(Errc::kRefused, {.listen = "[::]:0", .loopback_only = true}, "shardswarm key");
  const auto elsewhere = open({.listen = "192.0.2.1:7000"});
  ASSERT_FALSE(elsewhere);
  EXPECT_EQ(elsewhere.error().code, Errc::kIo);
  EXPECT_THAT(elsewhere.error().message, HasSubstr("not an address of this machine"));
}

TEST_F(ListenerTest, AdvertisedAddressesGetTheBoundPort) {
  const auto listener = open({.listen = "127.0.0.1:0", .advertise = {"node7", "192.0.2.7:7000"}});
  ASSERT_TRUE(listener);
  EXPECT_THAT(listener->addresses(),
              testing::ElementsAre("node7:" + std::to_string(listener->port()), "192.0.2.7:7000"));
  EXPECT_THAT(listener->notes(), IsEmpty());
}

TEST_F(ListenerTest, WhatNobodyCanDialIsNotAdvertised) {
  for (const char* text : {"", "a:0", ":7000", "0.0.0.0", "0.0.0.0:7000", "[::]:7000", "[::]",
                           "255.255.255.255:1", "239.0.0.1:1", "[fe80::1%eth0]:1", "[fe80::1]",
                           "x;reboot", "a b:1", "a:65536", "http://a:1"}) {
    expect_error(Errc::kUsage, {.listen = "127.0.0.1:0", .advertise = {text}}, "cannot advertise");
  }
  expect_error(Errc::kUsage, {.advertise = {std::string(254, 'a')}}, "bytes");
  expect_error(Errc::kUsage, {.advertise = {std::string(5000, 'a') + ":1"}}, "longer");
  expect_error(Errc::kUsage, {.advertise = std::vector<std::string>(17, "a:1")}, "at most 16");
}

}  // namespace
}  // namespace shardswarm
