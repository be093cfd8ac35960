#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "node/shardswarm.h"
#include "tests/support/project.h"

namespace shardswarm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kId(64, 'a');

TEST(Ticket, ParsesWhatItPrints) {  // TICKET-1, TICKET-2
  const Ticket ticket{.id = digest_from_hex(kId).value(), .peers = {"10.0.0.1:7000", "[::1]:1"}};
  EXPECT_EQ(ticket.to_string(), "shardswarm://10.0.0.1:7000,%5B::1%5D:1/" + kId);
  const auto parsed = Ticket::parse(ticket.to_string());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->id, ticket.id);
  EXPECT_EQ(parsed->peers, ticket.peers);
}

// What a shell would expand, split or take for an operator.
TEST(Ticket, HasNoCharacterThatAShellTakesForItsOwn) {  // TICKET-4
  const Ticket ticket{.id = digest_from_hex(kId).value(), .peers = {"node7:1", "[fd00::1]:7000"}};
  EXPECT_EQ(ticket.to_string().find_first_of("[]{}()<>|&;?*!$`'\"\\~# \t\n"), std::string::npos);
}

TEST(Ticket, ReadsAndWritesTheVectors) {
  std::ifstream file(test::project_root() / "spec/vectors/tickets.txt");
  int rows = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    const std::size_t tab = line.find('\t');
    ASSERT_NE(tab, std::string::npos) << line;
    const auto parsed = Ticket::parse(line.substr(0, tab));
    EXPECT_EQ(parsed ? parsed->to_string() : "-", line.substr(tab + 1)) << line;
    ++rows;
  }
  EXPECT_GE(rows, 35);
}

TEST(Ticket, TakesABareIdAndNoAddresses) {  // TICKET-2, TICKET-5
  for (const std::string& text : {kId, "shardswarm:" + kId, "shardswarm:///" + kId}) {
    const auto parsed = Ticket::parse(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_TRUE(parsed->peers.empty());
    EXPECT_EQ(to_hex(parsed->id), kId);
  }
}

TEST(Ticket, TakesWhatTheFirstReleasesPrinted) {  // TICKET-5
  const auto parsed =
      Ticket::parse("shardswarm:" + kId + "?peer=10.0.0.1:7000&peer=[fd00::1]:7001");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_THAT(parsed->peers, ElementsAre("10.0.0.1:7000", "[fd00::1]:7001"));
}

TEST(Ticket, APortMayBeLeftOutAndSpaceAroundItDoesNotMatter) {  // TICKET-3, TICKET-4
  const auto parsed = Ticket::parse(" shardswarm://node7,[fd00::1]/" + kId + "\r\n");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_THAT(parsed->peers, ElementsAre("node7:17976", "[fd00::1]:17976"));
}

TEST(Ticket, RefusesWhatIsNoneAndShowsHowOneLooks) {
  std::string many = "shardswarm://a:1";
  for (int i = 0; i < 16; ++i) many += ",a:1";
  for (const std::string& text : {std::string(),
                                  std::string("hello"),
                                  "shardswarm:" + kId.substr(1),
                                  "magnet:" + kId,
                                  "shardswarm:" + kId + "?",
                                  "shardswarm:" + kId + "?peer=",
                                  "shardswarm:" + kId + "?peer=:7000",
                                  "shardswarm:" + kId + "?peer=a:0",
                                  "shardswarm:" + kId + "?peer=a:1&",
                                  "shardswarm:" + kId + "?p=a:1",
                                  "shardswarm://" + kId,
                                  std::string("shardswarm://a:1"),
                                  std::string("shardswarm://a:1/"),
                                  "shardswarm://a:1/" + kId + "/",
                                  "shardswarm://a:1,/" + kId,
                                  "shardswarm://,a:1/" + kId,
                                  "shardswarm://a:0/" + kId,
                                  "shardswarm://0.0.0.0:1/" + kId,
                                  "shardswarm://a:1/" + kId.substr(1) + "g",
                                  "shardswarm://a:1/" + kId + "0",
                                  many + "/" + kId}) {
    const auto parsed = Ticket::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::kUsage) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr("shardswarm://HOST:PORT/<64 hex digits>"))
        << text;
  }
}

TEST(Ticket, WhatIsRefusedIsNotShownAtAnyLength) {
  const auto parsed = Ticket::parse("shardswarm:" + kId + "?p=" + std::string(100'000, 'x'));
  ASSERT_FALSE(parsed);
  EXPECT_LT(parsed.error().message.size(), 500U);
}

TEST(Ticket, APeerIsAnAddressOrATicketOfTheModel) {
  const ModelId id = digest_from_hex(kId).value();
  EXPECT_THAT(peer_addresses("10.0.0.1:7000", id).value(), ElementsAre("10.0.0.1:7000"));
  EXPECT_THAT(peer_addresses("node7", id).value(), ElementsAre("node7:17976"));
  EXPECT_THAT(peer_addresses("[::1]:7000/" + kId, id).value(), ElementsAre("[::1]:7000"));
  EXPECT_THAT(peer_addresses("shardswarm://a:1,b:2/" + kId, id).value(), ElementsAre("a:1", "b:2"));
  EXPECT_THAT(peer_addresses("shardswarm:" + kId + "?peer=a:1", id).value(), ElementsAre("a:1"));
  const std::string other(64, 'b');
  for (const std::string& text : {"a:1/" + other, "shardswarm://a:1/" + other, std::string(),
                                  std::string(":1"), "shardswarm:" + kId, "shardswarm:///" + kId}) {
    const auto peers = peer_addresses(text, id);
    ASSERT_FALSE(peers) << text;
    EXPECT_EQ(peers.error().code, Errc::kUsage);
  }
  EXPECT_THAT(peer_addresses("a:1/" + other, id).error().message, HasSubstr(other));
}

}  // namespace
}  // namespace shardswarm
