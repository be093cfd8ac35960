// Experts: how they are told by names and shapes, and what --experts leaves.
#include <gmock/gmock.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "piece/selection.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using Told = std::map<std::string, std::string>;  // tensor -> "first count rows"
using Names = std::set<std::string>;

Manifest model_of(const std::vector<TensorSpec>& tensors) {
  return ModelBuilder().tensors("model.safetensors", tensors).build();
}

Told told(const std::vector<TensorSpec>& tensors, std::uint32_t experts) {
  const Manifest manifest = model_of(tensors);
  const Outline outline = make_outline(manifest);
  EXPECT_EQ(outline.stacks.at(0).experts, experts);
  Told result;
  for (const OutlineTensor& tensor : outline.tensors) {
    const Experts& found = tensor.experts;
    if (found.count == 0) continue;
    result[outline.full_name(tensor, manifest)] = std::to_string(found.first) + " " +
                                                  std::to_string(found.count) + " " +
                                                  std::to_string(found.rows);
  }
  return result;
}

TEST(ExpertsOfTensors, AreNumbersInTheName) {
  EXPECT_EQ(told({{"model.layers.0.block_sparse_moe.experts.0.w1.weight", {6, 4}},
                  {"model.layers.0.block_sparse_moe.experts.7.w2.weight", {6, 4}},
                  {"model.layers.0.block_sparse_moe.gate.weight", {8, 4}},
                  {"model.layers.0.self_attn.q_proj.weight", {8, 4}}},
                 8),
            (Told{{"model.layers.0.block_sparse_moe.experts.0.w1.weight", "0 1 0"},
                  {"model.layers.0.block_sparse_moe.experts.7.w2.weight", "7 1 0"}}));
  EXPECT_EQ(told({{"model.layers.0.mlp.up_proj.weight", {6, 4}},
                  {"model.layers.3.mlp.experts.255.up_proj.weight_scale_inv", {1, 1}},
                  {"model.layers.3.mlp.gate.e_score_correction_bias", {256}},
                  {"model.layers.3.mlp.shared_experts.up_proj.weight", {256, 4, 4}},
                  {"model.layers.3.mlp.shared_expert.up_proj.weight", {256, 4, 4}},
                  {"experts.0.w", {1}}},
                 256),
            (Told{{"model.layers.3.mlp.experts.255.up_proj.weight_scale_inv", "255 1 0"}}));
  EXPECT_EQ(told({{"encoder.block.1.layer.1.mlp.experts.expert_3.wi.weight", {8, 4}},
                  {"encoder.block.1.layer.1.mlp.router.classifier.weight", {4, 4}}},
                 4),
            (Told{{"encoder.block.1.layer.1.mlp.experts.expert_3.wi.weight", "3 1 0"}}));
}

TEST(ExpertsOfTensors, AreStackedAlongDimZero) {
  // MLX, quantised.
  EXPECT_EQ(told({{"model.layers.0.mlp.switch_mlp.up_proj.weight", {8, 4, 2}},
                  {"model.layers.0.mlp.switch_mlp.up_proj.scales", {8, 4, 1}},
                  {"model.layers.0.mlp.switch_mlp.up_proj.biases", {8, 4, 1}},
                  {"model.layers.0.mlp.gate.weight", {8, 2}}},
                 8),
            (Told{{"model.layers.0.mlp.switch_mlp.up_proj.weight", "0 8 1"},
                  {"model.layers.0.mlp.switch_mlp.up_proj.scales", "0 8 1"},
                  {"model.layers.0.mlp.switch_mlp.up_proj.biases", "0 8 1"}}));
  // gpt-oss: biases are matrices.
  EXPECT_EQ(told({{"model.layers.0.mlp.experts.gate_up_proj_blocks", {8, 6, 2, 4}},
                  {"model.layers.0.mlp.experts.gate_up_proj_bias", {8, 6}},
                  {"model.layers.0.mlp.experts.extra", {6}},
                  {"model.layers.0.mlp.router.bias", {8}},
                  {"model.layers.0.mlp.router.weight", {8, 2}}},
                 8),
            (Told{{"model.layers.0.mlp.experts.gate_up_proj_blocks", "0 8 1"},
                  {"model.layers.0.mlp.experts.gate_up_proj_bias", "0 8 1"}}));
  // Without a router the stacked ones say how many.
  EXPECT_EQ(told({{"a.0.mlp.experts.bias", {8, 6}}, {"a.0.mlp.experts.w", {8, 6, 2}}}, 8),
            (Told{{"a.0.mlp.experts.bias", "0 8 1"}, {"a.0.mlp.experts.w", "0 8 1"}}));
}

