// Swarms that are larger than a node wants neighbours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swarm/core.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kDegreeHere = 8;
constexpr std::size_t kNodes = 120;

class LargeSwarm : public testing::Test {
 protected:
  LargeSwarm() : model_(make_memory_model(8, 8, 20'000, 1)) {
    swarm_.degree = kDegreeHere;
    swarm_.rate = 20e3;  // a link's: the fetches take long enough to look at the graph meanwhile
    swarm_.add_seed(model_);
  }

  void join() { swarm_.add_fetcher(model_, {}, {swarm_.node(0).name}); }

  // Runs on, and looks at every node's number of neighbours ten times a second.
  void watch(Duration time) {
    const Time end = swarm_.now() + time;
    while (swarm_.now() < end && !all_ended()) {
      swarm_.run_for(milliseconds(100));
      for (std::size_t i = 0; i < joined(); ++i) {
        ASSERT_LE(swarm_.node(i).core->neighbours(), most_neighbours(kDegreeHere)) << i;
      }
    }
  }
  std::size_t joined() { return swarm_.size(); }
  bool all_ended() {
    for (std::size_t i = 1; i < joined(); ++i) {
      if (!swarm_.node(i).gone && !swarm_.node(i).ended) return false;
    }
    return true;
  }
  void expect_all_complete() {
    watch(std::chrono::minutes(10));
    for (std::size_t i = 1; i < joined(); ++i) {
      const auto& node = swarm_.node(i);
      if (node.gone) continue;
      ASSERT_TRUE(node.ended) << i;
      EXPECT_FALSE(node.error) << i << ": " << node.error->message;
      EXPECT_THAT(node.warnings, testing::IsEmpty()) << i;
    }
  }

  // The longest of the shortest paths; nothing if some node cannot be reached from another.
  std::optional<std::size_t> diameter() {
    const auto links = swarm_.links();
    std::size_t longest = 0;
    for (std::size_t i = 0; i < joined(); ++i) {
      if (swarm_.node(i).gone) continue;
      std::map<const VirtualSwarm::Node*, std::size_t> distance{{&swarm_.node(i), 0}};
      std::deque<const VirtualSwarm::Node*> next{&swarm_.node(i)};
      while (!next.empty()) {
        const auto* at = next.front();
        next.pop_front();
        longest = std::max(longest, distance.at(at));
        if (!links.contains(at)) continue;
        for (const auto* other : links.at(at)) {
          if (distance.emplace(other, distance.at(at) + 1).second) next.push_back(other);
        }
      }
      if (distance.size() != living()) return std::nullopt;
    }
    return longest;
  }
  std::size_t living() {
    std::size_t n = 0;
    for (std::size_t i = 0; i < joined(); ++i) n += swarm_.node(i).gone ? 0U : 1U;
    return n;
  }
  // The seed dials nobody, and nobody may leave it but itself.
  void expect_small_world() {
    EXPECT_GE(swarm_.node(0).core->neighbours(), kDegreeHere / 2);
    const auto longest = diameter();
    ASSERT_TRUE(longest) << "the graph has fallen apart";
    EXPECT_LE(*longest, 5U);
    RecordProperty("diameter", static_cast<int>(*longest));
  }
  std::uint32_t dials() {
    std::uint32_t n = 0;
    for (std::size_t i = 0; i < joined(); ++i) n += swarm_.node(i).dialed;
    return n;
  }
  void expect_no_flood() {
    RecordProperty("seed_dialed", static_cast<int>(swarm_.node(0).dialed));
    RecordProperty("dials", static_cast<int>(dials()));
    EXPECT_LE(swarm_.node(0).dialed, 3 * kNodes);
    EXPECT_LE(dials(), 4 * kDegreeHere * kNodes);
  }
  void all_at_once() {
    for (std::size_t i = 1; i < kNodes; ++i) join();
  }

  const MemoryModel model_;
  VirtualSwarm swarm_;
};

TEST_F(LargeSwarm, JoinsAtOnceThroughOneSeed) {
  all_at_once();
  watch(seconds(3));
  expect_small_world();
  for (std::size_t i = 1; i < kNodes; ++i) EXPECT_GE(swarm_.node(i).core->neighbours(), 4U) << i;
  expect_all_complete();
  expect_no_flood();
}

TEST_F(LargeSwarm, JoinsOneAfterTheOther) {
  for (std::size_t i = 1; i < kNodes; ++i) {
    join();
    watch(milliseconds(50));
  }
  watch(seconds(1));
  expect_small_world();
  for (std::size_t i = 1; i < kNodes; ++i) EXPECT_GE(swarm_.node(i).core->neighbours(), 4U) << i;
  expect_all_complete();
  expect_no_flood();
}

TEST_F(LargeSwarm, StaysWholeWhenAThirdLeaves) {
  all_at_once();
  watch(seconds(3));
  for (std::size_t i = 1; i < kNodes; i += 3) swarm_.kill(swarm_.node(i));
  watch(seconds(3));
  expect_small_world();
  expect_all_complete();
}

TEST_F(LargeSwarm, IsAFullMeshUpToTheDegree) {
  for (std::size_t i = 0; i < kDegreeHere; ++i) join();
  watch(seconds(2));
  EXPECT_EQ(diameter(), 1U);
  expect_all_complete();
}

// A node that has neighbours enough for one model begins to fetch another.
class SecondModel : public testing::Test {
 protected:
  static constexpr std::uint32_t kDegreeHere = 2;
  SecondModel() {
    swarm_.degree = kDegreeHere;
    swarm_.rate = 20e3;
  }
  // Whether the fetch of the other model gets on, with whoever has it.
  void expect_second_learned(VirtualSwarm::Node& node) {
    const std::uint32_t woken = node.woken;
    const ModelKey key = swarm_.fetch_too(node, second_, {}, {seed_of_second_.name});
    swarm_.run_for(seconds(20));
    ASSERT_FALSE(node.core->status(node.key).ended) << "the first model needed neighbours no more";
    EXPECT_TRUE(node.core->status(key).learned);
    EXPECT_GT(node.core->status(key).present_bytes, 0U);
    EXPECT_LE(node.core->neighbours(), most_neighbours(kDegreeHere));
    EXPECT_LE(node.woken - woken, 4000U);
  }

