#include "swarm/links.h"

#include <gtest/gtest.h>

#include "tests/swarm/greeted_link.h"

namespace shardswarm::test {
namespace {

constexpr Time kLinkedAt = std::chrono::seconds(1000);
constexpr ConnectionId kFirstLink{1};
constexpr ConnectionId kSecondLink{2};

class LinksTest : public testing::Test {
 protected:
  BufferPool buffers_{4, 4};
  Parts parts_{CoreOptions{.hello = hello_of("here")}, buffers_};
  Links& links_ = parts_.context.links;
};

TEST_F(LinksTest, FindsWhatStandsAlone) {
  GreetedLink first(parts_, kFirstLink, "first", kLinkedAt);
  EXPECT_EQ(links_.find(kFirstLink), &first.link);
  EXPECT_EQ(links_.find(kSecondLink), nullptr);
  const auto entry = links_.extract(kFirstLink);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(links_.find(kFirstLink), nullptr);
  EXPECT_EQ(links_.extract(kFirstLink), nullptr);
  EXPECT_TRUE(links_.ready().empty());
}

TEST_F(LinksTest, IsClosedOnce) {
  GreetedLink first(parts_, kFirstLink, "first", kLinkedAt);
  (void)parts_.context.out.take();
  links_.close(first.link, CloseReason::kDone, "enough");
  links_.close(first.link, CloseReason::kOverload, "again");
  EXPECT_EQ(first.link.closed_why, "enough");
  const auto actions = parts_.context.out.take();
  ASSERT_EQ(actions.size(), 1U);
  EXPECT_EQ(std::get<action::CloseConnection>(actions[0]).connection, kFirstLink);
  EXPECT_EQ(first.heard<event::Closed>(), 1U);
}

TEST_F(LinksTest, CountsNeighbours) {
  EXPECT_TRUE(links_.take_neighbours_changed());  // at the start nobody has counted them
  EXPECT_FALSE(links_.take_neighbours_changed());
  {
    GreetedLink first(parts_, kFirstLink, "first", kLinkedAt);
    GreetedLink second(parts_, kSecondLink, "second", kLinkedAt);
    EXPECT_EQ(links_.neighbours(), 2U);
    EXPECT_EQ(links_.near_neighbours(), 2U);
    EXPECT_TRUE(links_.take_neighbours_changed());
    links_.close(first.link, CloseReason::kDone, "");
    EXPECT_EQ(links_.neighbours(), 1U);
    (void)links_.extract(kFirstLink);
    EXPECT_EQ(links_.neighbours(), 1U) << "it was taken off when it closed";
    (void)links_.extract(kSecondLink);
  }
  EXPECT_EQ(links_.neighbours(), 0U);
  EXPECT_EQ(links_.near_neighbours(), 0U);
}

TEST_F(LinksTest, AProtocolErrorClosesAndIsTold) {
  GreetedLink first(parts_, kFirstLink, "first", kLinkedAt);
  (void)parts_.context.out.take();
  links_.protocol_error(first.link, "it lies");
  EXPECT_EQ(first.link.error->code, Errc::kProtocol);
  const auto actions = parts_.context.out.take();
  ASSERT_EQ(actions.size(), 2U);
  EXPECT_TRUE(std::get<action::Log>(actions[0]).warning);
  EXPECT_EQ(std::get<action::Log>(actions[0]).text, "peer first:1 broke the protocol: it lies");
}

TEST_F(LinksTest, AFaultOfOursEndsThatConnectionAlone) {
  GreetedLink first(parts_, kFirstLink, "first", kLinkedAt);
  GreetedLink second(parts_, kSecondLink, "second", kLinkedAt);
  Model& model = parts_.context.models.add(sha256({}), Seeding{});
  // As if a scheduler had chosen a peer that never opened the model.
  EXPECT_EQ(parts_.context.chosen(kFirstLink, model).link, nullptr);
  EXPECT_TRUE(first.link.closing);
  EXPECT_EQ(first.link.error->code, Errc::kInternal);
  EXPECT_EQ(first.link.error->message,
            "our bug: a scheduler chose a peer that does not have the model");
  EXPECT_FALSE(second.link.closing);
  EXPECT_EQ(parts_.context.chosen(kFirstLink, model).link, nullptr) << "it is closing";
}

// Both ends dialed at the same time. Where the connection that this node dialed is the one that
// goes, the address belongs to the other, and is due again when that one ends.
TEST_F(LinksTest, ADuplicateHandsItsAddressToTheConnectionThatStays) {
  // The connection of the smaller node id's dialing stays.
  std::string name = "there";
  while (hello_of(name).node_id > parts_.context.options.hello.node_id) name += "!";
  Neighbourhood& neighbourhood = parts_.neighbourhood;
  neighbourhood.add_node({name + ":1"}, kLinkedAt);
  parts_.context.models.add(sha256({}), Fetching{});
  neighbourhood.dial_due(kLinkedAt);
  ASSERT_EQ(neighbourhood.addresses().dialing(), 1U);
  GreetedLink dialed(parts_, kFirstLink, name, kLinkedAt, true);
  GreetedLink accepted(parts_, kSecondLink, name, kLinkedAt);
  ASSERT_TRUE(dialed.link.closing);
  ASSERT_FALSE(accepted.link.closing);
  const auto end = [&](ConnectionId id) {
    const auto entry = links_.extract(id);
    neighbourhood.removed(entry->second, "closed", kLinkedAt);
  };
  end(kFirstLink);
  EXPECT_EQ(neighbourhood.addresses().next_due(), std::nullopt) << "it is connected";
  end(kSecondLink);
  EXPECT_TRUE(neighbourhood.addresses().next_due()) << "nobody dials it again";
}

}  // namespace
}  // namespace shardswarm::test
