// Stacks beside the main one, and the layers behind the last: what stands to which stack, and how.
#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "piece/outline.h"
#include "piece/outline_roles.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Sides = std::map<std::string, Side>;

using enum Side;

Manifest model_of(const std::vector<TensorSpec>& tensors) {
  return ModelBuilder().tensors("model.safetensors", tensors).build();
}

// All tensors that have something to do with this stack.
Sides sides_to(const Manifest& manifest, const std::string& stack) {
  const Outline outline = make_outline(manifest);
  const std::uint32_t index = outline.find_stack(stack).value();
  Sides sides;
  Stack sums;
  for (const OutlineTensor& tensor : outline.tensors) {
    const auto side = outline.side(tensor, index);
    if (!side) continue;
    sides[outline.full_name(tensor, manifest)] = *side;
    const std::uint64_t bytes = info_of(manifest, tensor).bytes();
    if (*side == Side::kInput || *side == Side::kBoth) sums.input_bytes += bytes;
    if (*side == Side::kOutput || *side == Side::kBoth) sums.output_bytes += bytes;
    if (*side == Side::kEverybody) sums.everybody_bytes += bytes;
  }
  EXPECT_EQ(outline.stacks[index].input_bytes, sums.input_bytes);
  EXPECT_EQ(outline.stacks[index].output_bytes, sums.output_bytes);
  EXPECT_EQ(outline.stacks[index].everybody_bytes, sums.everybody_bytes);
  return sides;
}

TEST(OutlineStacks, AreOrderedByBytesThenByName) {
  const Manifest manifest =
      ModelBuilder()
          .tensors("a.safetensors",
                   {{"small.0.w", {5}}, {"y.0.w", {7}}, {"large.0.w", {6}}, {"x.3.w", {7}}})
          .tensors("b.safetensors", {{"large.9.w", {6}}, {"zero.2.w", {0}}})
          .build();
  const Outline outline = make_outline(manifest);
  std::vector<std::string> names;
  std::vector<std::uint32_t> layers;
  for (const Stack& stack : outline.stacks) {
    names.push_back(stack.name);
    layers.push_back(stack.layers);
  }
  EXPECT_THAT(names, ElementsAre("large", "x", "y", "small", "zero"));
  EXPECT_THAT(layers, ElementsAre(10, 4, 1, 1, 3));
  EXPECT_EQ(outline.stacks[0].bytes, 12U);
  EXPECT_EQ(outline.stacks[0].tensors, 2U);
  EXPECT_THAT(outline.stacks[0].layer_bytes, ElementsAre(6, 0, 0, 0, 0, 0, 0, 0, 0, 6));
  EXPECT_THAT(outline.stacks[4].layer_bytes, ElementsAre(0, 0, 0));
  for (const OutlineTensor& tensor : outline.tensors) {
    const std::string& name = info_of(manifest, tensor).name;
    EXPECT_EQ(outline.stacks.at(tensor.stack).name, unit_of(name)->stack);
  }
}

TEST(OutlineStacks, TheEncoderOfT5ReadsTheSharedEmbedding) {
  const Manifest manifest = model_of({{"decoder.block.0.w", {100}},
                                      {"decoder.embed_tokens.weight", {2}},
                                      {"decoder.final_layer_norm.weight", {3}},
                                      {"encoder.block.0.w", {40}},
                                      {"encoder.block.1.w", {41}},
                                      {"encoder.dropout.rate", {4}},
                                      {"encoder.final_layer_norm.weight", {5}},
                                      {"lm_head.weight", {6}},
                                      {"shared.weight", {7}}});
  EXPECT_EQ(sides_to(manifest, "encoder.block"),
            (Sides{{"encoder.block.0.w", kLayer},
                   {"encoder.block.1.w", kLayer},
                   {"encoder.dropout.rate", kEverybody},
                   {"encoder.final_layer_norm.weight", kOutput},
                   {"shared.weight", kInput}}));
  EXPECT_EQ(sides_to(manifest, "decoder.block"),
            (Sides{{"decoder.block.0.w", kLayer},
                   {"decoder.embed_tokens.weight", kInput},
                   {"decoder.final_layer_norm.weight", kOutput},
                   {"encoder.block.0.w", kInput},
                   {"encoder.block.1.w", kInput},
                   {"encoder.dropout.rate", kInput},
                   {"encoder.final_layer_norm.weight", kInput},
                   {"lm_head.weight", kOutput},
                   {"shared.weight", kInput}}));
}

