// What presets make of a model: the split of each engine, and the selection that it becomes. Whole
// families through every preset: tests/e2e/test_presets.py.
#include "piece/presets.h"

#include <gmock/gmock.h>

#include <numeric>
#include <string>
#include <vector>

#include "piece/selection_text.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using Counts = std::vector<std::uint32_t>;

constexpr Engine kEngines[] = {Engine::kExo, Engine::kMlxLm, Engine::kVllm, Engine::kSglang,
                               Engine::kTransformers};

Counts counts(Engine engine, std::uint32_t layers, std::uint32_t ranks,
              const std::vector<std::uint64_t>& weights = {}) {
  return layer_counts(engine, layers, ranks, weights);
}

// "0-3" of rank 0, "4-6" of rank 1, …
std::vector<std::string> ranges(Engine engine, std::uint32_t layers, std::uint32_t ranks,
                                const std::vector<std::uint64_t>& weights = {}) {
  std::vector<std::string> texts;
  const Counts each = counts(engine, layers, ranks, weights);
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    const LayerRange range = layers_of_rank(engine, each, rank);
    texts.push_back(std::to_string(range.first) + "-" + std::to_string(range.last));
  }
  return texts;
}

// The numbers are worked out by hand from each engine's own function.
TEST(PresetSplits, AreTheEngines) {
  EXPECT_THAT(ranges(Engine::kExo, 10, 3), ElementsAre("0-3", "4-6", "7-9"));
  EXPECT_THAT(ranges(Engine::kMlxLm, 10, 3), ElementsAre("6-9", "3-5", "0-2"));
  EXPECT_THAT(ranges(Engine::kVllm, 10, 3), ElementsAre("0-2", "3-6", "7-9"));
  EXPECT_THAT(ranges(Engine::kSglang, 10, 3), ElementsAre("0-2", "3-5", "6-9"));
  EXPECT_THAT(ranges(Engine::kTransformers, 11, 3), ElementsAre("0-2", "3-5", "6-10"));
  // The docstring of vLLM: with up to size - 2 layers left, neither the first nor the last gets
  // one.
  EXPECT_THAT(counts(Engine::kVllm, 61, 4), ElementsAre(15, 15, 16, 15));
  EXPECT_THAT(counts(Engine::kVllm, 62, 4), ElementsAre(15, 16, 16, 15));
  EXPECT_THAT(counts(Engine::kVllm, 63, 4), ElementsAre(16, 16, 16, 15));
  EXPECT_THAT(counts(Engine::kSglang, 62, 4), ElementsAre(15, 15, 16, 16));
  EXPECT_THAT(counts(Engine::kMlxLm, 62, 4), ElementsAre(16, 16, 15, 15));
  EXPECT_THAT(counts(Engine::kTransformers, 62, 4), ElementsAre(15, 15, 15, 17));
  for (const Engine engine : kEngines) {
    EXPECT_THAT(counts(engine, 8, 4), Each(2U));
    EXPECT_THAT(counts(engine, 5, 1), ElementsAre(5));
    EXPECT_THAT(counts(engine, 3, 3), Each(1U));
  }
}

TEST(PresetSplits, OfUnequalMachinesAreInProportion) {
  EXPECT_THAT(counts(Engine::kExo, 28, 3, {64, 32, 16}), ElementsAre(16, 8, 4));
  EXPECT_THAT(counts(Engine::kExo, 32, 3, {64, 32, 16}), ElementsAre(18, 9, 5));
  EXPECT_THAT(ranges(Engine::kMlxLm, 32, 3, {64, 32, 16}), ElementsAre("14-31", "5-13", "0-4"));
  // Every rank runs a layer, at the cost of the largest.
  EXPECT_THAT(counts(Engine::kExo, 4, 3, {1000, 1, 1}), ElementsAre(2, 1, 1));
  // Exact thirds would tie; exo's doubles give the layer to the second, as its Python does.
  EXPECT_THAT(counts(Engine::kExo, 32, 3, {64, 16, 16}), ElementsAre(21, 6, 5));
  // Weights that add up to the layers are the counts: an engine's own setting can be pasted.
  EXPECT_THAT(counts(Engine::kVllm, 32, 3, {10, 12, 10}), ElementsAre(10, 12, 10));
  EXPECT_THAT(counts(Engine::kSglang, 61, 4, {20, 20, 20, 1}), ElementsAre(20, 20, 20, 1));
}

TEST(PresetSplits, CoverEveryLayerOnce) {
  for (const Engine engine : kEngines) {
    for (std::uint32_t layers = 1; layers <= 70; ++layers) {
      for (std::uint32_t ranks = 1; ranks <= std::min(layers, 9U); ++ranks) {
        std::vector<std::uint64_t> weights;
        for (std::uint32_t i = 0; i < ranks; ++i) weights.push_back(1 + (i * 7919 + layers) % 41);
        for (const bool weighted : {false, true}) {
          const Counts each =
              counts(engine, layers, ranks, weighted ? weights : std::vector<std::uint64_t>{});
          ASSERT_EQ(each.size(), ranks);
          ASSERT_THAT(each, Each(Ge(1U)));
          std::vector<int> covered(layers);
          for (std::uint32_t rank = 0; rank < ranks; ++rank) {
            const LayerRange range = layers_of_rank(engine, each, rank);
            for (std::uint32_t i = range.first; i <= range.last; ++i) ++covered.at(i);
          }
          ASSERT_THAT(covered, Each(1)) << engine_name(engine) << " " << layers << "/" << ranks;
        }
      }
    }
  }
}

