// Which tensor belongs where, by the names that real checkpoints use.
#include "piece/outline.h"

#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string shown(const std::optional<Unit>& unit) {
  return unit ? unit->stack + " " + std::to_string(unit->index) : "none";
}

TEST(UnitOf, IsTheFirstNumberWithTheWordsBeforeIt) {
  EXPECT_EQ(shown(unit_of("model.layers.7.mlp.w")), "model.layers 7");
  EXPECT_EQ(shown(unit_of("h.0")), "h 0");
  EXPECT_EQ(shown(unit_of("model.layers.12.mlp.experts.3.w1")), "model.layers 12");
  EXPECT_EQ(shown(unit_of("backbone.encoder.mlp_mixer_encoder.mixers.2.mixer_layers.1.norm")),
            "backbone.encoder.mlp_mixer_encoder.mixers 2");
  EXPECT_EQ(shown(unit_of("visual.merger.mlp.0.weight")), "visual.merger.mlp 0");
}

TEST(UnitOf, CountsComponentsOfDigitsAlone) {
  for (const char* name : {"", ".", "lm_head.weight", "model.norm", "linear_1.weight", "w2", "a.2b",
                           "a.-1.b", "a.+1.b", "a.1e3.b", "a.0x1.b", "a..b", "a. 1.b"}) {
    EXPECT_EQ(shown(unit_of(name)), "none") << name;
  }
  EXPECT_EQ(shown(unit_of("conv_1.layers.3.w")), "conv_1.layers 3");
}

// Without a word before it a number numbers nothing; a huge one is no layer: a hostile name must
// not make a table of billions of layers.
TEST(UnitOf, PassesOverNumbersThatCannotBeLayers) {
  EXPECT_EQ(shown(unit_of("0.weight")), "none");
  EXPECT_EQ(shown(unit_of("0.encoder.layer.5.weight")), "0.encoder.layer 5");
  EXPECT_EQ(shown(unit_of("layers.4294967295.w")), "none");
  EXPECT_EQ(shown(unit_of("layers.99999999999999999999.w")), "none");
}

// What a family's names must come to.
struct Family {
  std::string name;
  std::string stack;  // that --layers means
  std::uint32_t layers;
  bool tied;
  // A tensor name with its side; for Side::kLayer the layer follows from the name.
  std::vector<std::pair<std::string, Side>> tensors;
};

std::string side_name(Side side) {
  const char* const names[] = {"layer", "input", "output", "both", "everybody"};
  return names[static_cast<std::size_t>(side)];
}

void expect_outline(const Family& family) {
  SCOPED_TRACE(family.name);
  // Sizes differ, so that sums show which tensor was counted; layers outweigh everything else.
  std::vector<TensorSpec> specs;
  std::uint64_t size = 1;
  for (const auto& [name, side] : family.tensors) {
    specs.push_back({name, {side == Side::kLayer ? 1000 + size : size}});
    size += 3;
  }
  const Manifest manifest = ModelBuilder().tensors("model.safetensors", specs).build();
  const Outline outline = make_outline(manifest);
  ASSERT_FALSE(outline.stacks.empty());
  EXPECT_EQ(outline.stacks[0].name, family.stack);
  EXPECT_EQ(outline.stacks[0].layers, family.layers);
  EXPECT_EQ(outline.stacks[0].numbered, family.layers);
  ASSERT_THAT(outline.components, SizeIs(1));
  EXPECT_EQ(outline.components[0].main, 0U);
  EXPECT_EQ(outline.components[0].tied, family.tied);

  std::map<Side, std::uint64_t> bytes;
  ASSERT_EQ(outline.tensors.size(), specs.size());
  for (const OutlineTensor& tensor : outline.tensors) {
    const TensorInfo& info = info_of(manifest, tensor);
    const auto& expected = family.tensors.at(tensor.tensor.value);
    ASSERT_EQ(info.name, expected.first);
    EXPECT_EQ(side_name(tensor.main_side), side_name(expected.second)) << info.name;
    EXPECT_EQ(outline.side(tensor, 0), expected.second) << info.name;
    if (expected.second == Side::kLayer) {
      EXPECT_EQ(tensor.layer, unit_of(info.name)->index) << info.name;
      EXPECT_EQ(tensor.stack, 0U) << info.name;
    } else {
      EXPECT_NE(tensor.stack, 0U) << info.name;
    }
    bytes[expected.second] += info.bytes();
  }
  const Stack& main = outline.stacks[0];
  EXPECT_EQ(main.input_bytes, bytes[Side::kInput] + bytes[Side::kBoth]);
  EXPECT_EQ(main.output_bytes, bytes[Side::kOutput] + bytes[Side::kBoth]);
  EXPECT_EQ(main.everybody_bytes, bytes[Side::kEverybody]);
  std::uint64_t layers = 0;
  for (const std::uint64_t layer : main.layer_bytes) layers += layer;
  EXPECT_EQ(layers, bytes[Side::kLayer]);
  EXPECT_EQ(main.bytes, layers);
}

