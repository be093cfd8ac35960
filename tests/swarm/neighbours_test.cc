#include "swarm/neighbours.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardswarm {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr std::uint32_t kDegree = 4;

class WhomToLeave : public testing::Test {
 protected:
  // All that are chosen in 64 tries.
  std::set<std::uint64_t> chosen(const std::vector<Neighbour>& neighbours) {
    std::set<std::uint64_t> all;
    for (int i = 0; i < 64; ++i) {
      if (const auto left = whom_to_leave(neighbours, kDegree, random_)) all.insert(left->value);
    }
    return all;
  }
  std::mt19937_64 random_{1};
};

TEST_F(WhomToLeave, IsNobodyWhoWouldHaveToLookForAnother) {
  EXPECT_THAT(chosen({}), IsEmpty());
  EXPECT_THAT(chosen({{.link = PeerKey(1), .links = kDegree, .age = minutes(1)},
                      {.link = PeerKey(2), .links = 0, .age = minutes(1)}}),
              IsEmpty());
}

TEST_F(WhomToLeave, IsAnyOfThoseWithLinksToSpare) {
  EXPECT_THAT(chosen({{.link = PeerKey(1), .links = kDegree + 1},
                      {.link = PeerKey(2), .links = kDegree},
                      {.link = PeerKey(3), .links = kDegree + 2}}),
              UnorderedElementsAre(1, 3));
}

TEST_F(WhomToLeave, IsNoSeedHoweverManyLinksItHas) {
  const Neighbour seed{.link = PeerKey(1), .seeks = false, .links = 3 * kDegree, .age = minutes(1)};
  EXPECT_THAT(chosen({seed}), IsEmpty());
  EXPECT_THAT(chosen({seed, {.link = PeerKey(2), .links = kDegree + 1}}), UnorderedElementsAre(2));
}

TEST_F(WhomToLeave, IsNotOneWithAPieceUnderWayIfAnotherWillDo) {
  const Neighbour moving{.link = PeerKey(1), .moving = true, .links = kDegree + 1};
  EXPECT_THAT(chosen({moving, {.link = PeerKey(2), .links = kDegree + 1}}),
              UnorderedElementsAre(2));
  EXPECT_THAT(chosen({moving}), UnorderedElementsAre(1));
}

TEST_F(WhomToLeave, IsFirstOneThatIsOfNoUseToEitherSide) {
  const Neighbour spare{.link = PeerKey(1), .links = kDegree + 1, .age = minutes(1)};
  EXPECT_THAT(chosen({spare, {.link = PeerKey(2), .useful = false, .age = kSettled}}),
              UnorderedElementsAre(2));
  // A new one may not have told yet what it is good for.
  EXPECT_THAT(chosen({spare, {.link = PeerKey(2), .useful = false, .age = seconds(1)}}),
              UnorderedElementsAre(1));
}

TEST_F(WhomToLeave, KeepsAQuarterFar) {
  const Neighbour near{.link = PeerKey(1), .links = kDegree + 1};
  const Neighbour far{.link = PeerKey(2), .near = false, .links = kDegree + 1};
  const Neighbour another{.link = PeerKey(3), .near = false, .links = kDegree + 1};
  EXPECT_THAT(chosen({near, far}), UnorderedElementsAre(1));
  EXPECT_THAT(chosen({near, far, another}), UnorderedElementsAre(2, 3));
  EXPECT_THAT(chosen({far}), UnorderedElementsAre(2));
}

PeerAddress node_number(std::uint32_t i) {
  return {.id = sha256(std::as_bytes(std::span(&i, 1))),
          .address = "10.0.0.1:" + std::to_string(i),
          .connected = true};
}

TEST(Acquaintances, AreSampledAtRandom) {
  Acquaintances met;
  for (std::uint32_t i = 0; i < 100; ++i) met.met(node_number(i), Time(0));
  std::mt19937_64 random(1);
  std::set<std::string> told;
  for (int i = 0; i < 100; ++i) {
    const auto sample = met.sample(10, {}, Time(0), random);
    ASSERT_THAT(sample, SizeIs(10));
    for (const PeerAddress& node : sample) {
      EXPECT_FALSE(node.connected);
      told.insert(node.address);
    }
  }
  EXPECT_THAT(told, SizeIs(100));
}

TEST(Acquaintances, AreToldOnceEachAndNotWhenLeftOut) {
  Acquaintances met;
  met.met(node_number(1), Time(0));
  met.met(node_number(1), Time(0));
  met.met(node_number(2), Time(0));
  std::mt19937_64 random(1);
  EXPECT_THAT(met.sample(10, {}, Time(0), random), SizeIs(2));
  EXPECT_THAT(met.sample(10, {node_number(2).id}, Time(0), random), SizeIs(1));
}

TEST(Acquaintances, AreForgottenInTimeAndBounded) {
  Acquaintances met;
  for (std::uint32_t i = 0; i < 1000; ++i) met.met(node_number(i), Time(0));
  std::mt19937_64 random(1);
  EXPECT_THAT(met.sample(1000, {}, Time(0), random), SizeIs(256));
  EXPECT_THAT(met.sample(1000, {}, minutes(5), random), IsEmpty());
}

}  // namespace
}  // namespace shardswarm