// Six layers and an MTP layer behind them, a tower, everything at the edges.
const Manifest& preset_model() {
  static const Manifest manifest = [] {
    std::vector<TensorSpec> tensors = {
        {"model.embed_tokens.weight", {20}}, {"model.layers.6.eh_proj.weight", {9}},
        {"model.norm.weight", {3}},          {"lm_head.weight", {30}},
        {"visual.patch_embed.weight", {5}},  {"visual.blocks.0.w", {7}},
        {"visual.blocks.1.w", {7}},          {"visual.merger.w", {4}}};
    for (int i = 0; i < 6; ++i) {
      tensors.push_back({"model.layers." + std::to_string(i) + ".w", {100}});
    }
    return ModelBuilder().tensors("m.safetensors", tensors).plain("m.gguf", 3).build();
  }();
  return manifest;
}

const Outline& preset_outline() {
  static const Outline outline = make_outline(preset_model());
  return outline;
}

std::string parts_of(const Selection& selection) {
  return describe(must(without_preset(selection, preset_outline())));
}

Selection preset(Engine engine, std::uint32_t rank, std::uint32_t ranks) {
  return {.preset = {.engine = engine, .rank = rank, .ranks = ranks}};
}

void expect_preset_refused(const Selection& selection, const std::vector<std::string>& says,
                           const Outline& of = preset_outline()) {
  const auto parts = without_preset(selection, of);
  ASSERT_FALSE(parts) << describe(*parts);
  EXPECT_EQ(parts.error().code, Errc::kUsage);
  for (const std::string& part : says) EXPECT_THAT(parts.error().message, HasSubstr(part));
}

TEST(Presets, BecomePlainParts) {
  EXPECT_EQ(parts_of(preset(Engine::kExo, 2, 3)), "--layers 4-5 --shared all");
  EXPECT_EQ(parts_of(preset(Engine::kMlxLm, 0, 3)), "--layers 4-5 --shared all");
  EXPECT_EQ(parts_of(preset(Engine::kVllm, 0, 3)), "--layers 0-1 --shared towers");
  EXPECT_EQ(parts_of(preset(Engine::kTransformers, 2, 3)), "--layers 4-5");
  // vLLM and SGLang read MTP layers on the last rank.
  EXPECT_EQ(parts_of(preset(Engine::kVllm, 2, 3)), "--layers 4-6 --shared towers");
  EXPECT_EQ(parts_of(preset(Engine::kSglang, 2, 3)), "--layers 4-6");
  EXPECT_EQ(parts_of(preset(Engine::kSglang, 0, 1)), "--layers 0-6");
  // Anything else stands beside them.
  Selection with = preset(Engine::kSglang, 1, 3);
  with.tensors = {"lm_head.*"};
  with.excludes = {"*.3.*"};
  with.files = {"*.gguf"};
  with.shared = SharedTensors::kAll;
  EXPECT_EQ(parts_of(with),
            "--layers 2-3 --tensors 'lm_head.*' --exclude '*.3.*' --files '*.gguf' --shared all");
  EXPECT_EQ(must(without_preset({.layers = {{1, 1}}}, preset_outline())),
            (Selection{.layers = {{1, 1}}}));
}

TEST(Presets, ResolveToThoseParts) {
  Selection selection = preset(Engine::kMlxLm, 1, 2);
  const ResolvedSelection resolved = must(resolve(selection, preset_model(), preset_outline()));
  EXPECT_EQ(describe(resolved.parts), "--layers 0-2 --shared all");
  EXPECT_EQ(resolved.tensors,
            must(resolve(resolved.parts, preset_model(), preset_outline())).tensors);
  // Of one rank: all tensors, but no other formats.
  const ResolvedSelection alone =
      must(resolve(preset(Engine::kVllm, 0, 1), preset_model(), preset_outline()));
  EXPECT_TRUE(alone.everything);
  EXPECT_EQ(alone.left_out.size(), 1U);
  EXPECT_FALSE(preset(Engine::kVllm, 0, 1).whole());
}

TEST(Presets, OfVllmBringTheTowerToEveryRank) {
  const auto names = [](std::uint32_t rank) {
    std::vector<std::string> found;
    const auto resolved =
        must(resolve(preset(Engine::kVllm, rank, 3), preset_model(), preset_outline()));
    for (const TensorRows& run : resolved.tensors) {
      found.push_back(info_of(preset_model(), run).name);
    }
    return found;
  };
  EXPECT_THAT(names(1),
              ElementsAre("visual.patch_embed.weight", "visual.blocks.0.w", "visual.blocks.1.w",
                          "visual.merger.w", "model.layers.2.w", "model.layers.3.w"));
}

