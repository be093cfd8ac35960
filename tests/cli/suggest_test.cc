#include "cli/suggest.h"

#include <gtest/gtest.h>

namespace shardswarm::cli {
namespace {

TEST(EditDistance, CountsInsertedRemovedReplacedAndSwapped) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("seed", "seed"), 0U);
  EXPECT_EQ(edit_distance("sed", "seed"), 1U);
  EXPECT_EQ(edit_distance("seeed", "seed"), 1U);
  EXPECT_EQ(edit_distance("sead", "seed"), 1U);
  EXPECT_EQ(edit_distance("sede", "seed"), 1U);
  EXPECT_EQ(edit_distance("", "seed"), 4U);
  EXPECT_EQ(edit_distance("fetch", "seed"), 4U);
}

TEST(Suggestion, IsTheNearestThatIsNearEnough) {
  const std::vector<std::string> known = {"seed", "fetch", "verify", "--layers", "--layout"};
  EXPECT_EQ(suggestion("fecth", known), "fetch");
  EXPECT_EQ(suggestion("verfy", known), "verify");
  EXPECT_EQ(suggestion("--layer", known), "--layers");
  EXPECT_EQ(suggestion("--lay", known), "--layers");  // a beginning
  EXPECT_EQ(suggestion("frobnicate", known), "");
  EXPECT_EQ(suggestion("", known), "");
  EXPECT_EQ(did_you_mean("sed", known), ": did you mean 'seed'?");
  EXPECT_EQ(did_you_mean("x", known), "");
}

}  // namespace
}  // namespace shardswarm::cli