using enum Side;

TEST(Outline, OfLlamaQwenMistralAndGemma) {
  expect_outline({"untied",
                  "model.layers",
                  11,
                  false,
                  {{"lm_head.weight", kOutput},
                   {"model.embed_tokens.weight", kInput},
                   {"model.layers.0.self_attn.q_proj.weight", kLayer},
                   {"model.layers.10.mlp.gate_proj.weight", kLayer},
                   {"model.layers.2.input_layernorm.weight", kLayer},
                   {"model.norm.weight", kOutput}}});
  expect_outline({"tied",
                  "model.layers",
                  2,
                  true,
                  {{"model.embed_tokens.weight", kBoth},
                   {"model.layers.0.mlp.up_proj.weight", kLayer},
                   {"model.layers.1.mlp.up_proj.weight", kLayer},
                   {"model.norm.weight", kOutput}}});
}

TEST(Outline, OfGpt2AndFalcon) {
  expect_outline({"gpt2",
                  "h",
                  2,
                  true,
                  {{"h.0.attn.c_attn.weight", kLayer},
                   {"h.1.ln_1.bias", kLayer},
                   {"ln_f.bias", kOutput},
                   {"ln_f.weight", kOutput},
                   {"wpe.weight", kInput},
                   {"wte.weight", kBoth}}});
  expect_outline({"falcon",
                  "transformer.h",
                  2,
                  false,
                  {{"lm_head.weight", kOutput},
                   {"transformer.h.0.mlp.dense_h_to_4h.weight", kLayer},
                   {"transformer.h.1.mlp.dense_h_to_4h.weight", kLayer},
                   {"transformer.ln_f.weight", kOutput},
                   {"transformer.word_embeddings.weight", kInput}}});
}

TEST(Outline, OfBloomAndGptNeox) {
  expect_outline({"bloom",
                  "h",
                  1,
                  true,
                  {{"h.0.self_attention.query_key_value.weight", kLayer},
                   {"ln_f.weight", kOutput},
                   {"word_embeddings.weight", kBoth},
                   {"word_embeddings_layernorm.weight", kInput}}});
  expect_outline({"gpt-neox",
                  "gpt_neox.layers",
                  3,
                  false,
                  {{"embed_out.weight", kOutput},
                   {"gpt_neox.embed_in.weight", kInput},
                   {"gpt_neox.final_layer_norm.weight", kOutput},
                   {"gpt_neox.layers.0.mlp.dense.weight", kLayer},
                   {"gpt_neox.layers.2.mlp.dense.weight", kLayer}}});
}