TEST(Presets, SplitTheStackThatIsNamed) {
  Selection tower = preset(Engine::kSglang, 1, 2);
  tower.stacks = {"visual.blocks"};
  EXPECT_EQ(parts_of(tower), "--layers 1 --stack visual.blocks");
  tower.stacks = {"visual.layers"};
  expect_preset_refused(tower, {"no stack 'visual.layers'", "visual.blocks"});
  tower.stacks = {"visual.blocks", "model.layers"};
  expect_preset_refused(tower, {"one stack", "2"});
}

// The tower of PaddleOCR-VL is larger than its language model.
TEST(Presets, SplitTheTextModelWhereATowerIsLarger) {
  const Manifest manifest = ModelBuilder()
                                .tensors("m.safetensors", {{"model.embed_tokens.weight", {9}},
                                                           {"lm_head.weight", {9}},
                                                           {"model.layers.0.w", {5}},
                                                           {"model.layers.1.w", {5}},
                                                           {"visual.blocks.0.w", {50}},
                                                           {"visual.blocks.1.w", {50}},
                                                           {"visual.blocks.2.w", {50}}})
                                .build();
  const Outline large = make_outline(manifest);
  const ResolvedSelection last = must(resolve(preset(Engine::kSglang, 1, 2), manifest, large));
  EXPECT_EQ(describe(last.parts), "--layers 1");
  std::vector<std::string> names;
  for (const TensorRows& run : last.tensors) {
    names.push_back(info_of(manifest, run).name);
  }
  EXPECT_THAT(names, ElementsAre("lm_head.weight", "model.layers.1.w"));
}

TEST(Presets, OfAModelWithoutLayersAreAllOfIt) {
  const Manifest manifest = ModelBuilder().tensors("m.safetensors", {{"w", {2}}}).build();
  const Outline flat = make_outline(manifest);
  EXPECT_TRUE(must(resolve(preset(Engine::kVllm, 0, 1), manifest, flat)).everything);
  expect_preset_refused(preset(Engine::kVllm, 0, 2), {"no numbered layers", "vllm"}, flat);
}

TEST(Presets, ErrorsSayWhatIsMissingOrTooMuch) {
  Selection selection{.preset = {.ranks = 3}};
  expect_preset_refused(selection, {"--for", "exo, mlx-lm, vllm, sglang or transformers"});
  selection.preset.ranks = 1;
  selection.preset.weights = {1};
  expect_preset_refused(selection, {"--for"});
  expect_preset_refused(preset(Engine::kExo, 3, 3), {"rank 3/3", "count from 0"});
  expect_preset_refused(preset(Engine::kExo, 0, 0), {"rank 0/0"});
  expect_preset_refused(preset(Engine::kExo, 0, kRanksMax + 1), {"1024"});
  expect_preset_refused(preset(Engine::kVllm, 6, 7), {"model.layers has 6 layers", "6/7"});
  selection = preset(Engine::kExo, 0, 3);
  selection.preset.weights = {64, 32};
  expect_preset_refused(selection, {"2 machines", "0/3", "one weight for each rank"});
  selection.preset.weights = {64, 0, 32};
  expect_preset_refused(selection, {"weight of rank 1 is 0"});
  selection.preset.weights = {64, 32, kWeightMax + 1};
  expect_preset_refused(selection, {"weight of rank 2"});
  selection = preset(Engine::kTransformers, 0, 2);
  selection.preset.weights = {2, 1};
  expect_preset_refused(selection, {"transformers", "leave --weights out"});
  selection = preset(Engine::kExo, 0, 2);
  selection.layers = {{0, 1}};
  expect_preset_refused(selection, {"leave --layers and --stage out"});
  selection = preset(Engine::kExo, 0, 2);
  selection.stages = {{1, 2}};
  expect_preset_refused(selection, {"leave --layers and --stage out"});
}

TEST(Presets, SayHowAnEngineIsToldOfWeights) {
  Selection selection = preset(Engine::kVllm, 0, 2);
  EXPECT_EQ(engine_setting(selection, preset_outline()), "");
  selection.preset.weights = {2, 1};
  EXPECT_EQ(engine_setting(selection, preset_outline()), "VLLM_PP_LAYER_PARTITION=4,2");
  selection.preset.engine = Engine::kSglang;
  EXPECT_EQ(engine_setting(selection, preset_outline()), "SGLANG_PP_LAYER_PARTITION=4,2");
  selection.preset.engine = Engine::kMlxLm;
  EXPECT_EQ(engine_setting(selection, preset_outline()), "split=4,2");
  selection.preset.engine = Engine::kExo;  // it measures memory itself
  EXPECT_EQ(engine_setting(selection, preset_outline()), "");
  EXPECT_EQ(engine_setting({.layers = {{0, 1}}}, preset_outline()), "");
}

}  // namespace
}  // namespace shardswarm::test
