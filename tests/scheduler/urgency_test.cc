#include "scheduler/urgency.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace shardswarm::test {
namespace {

std::vector<std::uint32_t> in_order(const UrgencyOrder& order) {
  std::vector<std::uint32_t> pieces;
  order.find([&](PieceIndex piece) {
    pieces.push_back(piece.value);
    return false;
  });
  return pieces;
}

std::vector<std::uint32_t> first_numbers(std::uint32_t count) {
  std::vector<std::uint32_t> pieces(count);
  for (std::uint32_t i = 0; i < count; ++i) pieces[i] = i;
  return pieces;
}

// Every piece of [0, pieces), each of the same level.
UrgencyOrder all_alike(std::uint32_t pieces, std::uint32_t level, std::uint64_t seed) {
  UrgencyOrder order(pieces, seed);
  for (std::uint32_t i = 0; i < pieces; ++i) order.insert(PieceIndex(i), level);
  return order;
}

// A UrgencyOrder beside the map it stands for.
class Modelled {
 public:
  Modelled(std::uint32_t pieces, std::uint64_t seed)
      : pieces_(pieces), order_(pieces, seed), random_(seed) {}

  void random_step() {
    const PieceIndex piece(static_cast<std::uint32_t>(random_() % pieces_));
    const auto it = levels_of_.find(piece);
    if (it == levels_of_.end()) {
      const auto level = static_cast<std::uint32_t>(random_() % 9);
      order_.insert(piece, level);
      levels_of_.emplace(piece, level);
      return;
    }
    if (random_() % 5 == 0) {
      order_.erase(piece);
      levels_of_.erase(it);
      return;
    }
    it->second = static_cast<std::uint32_t>(random_() % 9);
    order_.move(piece, it->second);
  }

  void expect_same() const {
    ASSERT_EQ(order_.size(), levels_of_.size());
    const auto listed = in_order(order_);
    ASSERT_EQ(listed.size(), levels_of_.size());
    std::set<std::uint32_t> seen;
    for (std::size_t i = 0; i < listed.size(); ++i) {
      const PieceIndex piece(listed[i]);
      ASSERT_TRUE(levels_of_.contains(piece)) << "position " << i << " holds piece " << listed[i];
      ASSERT_TRUE(seen.insert(listed[i]).second) << "twice: piece " << listed[i];
      if (i == 0) continue;
      const PieceIndex previous(listed[i - 1]);
      ASSERT_LE(levels_of_.at(previous), levels_of_.at(piece)) << "position " << i;
      ASSERT_TRUE(order_.before(previous, piece)) << "position " << i;
    }
    for (std::uint32_t i = 0; i < pieces_; ++i) {
      ASSERT_EQ(order_.contains(PieceIndex(i)), levels_of_.contains(PieceIndex(i))) << i;
    }
  }

 private:
  std::uint32_t pieces_;
  UrgencyOrder order_;
  std::map<PieceIndex, std::uint32_t> levels_of_;
  std::mt19937_64 random_;
};

TEST(Urgency, AgreesWithASortedMapOverRandomChanges) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Modelled modelled(1 + static_cast<std::uint32_t>(seed * 7 % 60), seed);
    for (int step = 0; step < 400; ++step) {
      modelled.random_step();
      ASSERT_NO_FATAL_FAILURE(modelled.expect_same()) << "step " << step;
    }
  }
}

TEST(Urgency, IsEmptyAtFirstAndAfterTheLastErase) {
  UrgencyOrder order(3, 1);
  EXPECT_EQ(order.size(), 0U);
  EXPECT_FALSE(order.contains(PieceIndex(2)));
  order.insert(PieceIndex(2), 4);
  EXPECT_TRUE(order.contains(PieceIndex(2)));
  order.erase(PieceIndex(2));
  EXPECT_EQ(order.size(), 0U);
  EXPECT_FALSE(order.contains(PieceIndex(2)));
}

TEST(Urgency, PutsARareLatecomerFirst) {
  UrgencyOrder order = all_alike(10, 5, 1);
  order.erase(PieceIndex(9));
  order.insert(PieceIndex(9), 2);
  EXPECT_EQ(in_order(order).front(), 9U);
}

TEST(Urgency, GivesTheSameOrderForTheSameSeed) {
  EXPECT_EQ(in_order(all_alike(64, 3, 7)), in_order(all_alike(64, 3, 7)));
}

TEST(Urgency, ShufflesTiesBySeed) {
  const auto one = in_order(all_alike(64, 3, 1));
  const auto other = in_order(all_alike(64, 3, 2));
  EXPECT_NE(one, other);
  EXPECT_NE(one, first_numbers(64));
  EXPECT_THAT(one, testing::UnorderedElementsAreArray(first_numbers(64)));
}

// A further full holder announces everything in one ascending HAVE. If that sorted the pieces,
// every node would pull the same ones first.
TEST(Urgency, KeepsTiesShuffledWhenEveryPieceChangesItsLevel) {
  std::vector<std::vector<std::uint32_t>> orders;
  for (const std::uint64_t seed : {1U, 2U}) {
    UrgencyOrder order = all_alike(64, 2, seed);
    for (std::uint32_t i = 0; i < 64; ++i) order.move(PieceIndex(i), 3);
    orders.push_back(in_order(order));
  }
  EXPECT_NE(orders[0], orders[1]);
}

TEST(Urgency, WeighsRarityByDemand) {
  EXPECT_LT(rarity_class(1, 6), rarity_class(2, 5));   // rarer
  EXPECT_LT(rarity_class(3, 10), rarity_class(1, 0));  // ten wait for it, nobody for the other
  EXPECT_LT(rarity_class(1, 0), rarity_class(2, 0));   // nobody waits: still, it may vanish
  EXPECT_EQ(rarity_class(0, 5), 0U);
}

TEST(Urgency, ClassesNeverFallAsHoldersRise) {
  for (std::uint32_t wanters = 0; wanters < 300; wanters += 7) {
    for (std::uint32_t holders = 0; holders < 300; ++holders) {
      ASSERT_LE(rarity_class(holders, wanters), rarity_class(holders + 1, wanters))
          << holders << " of " << wanters;
      ASSERT_LT(rarity_class(holders, wanters), kRarityClasses);
    }
  }
  EXPECT_LT(rarity_class(~std::uint32_t{0}, 0), kRarityClasses);
}

}  // namespace
}  // namespace shardswarm::test
