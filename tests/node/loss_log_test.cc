#include "node/loss_log.h"

#include <gtest/gtest.h>

namespace shardswarm::test {
namespace {

TEST(LossLog, WarnsOfAFileOnceAMinute) {
  LossLog log;
  const Time start = std::chrono::seconds(1000);
  EXPECT_TRUE(log.add(ModelKey(1), FileIndex(1), start));
  EXPECT_FALSE(log.add(ModelKey(1), FileIndex(1), start + std::chrono::seconds(59)));
  EXPECT_TRUE(log.add(ModelKey(1), FileIndex(2), start));
  EXPECT_TRUE(log.add(ModelKey(2), FileIndex(1), start));
  EXPECT_TRUE(log.add(ModelKey(1), FileIndex(1), start + std::chrono::seconds(60)));
}

}  // namespace
}  // namespace shardswarm::test
