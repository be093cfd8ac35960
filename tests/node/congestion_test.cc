#include "transport/congestion.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>

#include "base/file.h"
#include "node/shardswarm.h"

namespace shardswarm {
namespace {

using asio::ip::make_address;

TEST(LocalNetwork, IsLoopbackLinkLocalAndPrivate) {
  for (const char* here :
       {"127.0.0.1", "127.255.0.9", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255",
        "192.168.0.1", "169.254.7.7", "::1", "fe80::1", "fc00::1", "fdff::2", "::ffff:10.1.2.3"}) {
    EXPECT_TRUE(on_local_network(make_address(here))) << here;
  }
  for (const char* beyond : {"9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0",
                             "192.167.255.255", "192.169.0.0", "100.64.0.1", "8.8.8.8", "0.0.0.0",
                             "2001:db8::1", "fe00::1", "::ffff:8.8.8.8"}) {
    EXPECT_FALSE(on_local_network(make_address(beyond))) << beyond;
  }
}

#ifdef TCP_CONGESTION

class CongestionTest : public testing::Test {
 protected:
  static Fd new_socket() { return Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

  static std::string name_of(const Fd& socket) {
    std::array<char, 16> name{};
    socklen_t length = name.size();
    EXPECT_EQ(::getsockopt(socket.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(), &length), 0);
    return {name.data()};
  }

  // One that is neither the system's nor cubic, if there is one.
  static std::string another() {
    const Fd socket = new_socket();
    for (const std::string name : {"reno", "bbr", "dctcp"}) {
      if (name != systems_ && ::setsockopt(socket.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(),
                                           static_cast<socklen_t>(name.size())) == 0) {
        return name;
      }
    }
    return {};
  }

  static inline const std::string systems_ = name_of(new_socket());
  const asio::ip::address near_ = make_address("10.0.0.1");
  const asio::ip::address far_ = make_address("8.8.8.8");
};

TEST_F(CongestionTest, OnTheLocalNetworkBbrIsReplaced) {
  const auto congestion = Congestion::make("");
  ASSERT_TRUE(congestion) << congestion.error().message;
  const bool bbr = systems_.starts_with("bbr");
  const Fd dialed = new_socket();
  congestion->dialing(dialed.get(), far_);
  EXPECT_EQ(name_of(dialed), systems_);
  congestion->dialing(dialed.get(), near_);
  const std::string near = name_of(dialed);
  if (bbr) {
    EXPECT_TRUE(near == "cubic" || near == "reno") << near;
  } else {
    EXPECT_EQ(near, systems_);
  }
  const Fd listening = new_socket();
  congestion->listening(listening.get());
  EXPECT_EQ(name_of(listening), near);
  congestion->accepted(listening.get(), near_);  // accepted sockets begin with the listener's
  EXPECT_EQ(name_of(listening), near);
  congestion->accepted(listening.get(), far_);
  EXPECT_EQ(name_of(listening), systems_);
}

TEST_F(CongestionTest, TheSystemsIsLeftWhenThatIsSaid) {
  const auto congestion = Congestion::make("system");
  ASSERT_TRUE(congestion);
  const Fd socket = new_socket();
  congestion->listening(socket.get());
  congestion->accepted(socket.get(), near_);
  congestion->dialing(socket.get(), near_);
  EXPECT_EQ(name_of(socket), systems_);
}

TEST_F(CongestionTest, ANamedOneIsForAllPeers) {
  const std::string name = another();
  if (name.empty()) GTEST_SKIP() << "the kernel has only '" << systems_ << "' and cubic";
  const auto congestion = Congestion::make(name);
  ASSERT_TRUE(congestion);
  for (const auto& peer : {near_, far_}) {
    const Fd dialed = new_socket();
    congestion->dialing(dialed.get(), peer);
    EXPECT_EQ(name_of(dialed), name);
    const Fd accepted = new_socket();
    congestion->listening(accepted.get());
    congestion->accepted(accepted.get(), peer);
    EXPECT_EQ(name_of(accepted), name);
  }
}

#endif

TEST(Congestion, OneThatTheKernelDoesNotHaveIsRefused) {
  const auto refused = Congestion::make("teleport");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kUsage);
  EXPECT_NE(refused.error().message.find("teleport"), std::string::npos);
  NodeOptions options;
  options.insecure = true;
  options.congestion_control = "teleport";
  const auto node = Node::start(options);
  ASSERT_FALSE(node);
  EXPECT_EQ(node.error().code, Errc::kUsage);
}

}  // namespace
}  // namespace shardswarm