TEST(Outline, OfMptDbrxMambaAndChatglm) {
  expect_outline({"mpt",
                  "transformer.blocks",
                  2,
                  true,
                  {{"transformer.blocks.0.ffn.up_proj.weight", kLayer},
                   {"transformer.blocks.1.norm_1.weight", kLayer},
                   {"transformer.norm_f.weight", kOutput},
                   {"transformer.wte.weight", kBoth}}});
  expect_outline({"dbrx",
                  "transformer.blocks",
                  1,
                  false,
                  {{"lm_head.weight", kOutput},
                   {"transformer.blocks.0.ffn.experts.mlp.w1", kLayer},
                   {"transformer.norm_f.weight", kOutput},
                   {"transformer.wte.weight", kInput}}});
  expect_outline({"mamba",
                  "backbone.layers",
                  2,
                  true,
                  {{"backbone.embeddings.weight", kBoth},
                   {"backbone.layers.0.mixer.A_log", kLayer},
                   {"backbone.layers.1.mixer.D", kLayer},
                   {"backbone.norm_f.weight", kOutput}}});
  expect_outline({"chatglm",
                  "transformer.encoder.layers",
                  2,
                  false,
                  {{"transformer.embedding.word_embeddings.weight", kInput},
                   {"transformer.encoder.final_layernorm.weight", kOutput},
                   {"transformer.encoder.layers.0.mlp.dense_4h_to_h.weight", kLayer},
                   {"transformer.encoder.layers.1.mlp.dense_4h_to_h.weight", kLayer},
                   {"transformer.output_layer.weight", kOutput},
                   {"transformer.rotary_pos_emb.inv_freq", kEverybody}}});
}

// The experts' numbers come after the layer's.
TEST(Outline, OfMixtralAndDeepseek) {
  expect_outline({"mixtral",
                  "model.layers",
                  2,
                  false,
                  {{"lm_head.weight", kOutput},
                   {"model.embed_tokens.weight", kInput},
                   {"model.layers.0.block_sparse_moe.experts.7.w1.weight", kLayer},
                   {"model.layers.1.block_sparse_moe.gate.weight", kLayer},
                   {"model.norm.weight", kOutput}}});
  // The MTP head is one layer more, with an embedding, norms and a head of its own inside.
  expect_outline({"deepseek",
                  "model.layers",
                  62,
                  false,
                  {{"lm_head.weight", kOutput},
                   {"model.embed_tokens.weight", kInput},
                   {"model.layers.3.mlp.experts.255.gate_proj.weight", kLayer},
                   {"model.layers.3.mlp.experts.255.gate_proj.weight_scale_inv", kLayer},
                   {"model.layers.60.mlp.shared_experts.up_proj.weight", kLayer},
                   {"model.layers.61.embed_tokens.weight", kLayer},
                   {"model.layers.61.enorm.weight", kLayer},
                   {"model.layers.61.shared_head.head.weight", kLayer},
                   {"model.norm.weight", kOutput}}});
}

// The head inside the MTP layer is not the model's.
TEST(Outline, AHeadInsideALayerDoesNotUntieTheModel) {
  expect_outline({"deepseek-like",
                  "model.layers",
                  2,
                  true,
                  {{"model.embed_tokens.weight", kBoth},
                   {"model.layers.0.mlp.up_proj.weight", kLayer},
                   {"model.layers.1.shared_head.head.weight", kLayer},
                   {"model.norm.weight", kOutput}}});
}

// A tower runs before the first layer: only the first stage needs it, with layers of its own and
// what projects its output.
TEST(Outline, OfVisionLanguageModels) {
  expect_outline({"qwen-like",
                  "language_model.model.layers",
                  2,
                  false,
                  {{"language_model.lm_head.weight", kOutput},
                   {"language_model.model.embed_tokens.weight", kInput},
                   {"language_model.model.layers.0.mlp.up_proj.weight", kLayer},
                   {"language_model.model.layers.1.mlp.up_proj.weight", kLayer},
                   {"language_model.model.norm.weight", kOutput},
                   {"visual.blocks.0.attn.qkv.weight", kInput},
                   {"visual.blocks.31.attn.qkv.weight", kInput},
                   {"visual.merger.mlp.0.weight", kInput},
                   {"visual.patch_embed.proj.weight", kInput}}});
  expect_outline({"llava-like",
                  "language_model.model.layers",
                  1,
                  true,
                  {{"language_model.model.embed_tokens.weight", kBoth},
                   {"language_model.model.layers.0.mlp.up_proj.weight", kLayer},
                   {"language_model.model.norm.weight", kOutput},
                   {"multi_modal_projector.linear_1.weight", kInput},
                   {"vision_tower.vision_model.encoder.layers.5.mlp.fc1.weight", kInput}}});
}

