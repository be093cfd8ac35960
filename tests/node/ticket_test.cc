#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/shardswarm.h"

namespace shardswarm {
namespace {

const std::string kId(64, 'a');

TEST(Ticket, ParsesWhatItPrints) {
  const Ticket ticket{.id = digest_from_hex(kId).value(), .peers = {"10.0.0.1:7000", "[::1]:1"}};
  EXPECT_EQ(ticket.to_string(), "shardswarm:" + kId + "?peer=10.0.0.1:7000&peer=[::1]:1");
  const auto parsed = Ticket::parse(ticket.to_string());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->id, ticket.id);
  EXPECT_EQ(parsed->peers, ticket.peers);
}

TEST(Ticket, TakesABareId) {
  const auto parsed = Ticket::parse(kId);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->peers.empty());
}

TEST(Ticket, RefusesWhatIsNoneAndShowsHowOneLooks) {
  for (const std::string& text :
       {std::string(), std::string("hello"), "shardswarm:" + kId.substr(1), "magnet:" + kId,
        "shardswarm:" + kId + "?", "shardswarm:" + kId + "?peer=", "shardswarm:" + kId + "?peer=x",
        "shardswarm:" + kId + "?peer=:7000", "shardswarm:" + kId + "?peer=a:0",
        "shardswarm:" + kId + "?peer=a:1&", "shardswarm:" + kId + "?p=a:1"}) {
    const auto parsed = Ticket::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::kUsage) << text;
    EXPECT_THAT(parsed.error().message, testing::HasSubstr("shardswarm:<64 hex digits>")) << text;
  }
}

}  // namespace
}  // namespace shardswarm
