#include "transport/interfaces.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "base/address.h"

namespace shardswarm {
namespace {

TEST(Interfaces, ManyAddressesOfOneFamilyDoNotPushOutTheOther) {
  const auto list = [](const char* text, std::size_t n) {
    return std::vector<std::string>(n, text);
  };
  const auto count = [&](std::size_t v4, std::size_t v6) {
    const auto some = some_of_both(list("4", v4), list("6", v6));
    EXPECT_TRUE(std::ranges::is_sorted(some));
    return std::pair(std::ranges::count(some, "4"), std::ranges::count(some, "6"));
  };
  EXPECT_EQ(count(2, 3), std::pair(2L, 3L));
  EXPECT_EQ(count(40, 3), std::pair(13L, 3L));
  EXPECT_EQ(count(3, 40), std::pair(3L, 13L));
  EXPECT_EQ(count(40, 40), std::pair(8L, 8L));
  EXPECT_EQ(count(0, 40), std::pair(0L, 16L));
}

TEST(Interfaces, FindsAnAddressOfThisMachine) {
  const auto found = usable_addresses();
  EXPECT_FALSE(found.empty());
  EXPECT_LE(found.size(), kAddressesMax);
  for (const std::string& host : found) EXPECT_NE(kind_of_host(host), HostKind::kLinkLocal);
}

}  // namespace
}  // namespace shardswarm