// What puts pictures and sounds among the words is no embedding of words: these are untied.
TEST(Outline, OfEmbeddingsOfOtherSenses) {
  expect_outline({"gemma3n",
                  "model.language_model.layers",
                  1,
                  false,
                  {{"lm_head.weight", kOutput},
                   {"model.audio_tower.conformer.0.norm.weight", kInput},
                   {"model.embed_audio.embedding.weight", kInput},
                   {"model.embed_audio.embedding_projection.weight", kInput},
                   {"model.embed_audio.hard_embedding_norm.weight", kInput},
                   {"model.embed_vision.embedding.weight", kInput},
                   {"model.embed_vision.embedding_projection.weight", kInput},
                   {"model.language_model.layers.0.w", kLayer},
                   {"model.language_model.norm.weight", kOutput}}});
  expect_outline(
      {"phi3-vision",
       "model.layers",
       1,
       true,
       {{"model.embed_tokens.weight", kBoth},
        {"model.layers.0.w", kLayer},
        {"model.vision_embed_tokens.glb_GN", kInput},
        {"model.vision_embed_tokens.img_processor.vision_model.encoder.layers.0.w", kInput},
        {"model.vision_embed_tokens.img_projection.0.weight", kInput},
        {"model.vision_embed_tokens.wte.weight", kInput}}});
}

// The pooling head of a SigLIP tower reads pictures; without a head for words the last stage needs
// the embedding.
TEST(Outline, AHeadOfTheVisionTowerDoesNotUntieTheModel) {
  const Manifest manifest =
      ModelBuilder()
          .tensors("model.safetensors", {{"language_model.model.embed_tokens.weight", {9}},
                                         {"language_model.model.layers.0.mlp.w", {1000}},
                                         {"vision_tower.vision_model.encoder.layers.0.w", {10}},
                                         {"vision_tower.vision_model.head.mlp.fc1.weight", {11}}})
          .build();
  EXPECT_TRUE(make_outline(manifest).components.at(0).tied);
}

// Two stacks: the larger one is meant by --layers, the other runs before it.
TEST(Outline, OfT5) {
  expect_outline({"t5",
                  "decoder.block",
                  2,
                  true,
                  {{"decoder.block.0.layer.0.SelfAttention.q.weight", kLayer},
                   {"decoder.block.1.layer.1.EncDecAttention.q.weight", kLayer},
                   {"decoder.final_layer_norm.weight", kOutput},
                   {"encoder.block.0.layer.0.SelfAttention.q.weight", kInput},
                   {"encoder.block.1.layer.1.DenseReluDense.wi.weight", kInput},
                   {"encoder.final_layer_norm.weight", kInput},
                   {"shared.weight", kBoth}}});
}

TEST(Outline, OfQuantisedMlxModels) {
  expect_outline({"mlx",
                  "model.layers",
                  2,
                  false,
                  {{"lm_head.biases", kOutput},
                   {"lm_head.scales", kOutput},
                   {"lm_head.weight", kOutput},
                   {"model.embed_tokens.biases", kInput},
                   {"model.embed_tokens.scales", kInput},
                   {"model.embed_tokens.weight", kInput},
                   {"model.layers.0.mlp.switch_mlp.gate_proj.scales", kLayer},
                   {"model.layers.0.mlp.switch_mlp.gate_proj.weight", kLayer},
                   {"model.layers.1.mlp.switch_mlp.gate_proj.biases", kLayer},
                   {"model.norm.weight", kOutput}}});
}

TEST(Outline, OfNamesThatNobodyKnows) {
  expect_outline({"unknown",
                  "a.b",
                  5,
                  false,
                  {{"a.b.4.w", kLayer}, {"rope.freqs", kEverybody}, {"whatever", kEverybody}}});
}

TEST(Outline, LeavesSpareTensorsOut) {
  const Manifest manifest =
      ModelBuilder()
          .plain("config.json", 10)
          .tensors("consolidated.safetensors", {{"layers.0.w", {100}}}, FileKind::kSpareTensors)
          .tensors("model.safetensors", {{"model.layers.0.w", {5}}})
          .build();
  const Outline outline = make_outline(manifest);
  ASSERT_THAT(outline.tensors, SizeIs(1));
  EXPECT_EQ(outline.tensors[0].file, FileIndex(2));
  ASSERT_THAT(outline.stacks, SizeIs(1));
  EXPECT_EQ(outline.stacks[0].name, "model.layers");
}