// Whisper's turbo: 32 layers listen, 4 write. The decoder runs behind them.
TEST(OutlineStacks, TheDecoderComesBehindALargerEncoder) {
  const Manifest manifest = model_of({{"model.decoder.embed_positions.weight", {2}},
                                      {"model.decoder.embed_tokens.weight", {3}},
                                      {"model.decoder.layer_norm.weight", {4}},
                                      {"model.decoder.layers.0.w", {20}},
                                      {"model.decoder.layers.1.w", {21}},
                                      {"model.encoder.conv1.weight", {5}},
                                      {"model.encoder.embed_positions.weight", {6}},
                                      {"model.encoder.layers.0.w", {100}},
                                      {"model.encoder.layers.1.w", {101}},
                                      {"proj_out.weight", {7}}});
  EXPECT_EQ(sides_to(manifest, "model.encoder.layers"),
            (Sides{{"model.decoder.embed_positions.weight", kOutput},
                   {"model.decoder.embed_tokens.weight", kOutput},
                   {"model.decoder.layer_norm.weight", kOutput},
                   {"model.decoder.layers.0.w", kOutput},
                   {"model.decoder.layers.1.w", kOutput},
                   {"model.encoder.conv1.weight", kInput},
                   {"model.encoder.embed_positions.weight", kInput},
                   {"model.encoder.layers.0.w", kLayer},
                   {"model.encoder.layers.1.w", kLayer},
                   {"proj_out.weight", kOutput}}));
  EXPECT_EQ(sides_to(manifest, "model.decoder.layers"),
            (Sides{{"model.decoder.embed_positions.weight", kInput},
                   {"model.decoder.embed_tokens.weight", kInput},
                   {"model.decoder.layer_norm.weight", kOutput},
                   {"model.decoder.layers.0.w", kLayer},
                   {"model.decoder.layers.1.w", kLayer},
                   {"proj_out.weight", kOutput}}));
  EXPECT_FALSE(make_outline(manifest).components[0].tied);
}

TEST(OutlineStacks, ATowerHasItsOwnEdges) {
  const Manifest manifest = model_of({{"lm_head.weight", {1}},
                                      {"model.embed_tokens.weight", {2}},
                                      {"model.layers.0.w", {100}},
                                      {"visual.blocks.0.w", {30}},
                                      {"visual.blocks.1.w", {31}},
                                      {"visual.merger.ln_q.weight", {3}},
                                      {"visual.merger.mlp.0.weight", {4}},
                                      {"visual.patch_embed.proj.weight", {5}},
                                      {"visual.pos_embed.weight", {6}},
                                      {"visual.rope", {7}},
                                      {"wte.weight", {8}}});
  EXPECT_EQ(sides_to(manifest, "visual.blocks"), (Sides{{"visual.blocks.0.w", kLayer},
                                                        {"visual.blocks.1.w", kLayer},
                                                        {"visual.merger.ln_q.weight", kOutput},
                                                        {"visual.merger.mlp.0.weight", kOutput},
                                                        {"visual.patch_embed.proj.weight", kInput},
                                                        {"visual.pos_embed.weight", kInput},
                                                        {"visual.rope", kEverybody}}));
}

// PaddleOCR-VL and its like. No engine splits a tower over pipeline stages.
TEST(OutlineStacks, ATowerLargerThanTheLanguageModelIsNotMain) {
  const Manifest manifest = model_of({{"lm_head.weight", {1}},
                                      {"mlp_AR.linear_1.weight", {2}},
                                      {"model.embed_tokens.weight", {3}},
                                      {"model.layers.0.w", {10}},
                                      {"model.layers.1.w", {11}},
                                      {"model.norm.weight", {4}},
                                      {"visual.vision_model.encoder.layers.0.w", {500}},
                                      {"visual.vision_model.head.probe", {5}}});
  const Outline outline = make_outline(manifest);
  EXPECT_EQ(outline.stacks[0].name, "model.layers");
  EXPECT_EQ(outline.stacks[1].module, Module::kTower);
  EXPECT_EQ(sides_to(manifest, "model.layers"),
            (Sides{{"lm_head.weight", kOutput},
                   {"mlp_AR.linear_1.weight", kInput},
                   {"model.embed_tokens.weight", kInput},
                   {"model.layers.0.w", kLayer},
                   {"model.layers.1.w", kLayer},
                   {"model.norm.weight", kOutput},
                   {"visual.vision_model.encoder.layers.0.w", kInput},
                   {"visual.vision_model.head.probe", kInput}}));
}

