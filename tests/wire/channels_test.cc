#include "wire/channels.h"

#include <gtest/gtest.h>

#include <string>

#include "wire/frame.h"

namespace shardswarm {
namespace {

ModelId model(int number) {
  const std::string text = std::to_string(number);
  return sha256(std::as_bytes(std::span(text)));
}

TEST(Channels, OneModelIsOneChannelWhoeverOpensIt) {
  Channels channels;
  const auto ours = channels.open(model(1));
  EXPECT_TRUE(ours.news);
  EXPECT_EQ(channels.peer_opens(7, model(1)), ours.channel);
  EXPECT_EQ(channels.of_peer_handle(7), ours.channel);
  EXPECT_EQ(channels.model_of(ours.channel), model(1));
  const auto theirs = channels.peer_opens(8, model(2));
  ASSERT_TRUE(theirs);
  EXPECT_NE(*theirs, ours.channel);
  EXPECT_EQ(channels.open(model(2)).channel, *theirs);
}

TEST(Channels, OpeningAgainIsNoNewsUnlessItWasGivenUp) {
  Channels channels;
  const Channel channel = channels.open(model(1)).channel;
  EXPECT_FALSE(channels.open(model(1)).news);
  EXPECT_FALSE(channels.give_up(channel)) << "the peer did not open it: it waits for no answer";
  EXPECT_TRUE(channels.open(model(1)).news);
  ASSERT_TRUE(channels.peer_opens(1, model(1)));
  EXPECT_TRUE(channels.give_up(channel));
  EXPECT_TRUE(channels.declared(channel)) << "frames about it may be on their way";
}

TEST(Channels, ThePeerHasTheModelUntilItSaysOtherwise) {
  Channels channels;
  const Channel channel = channels.open(model(1)).channel;
  EXPECT_FALSE(channels.peer_opened(channel));
  ASSERT_TRUE(channels.peer_opens(1, model(1)));
  EXPECT_TRUE(channels.peer_opened(channel));
  EXPECT_EQ(channels.peer_gives_up(model(1)), channel);
  EXPECT_FALSE(channels.peer_opened(channel));
  ASSERT_TRUE(channels.peer_opens(1, model(1)));  // the same handle again
  EXPECT_TRUE(channels.peer_opened(channel));
}

TEST(Channels, APeerMayNotMixUpItsHandles) {
  Channels channels;
  ASSERT_TRUE(channels.peer_opens(1, model(1)));
  EXPECT_EQ(channels.peer_opens(1, model(2)).error().message,
            "OPEN of handle 1 for a second model");
  EXPECT_EQ(channels.peer_opens(2, model(1)).error().message,
            "OPEN of a model with a second handle, 2");
  EXPECT_EQ(channels.peer_gives_up(model(1)).error().message,
            "UNKNOWN_MODEL for a model that was not opened");
  EXPECT_EQ(channels.of_peer_handle(2), std::nullopt);
}

TEST(Channels, EachSideMayOpenSoMany) {
  Channels channels;
  for (std::uint32_t i = 0; i < limits::kModelsPerConnectionMax; ++i) {
    ASSERT_TRUE(channels.may_open(model(static_cast<int>(i))));
    channels.open(model(static_cast<int>(i)));
    ASSERT_TRUE(channels.peer_opens(static_cast<std::uint16_t>(i + 1), model(static_cast<int>(i))));
  }
  EXPECT_FALSE(channels.may_open(model(-1)));
  EXPECT_TRUE(channels.may_open(model(0)));
  const auto late = channels.peer_opens(5000, model(-1));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().message, "OPEN of more than 1024 models");
}

TEST(Channels, KnowsNoOthers) {
  const Channels channels;
  EXPECT_EQ(channels.model_of(Channel(0)), std::nullopt);
  EXPECT_EQ(channels.model_of(Channel(99)), std::nullopt);
  EXPECT_FALSE(channels.declared(Channel(1)));
  EXPECT_FALSE(channels.peer_opened(Channel(1)));
}

}  // namespace
}  // namespace shardswarm