TEST(ExpertsOfTensors, AreRowsOfAMatrixIfTheRouterSaysSo) {
  EXPECT_EQ(told({{"transformer.blocks.0.ffn.experts.mlp.w1", {48, 4}},
                  {"transformer.blocks.0.ffn.experts.mlp.odd", {47, 4}},
                  {"transformer.blocks.0.ffn.router.layer.weight", {16, 4}},
                  {"transformer.blocks.1.ffn.experts.mlp.w1", {48, 4}}},  // no router in this layer
                 16),
            (Told{{"transformer.blocks.0.ffn.experts.mlp.w1", "0 16 3"}}));
}

// GraniteMoE and JetMoE have no word for experts; JetMoE's attention has, around its router, too.
TEST(ExpertsOfTensors, StandBesideTheirRouter) {
  EXPECT_EQ(told({{"model.layers.0.block_sparse_moe.input_linear.weight", {8, 6, 4}},
                  {"model.layers.0.block_sparse_moe.output_linear.weight", {8, 4, 3}},
                  {"model.layers.0.block_sparse_moe.router.layer.weight", {8, 4}},
                  {"model.layers.0.block_sparse_moe.shared_expert.w", {8, 4, 3}},
                  {"model.layers.0.conv.weight", {8, 1, 4}},
                  {"model.layers.0.block_sparse_moe.matrix.weight", {8, 4}},
                  {"model.layers.0.block_sparse_moe.other.weight", {6, 4, 3}},
                  {"model.layers.1.block_sparse_moe.input_linear.weight", {8, 6, 4}}},  // no router
                 8),
            (Told{{"model.layers.0.block_sparse_moe.input_linear.weight", "0 8 1"},
                  {"model.layers.0.block_sparse_moe.output_linear.weight", "0 8 1"}}));
  EXPECT_EQ(told({{"model.layers.0.self_attention.experts.input_linear.weight", {8, 6, 4}},
                  {"model.layers.0.self_attention.experts.router.layer.weight", {8, 4}},
                  {"model.layers.0.mlp.input_linear.weight", {8, 6, 4}},
                  {"model.layers.0.mlp.router.layer.weight", {8, 4}}},
                 8),
            (Told{{"model.layers.0.self_attention.experts.input_linear.weight", "0 8 1"},
                  {"model.layers.0.mlp.input_linear.weight", "0 8 1"}}));
}

// A number of experts that no model has makes no table and no overflow.
TEST(ExpertsOfTensors, HaveALimit) {
  EXPECT_EQ(told({{"a.0.experts.4294967295.w", {1}},
                  {"a.0.experts.99999999999999999999.w", {1}},
                  {"a.0.mlp.experts.w", {1'000'000, 0, 1}},
                  {"a.1.mlp.experts.w", {0, 1, 1}},
                  {"a.1.mlp.experts.v", {4, 4}}},
                 0),
            Told{});
}