// Without tokens there is no language model: a small stack of unknown use does not come before the
// tower.
TEST(OutlineStacks, ATowerIsMainWhereNothingReadsTokens) {
  const Outline outline = make_outline(model_of({{"mask_decoder.layers.0.w", {10}},
                                                 {"vision_encoder.layers.0.w", {500}},
                                                 {"vision_encoder.layers.1.w", {500}}}));
  EXPECT_EQ(outline.stacks[0].name, "vision_encoder.layers");
  EXPECT_EQ(outline.components[0].main, 0U);
}

// MusicGen has a head a codebook, ERNIE a norm an MTP layer.
TEST(OutlineStacks, NumbersBelowEmbeddingsAndHeadsAreNoLayers) {
  const Manifest manifest = model_of({{"layers.0.w", {10}},
                                      {"layers.1.w", {10}},
                                      {"embed_tokens.0.weight", {50}},
                                      {"embed_tokens.1.weight", {50}},
                                      {"lm_heads.0.weight", {60}},
                                      {"lm_heads.1.weight", {60}}});
  EXPECT_THAT(make_outline(manifest).stacks, SizeIs(1));
  EXPECT_EQ(sides_to(manifest, "layers"), (Sides{{"embed_tokens.0.weight", kInput},
                                                 {"embed_tokens.1.weight", kInput},
                                                 {"layers.0.w", kLayer},
                                                 {"layers.1.w", kLayer},
                                                 {"lm_heads.0.weight", kOutput},
                                                 {"lm_heads.1.weight", kOutput}}));
}

// The tied head of a decoder that is smaller than its encoder, with an embedding of its own or one
// that both read.
TEST(OutlineStacks, TheHeadOfASmallerDecoderMayBeTied) {
  const std::vector<TensorSpec> layers = {{"model.decoder.layers.0.w", {20}},
                                          {"model.decoder.layers.1.w", {20}},
                                          {"model.encoder.layers.0.w", {100}},
                                          {"model.encoder.layers.1.w", {100}}};
  for (const char* embedding : {"model.decoder.embed_tokens.weight", "model.shared.weight"}) {
    std::vector<TensorSpec> tensors = layers;
    tensors.push_back({embedding, {7}});
    const Manifest manifest = model_of(tensors);
    EXPECT_EQ(sides_to(manifest, "model.decoder.layers").at(embedding), Side::kBoth);
    EXPECT_TRUE(make_outline(manifest).components[0].tied);
    tensors.push_back({"lm_head.weight", {8}});
    const Manifest untied = model_of(tensors);
    EXPECT_EQ(sides_to(untied, "model.decoder.layers").at(embedding), kInput);
    EXPECT_EQ(sides_to(untied, "model.decoder.layers").at("lm_head.weight"), kOutput);
    EXPECT_FALSE(make_outline(untied).components[0].tied);
  }
  // The encoder's last stage brings the decoder, which reads the embedding.
  std::vector<TensorSpec> tensors = layers;
  tensors.push_back({"model.shared.weight", {7}});
  EXPECT_EQ(sides_to(model_of(tensors), "model.encoder.layers").at("model.shared.weight"),
            Side::kBoth);
}

// Zamba2: layers 1 and 3 use a block that layer 1 stores.
TEST(OutlineStacks, ABlockThatLayersShareComesWithEveryPart) {
  const std::vector<TensorSpec> tensors = {{"layers.0.mamba.w", {10}},
                                           {"layers.1.linear.weight", {11}},
                                           {"layers.1.shared_transformer.norm.weight", {12}},
                                           {"layers.2.mamba.w", {13}},
                                           {"layers.3.linear.weight", {14}}};
  EXPECT_EQ(sides_to(model_of(tensors), "layers"),
            (Sides{{"layers.0.mamba.w", kLayer},
                   {"layers.1.linear.weight", kLayer},
                   {"layers.1.shared_transformer.norm.weight", kEverybody},
                   {"layers.2.mamba.w", kLayer},
                   {"layers.3.linear.weight", kLayer}}));
  const Outline outline = make_outline(model_of(tensors));
  EXPECT_THAT(outline.stacks[0].layer_bytes, ElementsAre(10, 11, 13, 14));
  EXPECT_EQ(outline.stacks[0].everybody_bytes, 12U);
  EXPECT_TRUE(outline.tensors[2].shared_block);
  EXPECT_EQ(outline.tensors[2].stack, kNoStack);
}

