#include "piece/load_order.h"

#include <gtest/gtest.h>

#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

// The rank of a tensor's first piece; all its pieces have the same.
std::uint32_t rank_of(const Manifest& manifest, const std::vector<std::uint32_t>& ranks,
                      std::string_view name) {
  for (std::uint32_t f = 0; f < manifest.file_count(); ++f) {
    for (const TensorEntry& tensor : manifest.tensors(FileIndex(f))) {
      if (tensor.info.name != name) continue;
      for (std::uint32_t i = 1; i < tensor.pieces; ++i) {
        EXPECT_EQ(ranks[tensor.first_piece.value + i], ranks[tensor.first_piece.value]) << name;
      }
      return ranks[tensor.first_piece.value];
    }
  }
  ADD_FAILURE() << "no tensor " << name;
  return 0;
}

// Files are often in the order of the names: layer 10 stands before layer 2, the head first of all.
TEST(LoadOrder, FollowsLayersWhereverTheyLie) {
  std::vector<TensorSpec> specs{{"lm_head.weight", {8, 4 << 20}},
                                {"model.embed_tokens.weight", {8, 4 << 20}},
                                {"model.norm.weight", {64}}};
  for (const int layer : {0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9}) {
    specs.push_back({"model.layers." + std::to_string(layer) + ".w", {8, 1 << 20}});
  }
  const Manifest manifest =
      ModelBuilder().plain("config.json", 40).tensors("model.safetensors", specs).build();
  const auto ranks = load_ranks(manifest, make_outline(manifest));
  ASSERT_EQ(ranks.size(), manifest.piece_count());
  EXPECT_EQ(ranks[0], 0U) << "config.json";
  EXPECT_EQ(rank_of(manifest, ranks, "model.embed_tokens.weight"), 0U);
  for (std::uint32_t layer = 0; layer < 12; ++layer) {
    EXPECT_EQ(rank_of(manifest, ranks, "model.layers." + std::to_string(layer) + ".w"), 1 + layer);
  }
  EXPECT_EQ(rank_of(manifest, ranks, "model.norm.weight"), 13U);
  EXPECT_EQ(rank_of(manifest, ranks, "lm_head.weight"), 13U);
}

TEST(LoadOrder, RanksAModelWithoutLayersAlike) {
  const Manifest manifest =
      ModelBuilder().plain("a", 3 << 20).tensors("m.safetensors", {{"w", {4}}}).build();
  const auto ranks = load_ranks(manifest, make_outline(manifest));
  EXPECT_EQ(ranks, std::vector<std::uint32_t>(4, 0));
}

}  // namespace
}  // namespace shardswarm::test