const Manifest& experts_model() {
  static const Manifest manifest = model_of({
      {"lm_head.weight", {4}},
      {"model.embed_tokens.weight", {4}},
      {"model.layers.0.mlp.up_proj.weight", {6, 4}},
      {"model.layers.1.mlp.experts.0.w", {6, 4}},
      {"model.layers.1.mlp.experts.1.w", {6, 4}},
      {"model.layers.1.mlp.experts.2.w", {6, 4}},
      {"model.layers.1.mlp.experts.3.w", {6, 4}},
      {"model.layers.1.mlp.gate.weight", {4, 4}},
      {"model.layers.1.mlp.shared_experts.w", {6, 4}},
      {"model.layers.2.mlp.router.weight", {4, 4}},
      {"model.layers.2.mlp.switch_mlp.w", {4, 3, 2}},
      {"model.layers.3.ffn.router.layer.weight", {4, 4}},
      {"model.layers.3.ffn.experts.mlp.w1", {12, 2}},
      {"model.layers.4.mlp.switch_mlp.torn", {4, 1, 3}, Dtype::kF4},
  });
  return manifest;
}

const Names kOfNoExpert = {"lm_head.weight",
                           "model.embed_tokens.weight",
                           "model.layers.0.mlp.up_proj.weight",
                           "model.layers.1.mlp.gate.weight",
                           "model.layers.1.mlp.shared_experts.w",
                           "model.layers.2.mlp.router.weight",
                           "model.layers.3.ffn.router.layer.weight"};

Names pick_experts(const Selection& selection) {
  const Outline outline = make_outline(experts_model());
  Names names;
  for (const TensorRows& run : must(resolve(selection, experts_model(), outline)).tensors) {
    const TensorInfo& info = info_of(experts_model(), run);
    std::string name = info.name;
    if (run.rows != Rows{0, row_count(info)}) {
      name += " " + std::to_string(run.rows.begin) + "-" + std::to_string(run.rows.end);
    }
    names.insert(std::move(name));
  }
  return names;
}

void expect_experts_refused(const Selection& selection, const std::vector<std::string>& says) {
  const auto result = resolve(selection, experts_model(), make_outline(experts_model()));
  ASSERT_FALSE(result);
  EXPECT_EQ(errc_name(result.error().code), errc_name(Errc::kUsage));
  for (const std::string& part : says) EXPECT_THAT(result.error().message, HasSubstr(part));
}

TEST(SelectionExperts, NarrowExpertsAlone) {
  Names expected = kOfNoExpert;
  expected.insert({"model.layers.1.mlp.experts.1.w", "model.layers.1.mlp.experts.2.w",
                   "model.layers.2.mlp.switch_mlp.w 1-3", "model.layers.3.ffn.experts.mlp.w1 3-9"});
  EXPECT_EQ(pick_experts({.experts = {{1, 2}}, .excludes = {"*.torn"}}), expected);
  // Ranges are a union, in any order.
  EXPECT_EQ(pick_experts({.experts = {{2, 2}, {1, 2}, {1, 1}}, .excludes = {"*.torn"}}), expected);
  EXPECT_EQ(
      pick_experts({.layers = {{2, 3}}, .experts = {{3, 3}, {0, 0}}}),
      (Names{"model.layers.2.mlp.router.weight", "model.layers.2.mlp.switch_mlp.w 0-1",
             "model.layers.2.mlp.switch_mlp.w 3-4", "model.layers.3.ffn.router.layer.weight",
             "model.layers.3.ffn.experts.mlp.w1 0-3", "model.layers.3.ffn.experts.mlp.w1 9-12"}));
}

TEST(SelectionExperts, AllOfThemAreEverything) {
  EXPECT_TRUE(
      must(resolve({.experts = {{0, 1}, {2, 3}}}, experts_model(), make_outline(experts_model())))
          .everything);
  EXPECT_FALSE(must(resolve({.experts = {{0, 2}}, .excludes = {"*.torn"}}, experts_model(),
                            make_outline(experts_model())))
                   .everything);
}