// A converter may write the block into each layer that uses it. Then no layer needs another's.
TEST(OutlineStacks, ABlockThatEachLayerStoresIsItsOwn) {
  EXPECT_EQ(sides_to(model_of({{"layers.0.mamba.w", {10}},
                               {"layers.1.linear.weight", {11}},
                               {"layers.1.shared_transformer.w", {12}},
                               {"layers.2.linear.weight", {13}},
                               {"layers.2.shared_transformer.w", {14}}}),
                     "layers"),
            (Sides{{"layers.0.mamba.w", kLayer},
                   {"layers.1.linear.weight", kLayer},
                   {"layers.1.shared_transformer.w", kLayer},
                   {"layers.2.linear.weight", kLayer},
                   {"layers.2.shared_transformer.w", kLayer}}));
}

// The thinker, the talker and what draws the sound stand side by side.
TEST(OutlineStacks, SpeakersRunBehindTheLanguageModel) {
  const Manifest manifest = model_of({{"code2wav.decoder.0.w", {1}},
                                      {"talker.code_predictor.layers.0.w", {2}},
                                      {"talker.code_predictor.lm_head.0.weight", {3}},
                                      {"talker.codec_head.weight", {4}},
                                      {"talker.layers.0.w", {50}},
                                      {"talker.model.codec_embedding.weight", {5}},
                                      {"thinker.layers.0.w", {100}},
                                      {"thinker.layers.1.w", {100}},
                                      {"thinker.embed_tokens.weight", {6}},
                                      {"thinker.lm_head.weight", {7}}});
  EXPECT_EQ(sides_to(manifest, "thinker.layers"),
            (Sides{{"code2wav.decoder.0.w", kOutput},
                   {"talker.code_predictor.layers.0.w", kOutput},
                   {"talker.code_predictor.lm_head.0.weight", kOutput},
                   {"talker.codec_head.weight", kOutput},
                   {"talker.layers.0.w", kOutput},
                   {"talker.model.codec_embedding.weight", kOutput},
                   {"thinker.layers.0.w", kLayer},
                   {"thinker.layers.1.w", kLayer},
                   {"thinker.embed_tokens.weight", kInput},
                   {"thinker.lm_head.weight", kOutput}}));
  EXPECT_EQ(sides_to(manifest, "talker.layers"),
            (Sides{{"talker.code_predictor.layers.0.w", kOutput},
                   {"talker.code_predictor.lm_head.0.weight", kOutput},
                   {"talker.codec_head.weight", kOutput},
                   {"talker.layers.0.w", kLayer},
                   {"talker.model.codec_embedding.weight", kInput}}));
}

TEST(OutlineStacks, AProjectorsNumbersAreNoLayers) {
  const Outline outline = make_outline(model_of({{"language_model.model.layers.0.w", {9}},
                                                 {"mlp1.0.weight", {20}},
                                                 {"mlp1.3.weight", {20}},
                                                 {"multi_modal_projector.layers.1.weight", {20}}}));
  ASSERT_THAT(outline.stacks, SizeIs(1));
  EXPECT_EQ(outline.stacks[0].name, "language_model.model.layers");
  EXPECT_EQ(outline.stacks[0].input_bytes, 60U);
}

TEST(OutlineStacks, UnknownOnesAreEverybodys) {
  const Manifest manifest =
      model_of({{"model.layers.0.w", {9}}, {"other.layers.0.w", {2}}, {"other.norm.weight", {1}}});
  EXPECT_EQ(sides_to(manifest, "model.layers"), (Sides{{"model.layers.0.w", kLayer},
                                                       {"other.layers.0.w", kEverybody},
                                                       {"other.norm.weight", kEverybody}}));
  EXPECT_EQ(sides_to(manifest, "other.layers"),
            (Sides{{"other.layers.0.w", kLayer}, {"other.norm.weight", kOutput}}));
}

