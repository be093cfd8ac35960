// PieceSet against std::set.
#include "piece/piece_set.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace shardswarm::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

PieceIndex at(std::uint32_t piece) { return PieceIndex(piece); }
PieceRun run_of(std::uint32_t first, std::uint32_t count) { return {PieceIndex(first), count}; }

std::vector<std::uint32_t> members(const PieceSet& set) {
  std::vector<std::uint32_t> pieces;
  set.for_each([&](PieceIndex piece) { pieces.push_back(piece.value); });
  return pieces;
}

PieceSet set_of(std::uint32_t size, const std::vector<std::uint32_t>& pieces) {
  PieceSet set(size);
  for (const std::uint32_t piece : pieces) set.insert(at(piece));
  return set;
}

TEST(PieceSet, OfNothingIsEmptyAndComplete) {
  for (const PieceSet& set : {PieceSet(), PieceSet(0), PieceSet::full(0)}) {
    EXPECT_EQ(set.size(), 0U);
    EXPECT_TRUE(set.empty());
    EXPECT_TRUE(set.complete());
    EXPECT_EQ(set.next(at(0)), std::nullopt);
    EXPECT_THAT(set.runs(), IsEmpty());
    EXPECT_THAT(set.words(), IsEmpty());
  }
}

TEST(PieceSet, InsertAndEraseSayWhetherTheyChangedAnything) {
  PieceSet set(100);
  EXPECT_TRUE(set.insert(at(64)));
  EXPECT_FALSE(set.insert(at(64)));
  EXPECT_EQ(set.count(), 1U);
  EXPECT_TRUE(set.contains(at(64)));
  EXPECT_FALSE(set.contains(at(63)));
  EXPECT_TRUE(set.erase(at(64)));
  EXPECT_FALSE(set.erase(at(64)));
  EXPECT_TRUE(set.empty());
}

TEST(PieceSet, FullHoldsExactlyItsPieces) {
  for (const std::uint32_t size : {1U, 63U, 64U, 65U, 127U, 128U, 129U, 1000U}) {
    const PieceSet set = PieceSet::full(size);
    EXPECT_EQ(set.count(), size);
    EXPECT_TRUE(set.complete());
    EXPECT_THAT(set.runs(), ElementsAre(run_of(0, size)));
    EXPECT_EQ(set.next(at(size - 1)), at(size - 1));
    EXPECT_EQ(set.next(at(size)), std::nullopt);
  }
}

// Users of words() count on it: a bitmap goes onto the wire as it is.
TEST(PieceSet, WordsHaveTheFirstPieceLowestAndNothingPastTheEnd) {
  EXPECT_THAT(set_of(130, {0, 1, 63, 64, 129}).words(), ElementsAre(0x8000000000000003U, 1U, 2U));
  EXPECT_THAT(PieceSet::full(70).words(), ElementsAre(~std::uint64_t{0}, 0x3fU));
  PieceSet erased = PieceSet::full(70);
  erased.erase(run_of(1, 68));
  EXPECT_THAT(erased.words(), ElementsAre(1U, 0x20U));
}

TEST(PieceSet, RunsAreMaximalAcrossWords) {
  const PieceSet set = set_of(200, {0, 2, 3, 62, 63, 64, 65, 127, 128, 199});
  EXPECT_THAT(set.runs(), ElementsAre(run_of(0, 1), run_of(2, 2), run_of(62, 4), run_of(127, 2),
                                      run_of(199, 1)));
}

TEST(PieceSet, AnEmptyRunChangesNothing) {
  PieceSet set = set_of(64, {3});
  set.insert(run_of(64, 0));
  set.insert(run_of(5, 0));
  set.erase(run_of(3, 0));
  EXPECT_THAT(members(set), ElementsAre(3));
}

TEST(PieceSet, NextBeyondTheEndIsNothing) {
  const PieceSet set = set_of(128, {5, 64, 127});
  EXPECT_EQ(set.next(at(0)), at(5));
  EXPECT_EQ(set.next(at(5)), at(5));
  EXPECT_EQ(set.next(at(6)), at(64));
  EXPECT_EQ(set.next(at(65)), at(127));
  EXPECT_EQ(set.next(at(128)), std::nullopt);
  EXPECT_EQ(set.next(at(~0U)), std::nullopt);
}