TEST(SelectionExperts, AreRefusedWhereThereAreNone) {
  expect_experts_refused({.experts = {{2, 4}}}, {"experts 2-4", "experts 0-3", "model.layers"});
  expect_experts_refused({.experts = {{0, ~0U}}}, {"0-4294967295", "0-3"});
  expect_experts_refused({.experts = {{2, 1}}}, {"2-1", "0-3"});
  expect_experts_refused({.layers = {{0, 0}}, .experts = {{0, 0}}},
                         {"selected tensors", "model.layers has experts 0-3"});
  expect_experts_refused({.tensors = {"*.experts.1.*"}, .experts = {{2, 2}}}, {"leave no tensor"});
  expect_experts_refused({.experts = {{2, 2}}}, {"torn", "not whole bytes"});
  const Manifest dense = model_of({{"a.0.w", {1}}});
  const auto result = resolve({.experts = {{0, 0}}}, dense, make_outline(dense));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("this model has no experts"));
}

TEST(SelectionExperts, GoBeforeSlices) {
  EXPECT_EQ(
      pick_experts({.layers = {{1, 2}}, .experts = {{1, 1}}, .slices = {{"*.experts.*", 1, 2}}}),
      (Names{"model.layers.1.mlp.experts.1.w 3-6", "model.layers.1.mlp.gate.weight",
             "model.layers.1.mlp.shared_experts.w", "model.layers.2.mlp.router.weight",
             "model.layers.2.mlp.switch_mlp.w 1-2"}));
  expect_experts_refused(
      {.layers = {{1, 2}}, .experts = {{1, 1}}, .slices = {{"*.switch_mlp.*", 0, 2}}},
      {"'*.switch_mlp.*:0/2'", "model.layers.2.mlp.switch_mlp.w", "--experts"});
  // What --experts drops cannot be sliced.
  expect_experts_refused(
      {.layers = {{1, 1}}, .experts = {{1, 1}}, .slices = {{"*.experts.2.*", 0, 2}}},
      {"slice glob"});
}

// DeepSeek-V3 has as many tensors; a rule that compared each with each would not end.
TEST(SelectionExperts, OfNinetyThousandTensors) {
  std::vector<TensorSpec> tensors = {{"lm_head.weight", {9}}, {"model.embed_tokens.weight", {9}}};
  for (int layer = 0; layer < 62; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    tensors.push_back({prefix + "self_attn.o_proj.weight", {64}});
    tensors.push_back({prefix + "mlp.gate.weight", {256, 2}});
    if (layer == 61) tensors.push_back({prefix + "eh_proj.weight", {64}});
    if (layer == 61) tensors.push_back({prefix + "embed_tokens.weight", {9}});
    for (int expert = 0; expert < 256; ++expert) {
      for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
        const std::string full = prefix + "mlp.experts." + std::to_string(expert) + "." + name;
        tensors.push_back({full + ".weight", {64}});
        tensors.push_back({full + ".weight_scale_inv", {1}});
      }
    }
  }
  const Manifest manifest = model_of(tensors);
  const Outline outline = make_outline(manifest);
  ASSERT_THAT(outline.tensors, SizeIs(tensors.size()));
  EXPECT_EQ(outline.stacks[0].layers, 61U);
  EXPECT_EQ(outline.stacks[0].experts, 256U);
  const Selection half{.stages = {{2, 2}},
                       .experts = {{0, 127}},
                       .slices = {{"*.o_proj.weight", 1, 2}},
                       .excludes = {"*.weight_scale_inv"}};
  const ResolvedSelection resolved = must(resolve(half, manifest, outline));
  const LayerRange last = must(split_stages(outline.stacks[0], 2))[1];
  const std::uint64_t layers = last.last - last.first + 2;  // and the MTP layer
  // Beside them the MTP layer's own two and the head.
  EXPECT_THAT(resolved.tensors, SizeIs(layers * (2 + 128 * 3) + 3));
}

}  // namespace
}  // namespace shardswarm::test