// DeepSeek-V3 and GLM: one layer more than num_hidden_layers says.
TEST(OutlineStacks, MtpLayersStandBehindTheOthers) {
  const Manifest manifest = model_of({{"lm_head.weight", {1}},
                                      {"model.embed_tokens.weight", {2}},
                                      {"model.layers.0.w", {10}},
                                      {"model.layers.1.w", {11}},
                                      {"model.layers.2.eh_proj.weight", {12}},
                                      {"model.layers.2.mlp.experts.3.w", {13}},
                                      {"model.layers.3.eh_proj.weight", {14}},
                                      {"model.layers.3.shared_head.head.weight", {15}}});
  const Outline outline = make_outline(manifest);
  ASSERT_THAT(outline.stacks, SizeIs(1));
  const Stack& stack = outline.stacks[0];
  EXPECT_EQ(stack.layers, 2U);
  EXPECT_EQ(stack.numbered, 4U);
  EXPECT_EQ(stack.bytes, 75U);
  EXPECT_THAT(stack.layer_bytes, ElementsAre(10, 11, 25, 29));
  EXPECT_EQ(stack.output_bytes, 1U + 2 + 25 + 29);
  EXPECT_FALSE(outline.components[0].tied);
  EXPECT_EQ(sides_to(manifest, "model.layers"),
            (Sides{{"lm_head.weight", kOutput},
                   {"model.embed_tokens.weight", Side::kBoth},
                   {"model.layers.0.w", kLayer},
                   {"model.layers.1.w", kLayer},
                   {"model.layers.2.eh_proj.weight", kOutput},
                   {"model.layers.2.mlp.experts.3.w", kOutput},
                   {"model.layers.3.eh_proj.weight", kOutput},
                   {"model.layers.3.shared_head.head.weight", kOutput}}));
  for (const OutlineTensor& tensor : outline.tensors) {
    if (tensor.side != kOutput || tensor.stack == kNoStack) continue;
    EXPECT_EQ(tensor.stack, 0U);
    EXPECT_GE(tensor.layer, 2U);
  }
}

// GLM-4.5's MTP layer holds a copy of the embedding; Qwen3-Next's reads the model's, as LongCat's
// would if it had none of its own.
TEST(OutlineStacks, MtpLayersReadTheEmbeddingUnlessTheyHoldACopy) {
  const std::vector<TensorSpec> base = {{"lm_head.weight", {1}},
                                        {"model.embed_tokens.weight", {2}},
                                        {"model.layers.0.w", {50}},
                                        {"model.layers.1.w", {51}}};
  const auto embedding = [&](const std::vector<TensorSpec>& mtp, const std::string& stack) {
    std::vector<TensorSpec> tensors = base;
    tensors.insert(tensors.end(), mtp.begin(), mtp.end());
    return sides_to(model_of(tensors), stack)["model.embed_tokens.weight"];
  };
  EXPECT_EQ(embedding({}, "model.layers"), kInput);
  for (const char* layer : {"model.layers.2", "mtp.layers.0", "model.mtp_block.0", "mtp.0"}) {
    const std::string name = layer;
    EXPECT_EQ(embedding({{name + ".eh_proj.weight", {3}}}, "model.layers"), Side::kBoth) << name;
    EXPECT_EQ(embedding({{name + ".eh_proj.weight", {3}}, {name + ".embed_tokens.weight", {2}}},
                        "model.layers"),
              kInput)
        << name;
  }
  EXPECT_EQ(embedding({{"mtp.layers.0.w", {3}}}, "mtp.layers"), kInput);
}

TEST(OutlineStacks, OnlyTrailingLayersAreMtpLayers) {
  const Outline outline = make_outline(model_of({{"a.0.w", {100}},
                                                 {"a.1.eh_proj.w", {1}},
                                                 {"a.2.w", {1}},
                                                 {"a.3.eh_projx", {1}},
                                                 {"mtp.0.eh_proj.w", {1}},
                                                 {"mtp.1.eh_proj.w", {1}}}));
  EXPECT_EQ(outline.stacks[0].layers, 4U);
  // Nothing for them to stand behind.
  EXPECT_EQ(outline.stacks[1].name, "mtp");
  EXPECT_EQ(outline.stacks[1].layers, 2U);
}

