// What is said of the tensors that are held.
#include "storage/held_parts.h"

#include <gtest/gtest.h>

#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using Names = std::vector<std::string>;

class HeldPartsTest : public testing::Test {
 protected:
  TensorRows tensor(std::uint32_t index, std::uint64_t end = 8) const {
    return {*manifest_.find_file("a.safetensors"), TensorIndex(index), {0, end}};
  }
  HeldParts parts(const TensorSet& held) const {
    std::vector<bool> files(manifest_.file_count());
    files[manifest_.find_file("config.json")->value] = true;
    return held_parts(held, files, manifest_, make_outline(manifest_));
  }

  Manifest manifest_ = ModelBuilder()
                           .plain("config.json", 5)
                           .plain("model.gguf", 5)
                           .tensors("a.safetensors", {{"model.embed_tokens.weight", {8, 4}},
                                                      {"model.layers.0.v", {8, 4}},
                                                      {"model.layers.0.w", {8, 4}},
                                                      {"model.layers.1.w", {8, 4}},
                                                      {"model.layers.2.w", {8, 4}},
                                                      {"model.norm.weight", {8}}})
                           .build();
};

TEST_F(HeldPartsTest, LayersAreWholeOrInPart) {
  const HeldParts some = parts({tensor(1), tensor(3), tensor(4), tensor(5)});
  ASSERT_EQ(some.layers.size(), 1U);
  EXPECT_EQ(some.layers[0].stack, "model.layers");
  EXPECT_EQ(some.layers[0].whole, "1-2");
  EXPECT_EQ(some.layers[0].in_part, "0") << "one of its two tensors";
  EXPECT_EQ(some.layers[0].of, 3U);
  EXPECT_TRUE(some.layers[0].main_stack);
  EXPECT_EQ(some.outside, Names{"model.norm.weight"});
  EXPECT_EQ(some.outside_of, 2U);
  EXPECT_EQ(some.files, Names{"config.json"});
  EXPECT_EQ(some.files_of, 2U);
}

TEST_F(HeldPartsTest, RowsOfATensorAreAPart) {
  const HeldParts rows = parts({tensor(3, 4), tensor(4)});
  EXPECT_EQ(rows.layers[0].whole, "2");
  EXPECT_EQ(rows.layers[0].in_part, "1");
}

TEST_F(HeldPartsTest, NothingIsNoPart) {
  EXPECT_TRUE(parts({}).layers.empty());
  EXPECT_TRUE(parts({}).outside.empty());
}

}  // namespace
}  // namespace shardswarm::test