TEST(Outline, OfAModelWithoutLayers) {
  const Outline outline = make_outline(
      ModelBuilder().tensors("m.safetensors", {{"embedding.weight", {5}}, {"w", {2}}}).build());
  EXPECT_THAT(outline.stacks, IsEmpty());
  ASSERT_THAT(outline.components, SizeIs(1));
  EXPECT_EQ(outline.components[0].main, kNoStack);
  EXPECT_FALSE(outline.components[0].tied);
  ASSERT_THAT(outline.tensors, SizeIs(2));
  EXPECT_EQ(side_name(outline.tensors[0].side), "input");
  EXPECT_EQ(side_name(outline.tensors[1].side), "everybody");
  EXPECT_EQ(outline.find_stack("m"), std::nullopt);
  const Outline none = make_outline(ModelBuilder().plain("a", 1).build());
  EXPECT_THAT(none.tensors, IsEmpty());
  EXPECT_THAT(none.components, IsEmpty());
}

// A real checkpoint's names: stacks below both the encoder and the decoder of a time-series model,
// layers within a layer, a head that is none of a language model.
TEST(Outline, OfATinyTimeMixer) {
  expect_outline(
      {"granite-ttm",
       "backbone.encoder.mlp_mixer_encoder.mixers",
       3,
       false,
       {{"backbone.encoder.mlp_mixer_encoder.mixers.0.mixer_layers.1.feature_mixer.mlp.fc1.weight",
         kLayer},
        {"backbone.encoder.mlp_mixer_encoder.mixers.2.mixer_layers.0.patch_mixer.norm.norm.bias",
         kLayer},
        {"backbone.encoder.patcher.weight", kEverybody},
        {"decoder.adapter.weight", kEverybody},
        {"decoder.decoder_block.mixers.1.feature_mixer.mlp.fc1.weight", kEverybody},
        {"head.base_forecast_block.weight", kOutput}}});
}

TEST(Outline, OfBart) {
  expect_outline({"bart",
                  "model.decoder.layers",
                  2,
                  true,
                  {{"model.decoder.embed_positions.weight", kInput},
                   {"model.decoder.layernorm_embedding.weight", kInput},
                   {"model.decoder.layers.0.fc1.weight", kLayer},
                   {"model.decoder.layers.0.encoder_attn.k_proj.weight", kLayer},
                   {"model.decoder.layers.1.fc1.weight", kLayer},
                   {"model.encoder.embed_tokens.weight", kInput},
                   {"model.encoder.layers.0.fc1.weight", kInput},
                   {"model.shared.weight", kBoth}}});
}

// A tower alone is not before anything.
TEST(Outline, OfAVisionModelAlone) {
  expect_outline({"clip-vision",
                  "vision_model.encoder.layers",
                  1,
                  false,
                  {{"vision_model.embeddings.class_embedding", kInput},
                   {"vision_model.encoder.layers.0.mlp.fc1.weight", kLayer},
                   {"vision_model.post_layernorm.weight", kOutput},
                   {"vision_model.pre_layrnorm.weight", kInput},
                   {"visual_projection.weight", kOutput}}});
}

// Layers that predict further tokens stand behind the last one, in a folder of their own, and read
// the token embedding there, although the model is not tied.
TEST(Outline, OfQwen3Next) {
  expect_outline({"qwen3-next",
                  "model.layers",
                  1,
                  false,
                  {{"lm_head.weight", kOutput},
                   {"model.embed_tokens.weight", kBoth},
                   {"model.layers.0.mlp.gate.weight", kLayer},
                   {"mtp.fc.weight", kOutput},
                   {"mtp.layers.0.mlp.gate.weight", kOutput},
                   {"mtp.norm.weight", kOutput}}});
}

TEST(Outline, OfGpt2WithAPrefix) {
  expect_outline({"gpt2-prefixed",
                  "transformer.h",
                  1,
                  true,
                  {{"transformer.h.0.attn.c_attn.weight", kLayer},
                   {"transformer.ln_f.weight", kOutput},
                   {"transformer.wpe.weight", kInput},
                   {"transformer.wte.weight", kBoth}}});
}

}  // namespace
}  // namespace shardswarm::test