// A few kilobytes of names must not make gigabytes of tables: the largest stacks fit, the others'
// tensors stand outside all layers.
TEST(OutlineStacks, HostileNumbersMakeNoLargeTables) {
  std::vector<TensorSpec> tensors = {{"real.0.w", {1000}}, {"real.1.w", {1000}}};
  for (int i = 10; i < 60; ++i) tensors.push_back({"s" + std::to_string(i) + ".99999.w", {1}});
  const Manifest manifest = model_of(tensors);
  const Outline outline = make_outline(manifest);
  EXPECT_EQ(outline.stacks[0].name, "real");
  std::uint64_t numbered = 0;
  for (const Stack& stack : outline.stacks) numbered += stack.numbered;
  EXPECT_LE(numbered, kNumberedLayersMax);
  EXPECT_THAT(outline.stacks, SizeIs(11));
  EXPECT_EQ(outline.stacks[10].name, "s19");
  for (const OutlineTensor& tensor : outline.tensors) {
    const std::string name = outline.full_name(tensor, manifest);
    EXPECT_EQ(tensor.stack == kNoStack, name > "s2") << name;
    EXPECT_TRUE(outline.side(tensor, 0)) << name;
  }
}

// Quadratic rules need 10^10 steps for this, and a table of all stacks a gigabyte for a header of
// 2^20 of them: the largest are stacks, the others' tensors stand outside all layers.
TEST(OutlineStacks, ManyStacksAndTensorsBesideThemAreNoTrap) {
  std::vector<TensorSpec> tensors;
  for (int i = 0; i < 60'000; ++i) {
    tensors.push_back({"a.s" + std::to_string(i) + ".0.w", {1}});
    tensors.push_back({"a.s" + std::to_string(i) + ".embedding", {1}});
  }
  const Outline outline = make_outline(model_of(tensors));
  EXPECT_THAT(outline.stacks, SizeIs(kStacksMax));
  std::size_t homes = 0;
  for (const OutlineTensor& tensor : outline.tensors) homes += tensor.home != kNoStack ? 1 : 0;
  EXPECT_EQ(homes, kStacksMax - 1);  // one stands beside the main stack
}

// Names as long as they may be, alike in all words, and embeddings at each depth: stacks times
// embeddings times words are 10^8 steps.
TEST(OutlineStacks, NamesOfThousandsOfWordsAreNoTrap) {
  std::string deep = "a";
  while (deep.size() < 4'000) deep += ".a";
  std::vector<TensorSpec> tensors;
  std::string shallow;
  for (std::size_t i = 0; i < kWordsMax + 1; ++i) {
    tensors.push_back({shallow + "embedding", {1}});
    shallow += "a.";
  }
  for (int i = 0; i < 5'000; ++i)
    tensors.push_back({deep + ".s" + std::to_string(i) + ".0.w", {1}});
  const Outline outline = make_outline(model_of(tensors));
  EXPECT_THAT(outline.stacks, SizeIs(kStacksMax));
  for (const Stack& stack : outline.stacks) ASSERT_EQ(stack.main_words, kWordsMax);
  std::set<std::uint32_t> depths;
  for (const OutlineTensor& tensor : outline.tensors) {
    if (tensor.edge != Edge::kEmbedding) continue;
    depths.insert(tensor.edge_words);
    EXPECT_EQ(outline.side(tensor, kStacksMax - 1), kInput);
  }
  EXPECT_THAT(depths, SizeIs(kWordsMax + 1));
}

TEST(OutlineStacks, OddNamesAreHarmless) {
  for (const char* name : {"", ".", "..", ".0", ".0.", "..0", "a.0", "a.0.", "a..0.w", "0.0.0",
                           "experts.0", "a.0.experts", "a.0.experts.", "a.0.experts.0",
                           "a.0.gate.weight", "a.00000.experts.00001.w", "mtp", "eh_proj.0"}) {
    const Outline outline = make_outline(model_of({{name, {3, 2, 1}}, {"b.0.w", {1}}}));
    ASSERT_THAT(outline.tensors, SizeIs(2)) << name;
    EXPECT_TRUE(outline.side(outline.tensors[0], 0)) << name;
  }
}

}  // namespace
}  // namespace shardswarm::test
