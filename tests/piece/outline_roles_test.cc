// What single names say, with their shapes.
#include "piece/outline_roles.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

bool split(const TensorSpec& spec) {
  TensorInfo info;
  info.name = spec.name;
  info.shape = spec.shape;
  return split_by_columns(info);
}

TEST(SplitByColumns, IsToldByTheName) {
  for (const char* name :
       {"model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.down_proj.weight_scale_inv",
        "model.layers.0.mlp.down_proj.scales", "model.layers.0.mlp.experts.7.down_proj.weight",
        "model.layers.0.mlp.switch_mlp.down_proj.biases",
        "model.layers.0.block_sparse_moe.experts.1.w2.weight", "layers.0.attention.wo.weight",
        "model.decoder.layers.0.self_attn.out_proj.weight", "h.0.mlp.dense_4h_to_h.weight",
        "gpt_neox.layers.0.attention.dense.weight", "h.0.self_attention.dense.weight",
        "h.0.attn.c_proj.weight", "vision_tower.layers.0.mlp.fc2.weight",
        "transformer.h.0.mlp.fc_out.weight", "decoder.block.0.layer.2.DenseReluDense.wo.weight",
        "decoder.block.0.layer.0.SelfAttention.o.weight",
        "decoder.block.0.layer.1.EncDecAttention.o.weight", "multi_modal_projector.linear_2.weight",
        "model.layers.0.mlp.experts.down_proj"}) {
    EXPECT_TRUE(split({name, {8, 8}})) << name;
    EXPECT_FALSE(split({name, {8}})) << name;
    EXPECT_FALSE(split({name, {}})) << name;
  }
  for (const char* name :
       {"", "weight", "model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight",
        "lm_head.weight", "model.layers.0.mlp.gate_proj.scales", "h.0.mlp.dense_h_to_4h.weight",
        "model.layers.0.mlp.dense.weight", "decoder.block.0.layer.0.SelfAttention.q.weight",
        "transformer.blocks.0.ffn.experts.mlp.w2", "model.layers.0.o_proj.extra.weight"}) {
    EXPECT_FALSE(split({name, {8, 8}})) << name;
  }
}

// GPT-2's layers are [in, out], starcoder's of the same names [out, in].
TEST(SplitByColumns, IsToldByTheShapeWhereFamiliesDisagree) {
  EXPECT_TRUE(split({"h.0.attn.c_attn.weight", {768, 2304}}));
  EXPECT_TRUE(split({"transformer.h.0.mlp.c_fc.weight", {768, 3072}}));
  EXPECT_FALSE(split({"transformer.h.0.attn.c_attn.weight", {6400, 6144}}));
  EXPECT_FALSE(split({"transformer.h.0.mlp.c_fc.weight", {24576, 6144}}));
  EXPECT_FALSE(split({"h.0.mlp.c_fc.weight", {768, 768}}));
  EXPECT_FALSE(split({"h.0.mlp.c_fc.weight", {2, 3, 4}}));
  EXPECT_FALSE(split({"h.0.mlp.c_fc.bias", {3072}}));
}

TEST(Words, AreLookedAtUpToALimit) {
  std::string deep = "a";
  for (int i = 0; i < 2000; ++i) deep += ".a";
  EXPECT_EQ(common_words(deep, deep), kWordsMax);
  std::size_t seen = 0;
  EXPECT_FALSE(any_word(deep, [&](std::string_view) { return ++seen > kWordsMax; }));
  EXPECT_EQ(seen, kWordsMax);
  EXPECT_FALSE(names_tower(deep + ".visual"));
  EXPECT_TRUE(names_tower("a.b.c.visual"));
}

}  // namespace
}  // namespace shardswarm::test
