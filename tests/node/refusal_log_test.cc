#include "node/refusal_log.h"

#include <gtest/gtest.h>

namespace shardswarm {
namespace {

TEST(RefusalLog, EachHostAndReasonIsNewOnce) {
  RefusalLog log;
  EXPECT_TRUE(log.is_new("10.0.0.1:40000", "no key"));
  EXPECT_FALSE(log.is_new("10.0.0.1:40001", "no key"));
  EXPECT_TRUE(log.is_new("10.0.0.1:40002", "another key"));
  EXPECT_TRUE(log.is_new("[fd00::1]:40000", "no key"));
  EXPECT_FALSE(log.is_new("[fd00::1]:40001", "no key"));
}

TEST(RefusalLog, AFloodOfHostsIsForgottenOldestFirst) {
  RefusalLog log;
  for (std::size_t i = 0; i <= RefusalLog::kRememberedMax; ++i) {
    EXPECT_TRUE(log.is_new("h" + std::to_string(i) + ":1", "no key"));
  }
  EXPECT_FALSE(log.is_new("h1:1", "no key"));
  EXPECT_TRUE(log.is_new("h0:1", "no key"));
}

}  // namespace
}  // namespace shardswarm
