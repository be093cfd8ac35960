// What single names say, with their shapes.
#include "piece/outline_roles.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

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

// GPTQ: qweight [in packed, out], qzeros [groups, out packed], scales [groups, out], g_idx [in].
// AWQ: qweight [in, out packed], the others as in GPTQ. vLLM splits q_proj along the outputs,
// o_proj along the inputs.
TEST(SplitByColumns, OfGptqAndAwqIsTheOtherWayRound) {
  for (const char* layer : {"self_attn.q_proj", "mlp.gate_proj", "mlp.experts.3.up_proj"}) {
    const std::string name = "model.layers.0." + std::string(layer);
    EXPECT_TRUE(split({name + ".qweight", {448, 3584}})) << name;
    EXPECT_TRUE(split({name + ".qweight", {3584, 448}})) << name;
    EXPECT_TRUE(split({name + ".qzeros", {28, 448}})) << name;
    EXPECT_TRUE(split({name + ".scales", {28, 3584}})) << name;
    EXPECT_FALSE(split({name + ".g_idx", {3584}})) << name;
    EXPECT_FALSE(split({name + ".bias", {3584}})) << name;
  }
  for (const char* layer : {"self_attn.o_proj", "mlp.down_proj", "mlp.experts.3.w2"}) {
    const std::string name = "model.layers.0." + std::string(layer);
    EXPECT_FALSE(split({name + ".qweight", {448, 3584}})) << name;
    EXPECT_FALSE(split({name + ".qweight", {3584, 448}})) << name;
    EXPECT_FALSE(split({name + ".qzeros", {28, 448}})) << name;
    EXPECT_FALSE(split({name + ".scales", {28, 3584}})) << name;
    EXPECT_FALSE(split({name + ".g_idx", {3584}})) << name;
  }
  // Neither side of a router is split, whatever it is packed like.
  EXPECT_FALSE(split({"model.layers.0.mlp.gate.qweight", {448, 64}}));
}

// MLX's scales have [out, groups], as its weights have [out, in packed].
TEST(SplitByColumns, OfMlxScalesIsThatOfItsWeights) {
  EXPECT_TRUE(split({"model.layers.0.self_attn.o_proj.weight", {3584, 448}}));
  EXPECT_TRUE(split({"model.layers.0.self_attn.o_proj.scales", {3584, 56}}));
  EXPECT_FALSE(split({"model.layers.0.self_attn.q_proj.scales", {3584, 56}}));
}

// A LoRA's A is [rank, in], its B [out, rank].
TEST(SplitByColumns, OfAdaptersFollowsTheLayerTheyAdapt) {
  EXPECT_TRUE(split({"base_model.model.model.layers.0.mlp.down_proj.lora_A.weight", {16, 14336}}));
  EXPECT_FALSE(split({"base_model.model.model.layers.0.mlp.down_proj.lora_B.weight", {4096, 16}}));
  EXPECT_FALSE(split({"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", {16, 4096}}));
  EXPECT_FALSE(split({"base_model.model.model.layers.0.mlp.up_proj.lora_B.weight", {14336, 16}}));
}

// compressed-tensors, NVFP4 and bitsandbytes keep [out, in]; bitsandbytes flattens it by rows.
TEST(SplitByColumns, OfOtherQuantisedLayersIsThatOfPlainOnes) {
  const std::vector<std::pair<std::string, std::vector<std::uint64_t>>> tensors = {
      {"weight_packed", {4096, 512}},
      {"weight_scale", {4096, 256}},
      {"weight_zero_point", {512, 32}},
      {"weight", {8388608, 1}}};
  for (const auto& [suffix, shape] : tensors) {
    EXPECT_TRUE(split({"model.layers.0.mlp.down_proj." + suffix, shape})) << suffix;
    EXPECT_FALSE(split({"model.layers.0.mlp.up_proj." + suffix, shape})) << suffix;
  }
  EXPECT_FALSE(split({"model.layers.0.mlp.down_proj.weight_scale_2", {}}));
  EXPECT_FALSE(split({"model.layers.0.mlp.down_proj.weight_shape", {2}}));
  EXPECT_FALSE(split({"model.layers.0.mlp.down_proj.weight.absmax", {262144}}));
}

// Rows of stacked experts are experts, not outputs.
TEST(SplitByColumns, OfStackedExpertsIsNotDimZero) {
  EXPECT_TRUE(split({"model.layers.0.mlp.experts.gate_up_proj_blocks", {32, 5760, 90, 16}}));
  EXPECT_TRUE(split({"model.layers.0.mlp.experts.gate_up_proj_scales", {32, 5760, 90}}));
  EXPECT_TRUE(split({"model.layers.0.mlp.experts.down_proj_blocks", {32, 2880, 90, 16}}));
  EXPECT_TRUE(split({"model.layers.0.feed_forward.experts.gate_up_proj", {16, 5120, 16384}}));
  EXPECT_TRUE(split({"model.layers.0.mlp.switch_mlp.up_proj.weight", {128, 768, 256}}));
  EXPECT_FALSE(split({"model.layers.0.mlp.router.weight", {32, 2880}}));
}

// The first row that matches decides: a row behind one that matches its own words never would.
TEST(Tables, HaveNoRowThatAnEarlierOneHides) {
  const auto rows = role_rows();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_FALSE(rows[i].words.empty());
    EXPECT_FALSE(rows[i].families.empty()) << rows[i].words;
    for (std::size_t earlier = 0; earlier < i; ++earlier) {
      EXPECT_FALSE(has_words(rows[i].words, rows[earlier].words))
          << rows[earlier].words << " hides " << rows[i].words;
    }
  }
  const auto modules = module_rows();
  for (std::size_t i = 0; i < modules.size(); ++i) {
    EXPECT_FALSE(modules[i].families.empty()) << modules[i].words;
    const Module module = module_of(modules[i].words);
    EXPECT_EQ(module, modules[i].module) << modules[i].words;
  }
  const auto splits = split_rows();
  for (std::size_t i = 0; i < splits.size(); ++i) {
    EXPECT_FALSE(splits[i].families.empty()) << splits[i].words;
    for (std::size_t earlier = 0; earlier < i; ++earlier) {
      EXPECT_FALSE(splits[i].words == splits[earlier].words) << splits[i].words;
    }
  }
}

TEST(Words, StandWholeAndSideBySide) {
  EXPECT_TRUE(has_words("a.lm_head.bias", "lm_head.bias"));
  EXPECT_TRUE(has_words("lm_head.bias.x", "lm_head.bias"));
  EXPECT_FALSE(has_words("my_lm_head.bias", "lm_head.bias"));
  EXPECT_FALSE(has_words("lm_head.biases", "lm_head.bias"));
  EXPECT_FALSE(has_words("lm_head.x.bias", "lm_head.bias"));
  EXPECT_TRUE(has_words("a.mtp_block", "mtp_*"));
  EXPECT_FALSE(has_words("a.mtp", "mtp_*"));
  EXPECT_FALSE(has_words("", "a"));
}

TEST(Words, AreLookedAtUpToALimit) {
  std::string deep = "a";
  for (int i = 0; i < 2000; ++i) deep += ".a";
  EXPECT_EQ(common_words(deep, deep), kWordsMax);
  std::size_t seen = 0;
  EXPECT_FALSE(any_word(deep, [&](std::string_view) { return ++seen > kWordsMax; }));
  EXPECT_EQ(seen, kWordsMax);
  EXPECT_EQ(module_of(deep + ".visual"), Module::kModel);
  EXPECT_EQ(module_of("a.b.c.visual"), Module::kTower);
}

}  // namespace
}  // namespace shardswarm::test