  const MemoryModel first_ = make_memory_model(64, 8, 20'000, 1);
  const MemoryModel second_ = make_memory_model(64, 8, 20'000, 2);
  VirtualSwarm swarm_;
  VirtualSwarm::Node& seed_of_second_ = swarm_.add_seed(second_);
};

TEST_F(SecondModel, IsDialedForByANodeWithNeighboursEnough) {
  const std::vector<std::string> seeds{swarm_.add_seed(first_).name, swarm_.add_seed(first_).name};
  auto& node = swarm_.add_fetcher(first_, {}, seeds);
  swarm_.run_for(seconds(5));
  ASSERT_EQ(node.core->neighbours(), kDegreeHere);
  expect_second_learned(node);
}

TEST_F(SecondModel, HasANeighbourOfTheFirstLeftWhereAllPlacesAreTaken) {
  const std::vector<std::string> seeds{swarm_.add_seed(first_).name, swarm_.add_seed(first_).name};
  auto& node = swarm_.add_fetcher(first_, {}, seeds);
  swarm_.run_for(seconds(5));
  // A third seed comes of itself, for something that nobody has.
  const MemoryModel other = make_memory_model(1, 1, 1000, 3);
  (void)swarm_.fetch_too(swarm_.add_seed(first_), other, {}, {node.name});
  swarm_.run_for(seconds(1));
  ASSERT_EQ(node.core->neighbours(), most_neighbours(kDegreeHere));
  expect_second_learned(node);
}

// Four sites of 30 nodes, with or without labels.
class SitesSwarm : public LargeSwarm {
 protected:
  static constexpr std::size_t kSites = 4;
  static std::size_t site_of(std::size_t node) { return node % kSites; }

  void join_sites(bool labelled) {
    for (std::size_t i = 1; i < kNodes; ++i) {
      if (labelled) swarm_.site = "rack" + std::to_string(site_of(i));
      join();
    }
  }
  // Of all connections, those within a site.
  double near_links() {
    std::map<const VirtualSwarm::Node*, std::size_t> number;
    for (std::size_t i = 0; i < kNodes; ++i) number[&swarm_.node(i)] = i;
    std::size_t near = 0;
    std::size_t all = 0;
    for (const auto& [node, others] : swarm_.links()) {
      for (const auto* other : others) {
        ++all;
        near += site_of(number.at(node)) == site_of(number.at(other)) ? 1U : 0U;
      }
    }
    return static_cast<double>(near) / static_cast<double>(all);
  }
  // Of all payload, what came from another site.
  double crossed() {
    std::map<NodeId, std::size_t> number;
    for (std::size_t i = 0; i < kNodes; ++i) {
      number[sha256(std::as_bytes(std::span(swarm_.node(i).name)))] = i;
    }
    double far = 0;
    double all = 0;
    for (std::size_t i = 1; i < kNodes; ++i) {
      for (const auto& [id, tally] : swarm_.node(i).core->tallies(swarm_.node(i).key)) {
        const auto bytes = static_cast<double>(tally.fetched_bytes);
        all += bytes;
        if (site_of(number.at(id)) != site_of(i)) far += bytes;
      }
    }
    return far / all;
  }
};

TEST_F(SitesSwarm, NeighboursAreMostlyNearAndTheGraphIsWhole) {
  join_sites(true);
  watch(seconds(5));
  expect_small_world();
  EXPECT_GE(near_links(), 0.5);
  EXPECT_LE(near_links(), 0.9);
  expect_all_complete();
  EXPECT_LE(crossed(), 0.4);
}

TEST_F(SitesSwarm, WithoutLabelsNothingIsNear) {
  join_sites(false);
  watch(seconds(5));
  EXPECT_LE(near_links(), 0.35);
  expect_all_complete();
  EXPECT_GE(crossed(), 0.6);
}

}  // namespace
}  // namespace shardswarm::test
