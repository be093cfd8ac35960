// Models of several folders, as diffusion pipelines: each has stacks and edges of its own.
#include <gmock/gmock.h>

#include <set>
#include <string>
#include <vector>

#include "piece/outline.h"
#include "piece/selection.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Names = std::set<std::string>;

const Manifest& pipeline() {
  static const Manifest manifest =
      ModelBuilder()
          .plain("model_index.json", 10)
          .tensors("text_encoder/model.safetensors", {{"model.embed_tokens.weight", {7}},
                                                      {"model.layers.0.w", {20}},
                                                      {"model.layers.1.w", {21}},
                                                      {"model.norm.weight", {3}}})
          .tensors("transformer/a.safetensors",
                   {{"pos_embed.proj.weight", {5}}, {"blocks.0.w", {100}}, {"norm.weight", {2}}})
          .tensors("transformer/b.safetensors", {{"blocks.1.w", {101}}, {"single.0.w", {50}}})
          .tensors("vae/model.safetensors", {{"decoder.conv_in.weight", {6}}, {"norm.weight", {4}}})
          .build();
  return manifest;
}

Names picked(const Selection& selection) {
  const Outline outline = make_outline(pipeline());
  const ResolvedSelection resolved = must(resolve(selection, pipeline(), outline));
  Names names;
  for (const TensorRows& run : resolved.tensors) {
    for (const OutlineTensor& tensor : outline.tensors) {
      if (tensor.file != run.file || tensor.tensor != run.tensor) continue;
      names.insert(outline.full_name(tensor, pipeline()));
    }
  }
  return names;
}

TEST(OutlineComponents, AreFoldersWithTensors) {
  const Outline outline = make_outline(pipeline());
  std::vector<std::string> folders;
  for (const Component& component : outline.components) folders.push_back(component.folder);
  EXPECT_THAT(folders, ElementsAre("text_encoder/", "transformer/", "vae/"));
  std::vector<std::string> stacks;
  for (const Stack& stack : outline.stacks) stacks.push_back(stack.name);
  EXPECT_THAT(stacks,
              ElementsAre("transformer/blocks", "transformer/single", "text_encoder/model.layers"));
  EXPECT_EQ(outline.components[0].main, 2U);
  EXPECT_EQ(outline.components[1].main, 0U);
  EXPECT_EQ(outline.components[2].main, kNoStack);
  // Of its own folder alone.
  EXPECT_TRUE(outline.components[0].tied);
  EXPECT_FALSE(outline.components[1].tied);
  EXPECT_EQ(outline.stacks[0].input_bytes, 5U);
  EXPECT_EQ(outline.stacks[0].output_bytes, 2U);
  EXPECT_EQ(outline.stacks[0].everybody_bytes, 50U);
  EXPECT_EQ(outline.stacks[2].input_bytes, 7U);
  EXPECT_EQ(outline.stacks[2].output_bytes, 10U);
}

TEST(OutlineComponents, LayersAreThoseOfTheLargestStackAlone) {
  EXPECT_EQ(picked({.layers = {{1, 1}}}),
            (Names{"transformer/blocks.1.w", "transformer/norm.weight", "transformer/single.0.w"}));
  EXPECT_EQ(picked({.stages = {{1, 2}}, .stacks = {"text_encoder/model.layers"}}),
            (Names{"text_encoder/model.embed_tokens.weight", "text_encoder/model.layers.0.w"}));
}

TEST(OutlineComponents, GlobsSeeTheFolder) {
  EXPECT_EQ(picked({.tensors = {"vae/*"}}),
            (Names{"vae/decoder.conv_in.weight", "vae/norm.weight"}));
  EXPECT_EQ(picked({.tensors = {"*norm.weight"}, .excludes = {"vae/*"}}),
            (Names{"text_encoder/model.norm.weight", "transformer/norm.weight"}));
  EXPECT_FALSE(resolve({.tensors = {"norm.weight"}}, pipeline(), make_outline(pipeline())));
}

TEST(OutlineComponents, WhatIsNotALayerComesWithEverything) {
  EXPECT_EQ(picked({}).size(), 11U);
  EXPECT_TRUE(must(resolve({}, pipeline(), make_outline(pipeline()))).everything);
}

TEST(OutlineComponents, UnknownStacksAreToldWithTheirFolders) {
  const auto result = resolve({.stacks = {"blocks"}}, pipeline(), make_outline(pipeline()));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("'blocks'"));
  EXPECT_THAT(result.error().message, HasSubstr("transformer/blocks, transformer/single"));
}

// The directory itself and a folder in it, with names that look like each other's.
TEST(OutlineComponents, TheDirectoryItselfIsOne) {
  const Manifest manifest = ModelBuilder()
                                .tensors("model.safetensors", {{"a.0.w", {9}}, {"sub/a.0.w", {3}}})
                                .tensors("sub/model.safetensors", {{"a.0.w", {5}}, {"a.1.w", {5}}})
                                .build();
  const Outline outline = make_outline(manifest);
  std::vector<std::uint32_t> layers;
  for (const Stack& stack : outline.stacks) layers.push_back(stack.layers);
  EXPECT_THAT(layers, ElementsAre(2, 1, 1));
  EXPECT_EQ(outline.stacks[0].name, "sub/a");
  EXPECT_EQ(outline.stacks[1].name, "a");
  EXPECT_EQ(outline.stacks[0].bytes, 10U);
}

}  // namespace
}  // namespace shardswarm::test
