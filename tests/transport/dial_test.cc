// Real sockets on loopback. Black holes and names are tried in namespaces: tests/e2e.
#include "transport/dial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

namespace shardswarm {
namespace {

using asio::ip::tcp;
using testing::HasSubstr;

class DialTest : public testing::Test {
 protected:
  // Dials, runs until all is done, and returns the latest result.
  const Result<tcp::socket>& dial(const std::string& address, bool loopback_only = false) {
    begin(address, loopback_only);
    return run();
  }
  void begin(const std::string& address, bool loopback_only = false) {
    dial_ = std::make_shared<Dial>(
        io_, congestion_, Dial::Options{.address = address, .loopback_only = loopback_only});
    dial_->start([this](Result<tcp::socket> result) { results_.push_back(std::move(result)); });
  }
  bool has_ipv6() {
    tcp::acceptor any(io_);
    asio::error_code none;
    any.open(tcp::v6(), none);
    if (!none) any.bind({asio::ip::address_v6::loopback(), 0}, none);
    return !none;
  }
  const Result<tcp::socket>& run() {
    io_.restart();
    io_.run();
    return results_.back();
  }
  tcp::acceptor listen(const char* host, std::uint16_t port = 0) {
    tcp::acceptor acceptor(io_);
    const tcp::endpoint endpoint(asio::ip::make_address(host), port);
    acceptor.open(endpoint.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(endpoint);
    acceptor.listen();
    return acceptor;
  }
  static std::string port_of(const tcp::acceptor& acceptor) {
    return ":" + std::to_string(acceptor.local_endpoint().port());
  }

  asio::io_context io_;
  Congestion congestion_ = Congestion::make("system").value();
  std::shared_ptr<Dial> dial_;
  std::vector<Result<tcp::socket>> results_;
};

TEST_F(DialTest, ConnectsToANumber) {
  const auto acceptor = listen("127.0.0.1");
  ASSERT_TRUE(dial("127.0.0.1" + port_of(acceptor)));
  EXPECT_EQ(results_.back()->remote_endpoint(), acceptor.local_endpoint());
  EXPECT_EQ(results_.size(), 1U);
}

TEST_F(DialTest, LocalhostIsTriedInBothFamilies) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6";
  const auto v6 = listen("::1");
  const auto& connected = dial("LOCALHOST" + port_of(v6));
  ASSERT_TRUE(connected) << connected.error().message;
  EXPECT_TRUE(connected->remote_endpoint().address().is_v6());
}

TEST_F(DialTest, SaysWhyEachAddressFailed) {
  std::uint16_t port = 0;
  {
    const auto gone = listen("127.0.0.1");
    port = gone.local_endpoint().port();
  }
  const auto& refused = dial("localhost:" + std::to_string(port));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kUnreachable);
  EXPECT_THAT(refused.error().message, HasSubstr("127.0.0.1: nothing listens there"));
  if (has_ipv6()) {
    EXPECT_THAT(refused.error().message, HasSubstr("; ::1: nothing listens there"));
  }
}

TEST_F(DialTest, WithoutAKeyOtherMachinesAreRefusedWithTheNextStep) {
  const auto& refused = dial("192.0.2.1:7000", true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kRefused);
  for (const char* word : {"192.0.2.1:7000", "key export", "key import", "cluster.key"}) {
    EXPECT_THAT(refused.error().message, HasSubstr(word));
  }
  const auto here = listen("127.0.0.1");
  EXPECT_TRUE(dial("127.0.0.1" + port_of(here), true));
}

TEST_F(DialTest, WhereTheFirstIsNoPeerTheNextIsTried) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6";
  const auto v4 = listen("127.0.0.1");
  const auto v6 = listen("::1", v4.local_endpoint().port());
  ASSERT_TRUE(dial("localhost" + port_of(v4)));
  const auto first = results_.back()->remote_endpoint();
  ASSERT_TRUE(dial_->try_others({Errc::kRefused, "it has another key"}));
  ASSERT_TRUE(run());
  ASSERT_EQ(results_.size(), 2U);
  EXPECT_NE(results_.back()->remote_endpoint(), first);
  // The other one may be the right node, and be restarting.
  EXPECT_FALSE(dial_->try_others({Errc::kUnreachable, "it closed"}));
  EXPECT_EQ(dial_->failure().code, Errc::kUnreachable);
  for (const char* word : {"127.0.0.1: it has another key", "; ::1: it closed"}) {
    EXPECT_THAT(dial_->failure().message, HasSubstr(word));
  }
  EXPECT_FALSE(dial_->try_others({Errc::kRefused, "it has a third key"}));
  EXPECT_EQ(dial_->failure().code, Errc::kRefused);
}

TEST_F(DialTest, ARefusalOfTheOnlyAddressIsARefusal) {
  const auto here = listen("127.0.0.1");
  ASSERT_TRUE(dial("127.0.0.1" + port_of(here)));
  EXPECT_FALSE(dial_->try_others({Errc::kRefused, "it has another key"}));
  EXPECT_EQ(dial_->failure().code, Errc::kRefused);
  EXPECT_EQ(dial_->failure().message, "127.0.0.1" + port_of(here) + ": it has another key");
}

// The timer of the next attempt expires, and then the first attempt connects before the timer's
// handler has run: the handler is called without an error, although the timer was cancelled.
TEST_F(DialTest, ATimerThatExpiredBesideTheWinnerDialsNobodyElse) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6";
  const auto v4 = listen("127.0.0.1");
  const auto v6 = listen("::1", v4.local_endpoint().port());
  begin("localhost" + port_of(v4));
  asio::io_context other;
  asio::steady_timer(other, DialRace::kNextAfter + std::chrono::milliseconds(1)).wait();
  ASSERT_TRUE(run());
  EXPECT_EQ(results_.size(), 1U);
}

TEST_F(DialTest, AnAddressOfOneCableNeedsAnInterface) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6";
  const auto& failed = dial("[fe80::1]:7000");
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("[fe80::1%eth0]"));
}

// Interfaces mean something to link-local addresses; the system ignores them in others.
TEST_F(DialTest, AnInterfaceThatThisMachineHasIsTaken) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6";
  const auto v6 = listen("::1");
  EXPECT_TRUE(dial("[::1%lo]" + port_of(v6)));
}

TEST_F(DialTest, AnInterfaceThatThisMachineDoesNotHaveIsNamed) {
  const auto& failed = dial("[fe80::1%nosuch0]:7000");
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("nosuch0"));
}

TEST_F(DialTest, ANameThatCannotBeIsSaidInPlainWords) {
  // A label has at most 63 bytes: no name server is asked for it.
  const std::string name(64, 'n');
  const auto& failed = dial(name + ":7000");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::kUnreachable);
  EXPECT_THAT(failed.error().message, HasSubstr("cannot resolve " + name));
}

}  // namespace
}  // namespace shardswarm
