#include "node/refusal_log.h"

#include <gtest/gtest.h>

namespace shardswarm {
namespace {

using std::chrono::seconds;

class RefusalLogTest : public testing::Test {
 protected:
  bool warns(std::string_view address, std::string_view reason = "no key") {
    return log_.add(address, reason, true, now_).warn;
  }

  RefusalLog log_;
  Time now_ = seconds(1000);
};

TEST_F(RefusalLogTest, EachHostAndReasonIsWarnedOfOnce) {
  EXPECT_TRUE(warns("10.0.0.1:40000"));
  EXPECT_FALSE(warns("10.0.0.1:40001"));
  EXPECT_TRUE(warns("10.0.0.1:40002", "another key"));
  EXPECT_TRUE(warns("10.0.0.2:40000"));
  EXPECT_TRUE(warns("[fd00::1]:40000"));
  EXPECT_FALSE(warns("[fd00::1]:40001"));
  EXPECT_FALSE(log_.add("10.0.0.3:1", "not a peer", false, now_).warn);
}

// Whoever has a network of IPv6 addresses comes from another one each time.
TEST_F(RefusalLogTest, AnIpv6NetworkIsOneHost) {
  EXPECT_TRUE(warns("[2001:db8:0:7::1]:1"));
  EXPECT_FALSE(warns("[2001:db8:0:7:ffff:ffff:ffff:ffff]:1"));
  EXPECT_TRUE(warns("[2001:db8:0:8::1]:1"));
  EXPECT_TRUE(warns("[fe80::1%eth0]:1"));
  EXPECT_FALSE(warns("[fe80::2%eth0]:1"));
  EXPECT_TRUE(warns("[fe80::2%eth1]:1"));
}

TEST_F(RefusalLogTest, AMinuteHasSoManyWarningsAndThenANumber) {
  const auto host = [](std::size_t i) { return "h" + std::to_string(i) + ":1"; };
  for (std::size_t i = 0; i < RefusalLog::kWarningsPerMinuteMax + 5; ++i) {
    EXPECT_EQ(warns(host(i)), i < RefusalLog::kWarningsPerMinuteMax) << i;
  }
  now_ += seconds(60);
  const auto next = log_.add(host(0), "no key", true, now_);
  EXPECT_FALSE(next.warn);
  EXPECT_EQ(next.more, 5U);
  EXPECT_EQ(log_.add(host(0), "no key", true, now_).more, 0U);
  // What got no warning is news still.
  EXPECT_TRUE(warns(host(RefusalLog::kWarningsPerMinuteMax)));
}

TEST_F(RefusalLogTest, AFloodOfHostsIsForgottenOldestFirst) {
  for (std::size_t i = 0; i <= RefusalLog::kRememberedMax; ++i, now_ += seconds(60)) {
    EXPECT_TRUE(warns("h" + std::to_string(i) + ":1"));
  }
  EXPECT_FALSE(warns("h1:1"));
  EXPECT_TRUE(warns("h0:1"));
}

}  // namespace
}  // namespace shardswarm
