#include "scheduler/rarity.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace shardswarm::test {
namespace {

std::vector<std::uint32_t> in_order(const RarityOrder& order) {
  std::vector<std::uint32_t> pieces;
  for (std::size_t i = 0; i < order.size(); ++i) pieces.push_back(order[i].value);
  return pieces;
}

std::vector<std::uint32_t> first_numbers(std::uint32_t count) {
  std::vector<std::uint32_t> pieces(count);
  for (std::uint32_t i = 0; i < count; ++i) pieces[i] = i;
  return pieces;
}

// Every piece of [0, pieces), each held by `holders`.
RarityOrder all_alike(std::uint32_t pieces, std::uint32_t holders, std::uint64_t seed) {
  RarityOrder order(pieces, seed);
  for (std::uint32_t i = 0; i < pieces; ++i) order.insert(PieceIndex(i), holders);
  return order;
}

// A RarityOrder beside the map it stands for.
class Modelled {
 public:
  Modelled(std::uint32_t pieces, std::uint64_t seed)
      : pieces_(pieces), order_(pieces, seed), random_(seed) {}

  void random_step() {
    const PieceIndex piece(static_cast<std::uint32_t>(random_() % pieces_));
    const auto it = holders_.find(piece);
    if (it == holders_.end()) {
      const auto holders = static_cast<std::uint32_t>(random_() % 9);
      order_.insert(piece, holders);
      holders_.emplace(piece, holders);
      return;
    }
    switch (random_() % 5) {
      case 0:
        order_.erase(piece, it->second);
        holders_.erase(it);
        return;
      case 1:
      case 2:
        if (it->second == 0) return;
        order_.one_less(piece, it->second--);
        return;
      default:
        order_.one_more(piece, it->second++);
    }
  }

  void expect_same() const {
    ASSERT_EQ(order_.size(), holders_.size());
    std::set<PieceIndex> seen;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const auto it = holders_.find(order_[i]);
      ASSERT_NE(it, holders_.end()) << "position " << i << " holds piece " << order_[i].value;
      ASSERT_TRUE(seen.insert(order_[i]).second) << "twice: piece " << order_[i].value;
      if (i > 0) {
        ASSERT_LE(holders_.at(order_[i - 1]), it->second) << "position " << i;
      }
    }
    for (std::uint32_t i = 0; i < pieces_; ++i) {
      ASSERT_EQ(order_.contains(PieceIndex(i)), holders_.contains(PieceIndex(i))) << i;
    }
  }

 private:
  std::uint32_t pieces_;
  RarityOrder order_;
  std::map<PieceIndex, std::uint32_t> holders_;
  std::mt19937_64 random_;
};

TEST(Rarity, AgreesWithASortedMapOverRandomChanges) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Modelled modelled(1 + static_cast<std::uint32_t>(seed * 7 % 60), seed);
    for (int step = 0; step < 400; ++step) {
      modelled.random_step();
      ASSERT_NO_FATAL_FAILURE(modelled.expect_same()) << "step " << step;
    }
  }
}

TEST(Rarity, IsEmptyAtFirstAndAfterTheLastErase) {
  RarityOrder order(3, 1);
  EXPECT_EQ(order.size(), 0U);
  EXPECT_FALSE(order.contains(PieceIndex(2)));
  order.insert(PieceIndex(2), 4);
  EXPECT_TRUE(order.contains(PieceIndex(2)));
  order.erase(PieceIndex(2), 4);
  EXPECT_EQ(order.size(), 0U);
  EXPECT_FALSE(order.contains(PieceIndex(2)));
}

TEST(Rarity, PutsARareLatecomerFirst) {
  RarityOrder order = all_alike(10, 5, 1);
  order.erase(PieceIndex(9), 5);
  order.insert(PieceIndex(9), 2);
  EXPECT_EQ(order[0], PieceIndex(9));
}

TEST(Rarity, GivesTheSameOrderForTheSameSeed) {
  EXPECT_EQ(in_order(all_alike(64, 3, 7)), in_order(all_alike(64, 3, 7)));
}

TEST(Rarity, ShufflesTiesBySeed) {
  const auto one = in_order(all_alike(64, 3, 1));
  const auto other = in_order(all_alike(64, 3, 2));
  EXPECT_NE(one, other);
  EXPECT_NE(one, first_numbers(64));
  EXPECT_THAT(one, testing::UnorderedElementsAreArray(first_numbers(64)));
}

// A third full holder announces everything in one ascending HAVE. If that sorted the pieces, every
// node would pull the same ones first.
TEST(Rarity, KeepsTiesShuffledWhenEveryPieceGainsAHolder) {
  std::vector<std::vector<std::uint32_t>> orders;
  for (const std::uint64_t seed : {1U, 2U}) {
    RarityOrder order = all_alike(64, 2, seed);
    for (std::uint32_t i = 0; i < 64; ++i) order.one_more(PieceIndex(i), 2);
    orders.push_back(in_order(order));
  }
  EXPECT_NE(orders[0], orders[1]);
}

// The same when a full holder leaves.
TEST(Rarity, KeepsTiesShuffledWhenEveryPieceLosesAHolder) {
  std::vector<std::vector<std::uint32_t>> orders;
  for (const std::uint64_t seed : {1U, 2U}) {
    RarityOrder order = all_alike(64, 3, seed);
    for (std::uint32_t i = 0; i < 64; ++i) order.one_less(PieceIndex(i), 3);
    orders.push_back(in_order(order));
  }
  EXPECT_NE(orders[0], orders[1]);
}

}  // namespace
}  // namespace shardswarm::test