TEST(PieceSet, EqualityLooksAtSizeAndContent) {
  EXPECT_EQ(set_of(10, {1, 2}), set_of(10, {2, 1}));
  EXPECT_NE(set_of(10, {1, 2}), set_of(10, {1, 3}));
  EXPECT_NE(PieceSet(10), PieceSet(11));
  PieceSet cleared = PieceSet::full(10);
  cleared.clear();
  EXPECT_EQ(cleared, PieceSet(10));
}

// A set and its model, changed together.
class Pair {
 public:
  explicit Pair(std::uint32_t size) : size_(size), set_(size) {}

  void change(std::mt19937& random) {
    const std::uint32_t piece = static_cast<std::uint32_t>(random() % size_);
    const std::uint32_t count = static_cast<std::uint32_t>(random() % (size_ - piece + 1));
    switch (random() % 8) {
      case 0:
        set_.insert(run_of(piece, count));
        for (std::uint32_t i = 0; i < count; ++i) model_.insert(piece + i);
        break;
      case 1:
        set_.erase(run_of(piece, count));
        for (std::uint32_t i = 0; i < count; ++i) model_.erase(piece + i);
        break;
      case 2:
      case 3:
      case 4:
        EXPECT_EQ(set_.insert(at(piece)), model_.insert(piece).second);
        break;
      default:
        EXPECT_EQ(set_.erase(at(piece)), model_.erase(piece) == 1);
        break;
    }
    if (random() % 256 == 0) {
      set_.clear();
      model_.clear();
    }
  }

  void expect_equal() const {
    EXPECT_EQ(set_.count(), model_.size());
    EXPECT_EQ(set_.empty(), model_.empty());
    EXPECT_EQ(set_.complete(), model_.size() == size_);
    EXPECT_EQ(members(set_), std::vector<std::uint32_t>(model_.begin(), model_.end()));
    std::vector<std::uint32_t> by_runs;
    std::uint32_t end = 0;
    for (const PieceRun& run : set_.runs()) {
      if (end > 0) {
        EXPECT_GT(run.first.value, end);  // else two runs were one
      }
      end = run.first.value + run.count;
      for (std::uint32_t i = 0; i < run.count; ++i) by_runs.push_back(run.first.value + i);
    }
    EXPECT_EQ(by_runs, members(set_));
    for (std::uint32_t piece = 0; piece < size_; ++piece) {
      ASSERT_EQ(set_.contains(at(piece)), model_.contains(piece)) << piece;
      const auto next = model_.lower_bound(piece);
      ASSERT_EQ(set_.next(at(piece)),
                next == model_.end() ? std::nullopt : std::optional(at(*next)))
          << piece;
    }
  }

  const PieceSet& set() const { return set_; }
  const std::set<std::uint32_t>& model() const { return model_; }

 private:
  std::uint32_t size_;
  PieceSet set_;
  std::set<std::uint32_t> model_;
};

TEST(PieceSetProperties, BehavesAsASetOfNumbers) {
  std::mt19937 random(1);
  for (const std::uint32_t size : {1U, 2U, 63U, 64U, 65U, 128U, 300U}) {
    SCOPED_TRACE(size);
    Pair pair(size);
    for (int step = 0; step < 2'000; ++step) {
      pair.change(random);
      if (step % 10 == 0) pair.expect_equal();
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(PieceSetProperties, UnionIntersectionAndDifferenceAreThoseOfSets) {
  std::mt19937 random(2);
  for (const std::uint32_t size : {1U, 63U, 64U, 65U, 200U}) {
    Pair a(size);
    Pair b(size);
    for (int step = 0; step < 500; ++step) {
      a.change(random);
      b.change(random);
      std::vector<std::uint32_t> both, either, only;
      std::ranges::set_intersection(a.model(), b.model(), std::back_inserter(both));
      std::ranges::set_union(a.model(), b.model(), std::back_inserter(either));
      std::ranges::set_difference(a.model(), b.model(), std::back_inserter(only));
      EXPECT_EQ(a.set() & b.set(), set_of(size, both));
      EXPECT_EQ(a.set() | b.set(), set_of(size, either));
      EXPECT_EQ(a.set() - b.set(), set_of(size, only));
      EXPECT_EQ(a.set().intersects(b.set()), !both.empty());
      if (::testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace shardswarm::test
