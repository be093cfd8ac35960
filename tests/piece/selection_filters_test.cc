// Stacks, slices and excludes: what they leave of a selection, and what they are refused for.
#include <gmock/gmock.h>

#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/limits.h"
#include "piece/selection.h"
#include "piece/selection_text.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using limits::kMiB;
using ::testing::HasSubstr;
using Picked = std::set<std::string>;  // names, with rows where not all are there

const Manifest& filters_model() {
  static const Manifest manifest =
      ModelBuilder()
          .plain("config.json", 10)
          .tensors("m.safetensors", {{"lm_head.weight", {30, 2}},
                                     {"model.embed_tokens.weight", {50257}},
                                     {"model.layers.0.q_proj.weight", {16, kMiB / 2 + 1}},
                                     {"model.layers.0.o_proj.weight", {8, 3}, Dtype::kF4},
                                     {"model.layers.0.scale", {}},
                                     {"model.layers.0.void", {0, 4}},
                                     {"model.layers.1.q_proj.weight", {16, kMiB / 2 + 1}},
                                     {"model.layers.2.eh_proj.weight", {9}},
                                     {"model.norm.weight", {7}},
                                     {"rope.freqs", {5}},
                                     {"visual.blocks.0.w", {4, 10}},
                                     {"visual.blocks.1.w", {4, 10}},
                                     {"visual.blocks.2.w", {4, 10}},
                                     {"visual.merger.norm", {6}},
                                     {"visual.patch_embed.proj.weight", {12}}})
          .build();
  return manifest;
}

const Outline& filters_outline() {
  static const Outline outline = make_outline(filters_model());
  return outline;
}

Picked pick(const Selection& selection) {
  Picked names;
  for (const TensorRows& run :
       must(resolve(selection, filters_model(), filters_outline())).tensors) {
    const TensorInfo& info = info_of(filters_model(), run);
    std::string name = info.name;
    if (run.rows != Rows{0, row_count(info)}) {
      name += " " + std::to_string(run.rows.begin) + "-" + std::to_string(run.rows.end);
    }
    names.insert(std::move(name));
  }
  return names;
}

void expect_refused(const Selection& selection, const std::vector<std::string>& says) {
  const auto result = resolve(selection, filters_model(), filters_outline());
  ASSERT_FALSE(result) << describe(selection);
  EXPECT_EQ(errc_name(result.error().code), errc_name(Errc::kUsage));
  for (const std::string& part : says) EXPECT_THAT(result.error().message, HasSubstr(part));
}

const Picked kTower = {"visual.blocks.0.w", "visual.blocks.1.w", "visual.blocks.2.w",
                       "visual.merger.norm", "visual.patch_embed.proj.weight"};

TEST(SelectionStacks, ComeWholeWithoutLayers) {
  EXPECT_EQ(pick({.stacks = {"visual.blocks"}}), kTower);
  Picked with = kTower;
  with.insert("model.norm.weight");
  EXPECT_EQ(pick({.tensors = {"model.norm*"}, .stacks = {"visual.blocks", "visual.blocks"}}), with);
  EXPECT_EQ(pick({.stacks = {"model.layers"}}), pick({}));
}

TEST(SelectionStacks, AreWhatLayersAndStagesCountIn) {
  EXPECT_EQ(pick({.layers = {{1, 1}}, .stacks = {"visual.blocks"}}), (Picked{"visual.blocks.1.w"}));
  EXPECT_EQ(pick({.layers = {{0, 1}}, .stacks = {"visual.blocks"}}),
            (Picked{"visual.blocks.0.w", "visual.blocks.1.w", "visual.patch_embed.proj.weight"}));
  EXPECT_EQ(pick({.stages = {{3, 3}}, .stacks = {"visual.blocks"}}),
            (Picked{"visual.blocks.2.w", "visual.merger.norm"}));
  EXPECT_EQ(pick({.layers = {{1, 1}}, .stacks = {"visual.blocks", "model.layers"}}),
            (Picked{"visual.blocks.1.w", "model.layers.1.q_proj.weight", "model.norm.weight",
                    "lm_head.weight", "rope.freqs"}));
  EXPECT_EQ(
      pick({.layers = {{1, 1}}, .stacks = {"visual.blocks"}, .shared = SharedTensors::kAll}),
      (Picked{"visual.blocks.1.w", "visual.merger.norm", "visual.patch_embed.proj.weight",
              "lm_head.weight", "model.embed_tokens.weight", "model.norm.weight", "rope.freqs"}));
}

TEST(SelectionStacks, AreNamedWhenOneIsUnknownOrTooShort) {
  expect_refused({.stacks = {"visual"}}, {"'visual'", "model.layers, visual.blocks"});
  expect_refused({.layers = {{2, 3}}, .stacks = {"model.layers", "visual.blocks"}},
                 {"layers 2-3", "0-2", "model.layers"});
  expect_refused({.stages = {{1, 3}}, .stacks = {"visual.blocks", "model.layers"}},
                 {"3 stages", "2 layers", "model.layers"});
}

TEST(SelectionMtp, LayersComeWithTheLastStageOrByNumber) {
  EXPECT_EQ(filters_outline().stacks[0].layers, 2U);
  const Picked last = pick({.stages = {{2, 2}}});
  // The MTP layer has no copy of the embedding: it reads the model's.
  EXPECT_EQ(last, (Picked{"model.layers.1.q_proj.weight", "model.layers.2.eh_proj.weight",
                          "model.norm.weight", "lm_head.weight", "model.embed_tokens.weight",
                          "rope.freqs"}));
  EXPECT_FALSE(pick({.stages = {{1, 2}}}).contains("model.layers.2.eh_proj.weight"));
  EXPECT_EQ(pick({.layers = {{1, 2}}}), last);
  EXPECT_EQ(pick({.layers = {{2, 2}}}),
            (Picked{"model.layers.2.eh_proj.weight", "model.norm.weight", "lm_head.weight",
                    "model.embed_tokens.weight", "rope.freqs"}));
  EXPECT_EQ(pick({.layers = {{1, 1}}}), (Picked{"model.layers.1.q_proj.weight", "model.norm.weight",
                                                "lm_head.weight", "rope.freqs"}));
  for (const SharedTensors shared : {SharedTensors::kEdges, SharedTensors::kAll}) {
    EXPECT_FALSE(
        pick({.layers = {{1, 1}}, .shared = shared}).contains("model.layers.2.eh_proj.weight"));
  }
}

TEST(SelectionExcludes, LeaveTensorsOut) {
  EXPECT_EQ(pick({.stacks = {"visual.blocks"}, .excludes = {"*.blocks.[12].*", "*.merger.*"}}),
            (Picked{"visual.blocks.0.w", "visual.patch_embed.proj.weight"}));
  EXPECT_EQ(pick({.excludes = {"model.*", "visual.*"}}), (Picked{"lm_head.weight", "rope.freqs"}));
  // Files that a glob names come whole all the same.
  EXPECT_EQ(pick({.excludes = {"model.*"}, .files = {"m.safetensors"}}), pick({}));
}

TEST(SelectionExcludes, ThatMatchNothingOrAllAreRefused) {
  expect_refused({.excludes = {"*.lora"}}, {"exclude glob '*.lora'", "15 tensors"});
  // Of the model's tensors one, but none of the selected ones.
  expect_refused({.layers = {{0, 0}}, .excludes = {"*.layers.1.*"}}, {"exclude", "selection's"});
  expect_refused({.layers = {{0, 0}}, .excludes = {"*"}}, {"leave no tensor"});
}

TEST(SelectionSlices, AreRanksOfDimZero) {
  EXPECT_EQ(pick({.tensors = {"*_proj.weight"}, .slices = {{"*.q_proj.weight", 1, 4}}}),
            (Picked{"model.layers.0.o_proj.weight", "model.layers.0.q_proj.weight 4-8",
                    "model.layers.1.q_proj.weight 4-8", "model.layers.2.eh_proj.weight"}));
  EXPECT_EQ(pick({.tensors = {"*.q_proj.*"}, .slices = {{"*.0.*", 0, 2}, {"*.1.*", 1, 2}}}),
            (Picked{"model.layers.0.q_proj.weight 0-8", "model.layers.1.q_proj.weight 8-16"}));
  // The same slice twice is one.
  EXPECT_EQ(pick({.tensors = {"lm_head*"}, .slices = {{"lm*", 0, 3}, {"*head*", 0, 3}}}),
            (Picked{"lm_head.weight 0-10"}));
  EXPECT_EQ(pick({.tensors = {"*.void", "lm_head*"}, .slices = {{"*.void", 1, 2}, {"lm*", 0, 1}}}),
            (Picked{"model.layers.0.void", "lm_head.weight"}));
  // A file by name undoes it.
  EXPECT_EQ(pick({.slices = {{"lm*", 0, 3}}, .files = {"m.*"}}), pick({}));
}

TEST(SelectionSlices, AreRefusedWhereTheyMakeNoSense) {
  expect_refused({.slices = {{"*embed_tokens*", 0, 2}}},
                 {"model.embed_tokens.weight has 50257 rows", "2 does not", "1, 29, 1733"});
  expect_refused({.slices = {{"*.q_proj.*", 0, 3}}}, {"16 rows", "1, 2, 4, 8, 16 do"});
  expect_refused({.slices = {{"model.norm*", 0, 9}}}, {"7 rows", "1, 7 do"});
  expect_refused({.slices = {{"*.scale", 0, 2}}}, {"model.layers.0.scale", "scalar"});
  expect_refused({.slices = {{"*.o_proj.*", 0, 2}}}, {"o_proj", "not whole bytes"});
  expect_refused({.slices = {{"*.k_proj", 0, 2}}}, {"slice glob '*.k_proj'"});
  expect_refused({.layers = {{1, 1}}, .slices = {{"*.0.q_proj.*", 0, 2}}}, {"slice glob"});
  expect_refused({.slices = {{"lm*", 0, 3}, {"*head*", 1, 3}}},
                 {"'lm*:0/3'", "'*head*:1/3'", "lm_head.weight"});
  expect_refused({.slices = {{"lm*", 0, 3}, {"*head*", 0, 5}}}, {"'lm*:0/3'", "'*head*:0/5'"});
  expect_refused({.slices = {{"lm*", 3, 3}}}, {"3/3", "count from 0"});
  expect_refused({.slices = {{"lm*", 0, 0}}}, {"0/0"});
}

TEST(SelectionSlices, AreNotEverything) {
  EXPECT_TRUE(must(resolve({}, filters_model(), filters_outline())).everything);
  // Both of the embedding's halves are one piece: all pieces are there, but not all rows.
  const ResolvedSelection most =
      must(resolve({.slices = {{"lm*", 0, 2}}}, filters_model(), filters_outline()));
  EXPECT_TRUE(most.pieces.complete());
  EXPECT_FALSE(most.everything);
  EXPECT_EQ(most.bytes + 30, must(resolve({}, filters_model(), filters_outline())).bytes);
  EXPECT_TRUE(
      must(resolve({.slices = {{"lm*", 0, 1}}}, filters_model(), filters_outline())).everything);
  EXPECT_FALSE(
      must(resolve({.excludes = {"*.void"}}, filters_model(), filters_outline())).everything);
}

// JSON, in which a directory keeps its selections, cannot hold them.
TEST(SelectionFilters, ThatAreNoUtf8AreRefused) {
  const std::string bad = "*\xff";
  for (const Selection& selection :
       {Selection{.tensors = {bad}}, Selection{.stacks = {bad}}, Selection{.slices = {{bad, 0, 2}}},
        Selection{.excludes = {bad}}, Selection{.files = {bad}}}) {
    const auto resolved = resolve(selection, filters_model(), filters_outline());
    ASSERT_FALSE(resolved);
    EXPECT_EQ(resolved.error().code, Errc::kUsage);
    EXPECT_THAT(resolved.error().message, HasSubstr("UTF-8"));
  }
}

TEST(SelectionFilters, OfAModelWithoutTensorsAreRefused) {
  const Manifest manifest = ModelBuilder().plain("a", 1).build();
  EXPECT_TRUE(must(resolve({}, manifest, make_outline(manifest))).everything);
  for (const Selection& selection :
       {Selection{.slices = {{"*", 0, 1}}}, Selection{.excludes = {"*"}},
        Selection{.tensors = {"*"}}, Selection{.stacks = {"a"}}, Selection{.experts = {{0, 0}}}}) {
    EXPECT_FALSE(resolve(selection, manifest, make_outline(manifest)));
  }
}

// Whatever is selected: pieces are those that hold a byte of the rows, bytes are the rows'.
TEST(SelectionFiltersProperties, PiecesAreThoseWithASelectedByte) {
  std::mt19937 random(12);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  const char* const globs[] = {"*.q_proj.*", "lm*", "visual.blocks.[01].w", "*.norm*", "*.w"};
  int resolved = 0;
  for (int i = 0; i < 2'000; ++i) {
    Selection selection;
    if (below(2) == 0) selection.layers.push_back({below(2), 2});
    if (below(3) == 0) selection.stacks.push_back(below(2) == 0 ? "visual.blocks" : "model.layers");
    if (below(3) == 0) selection.tensors.push_back(globs[below(5)]);
    if (below(4) == 0) selection.excludes.push_back(globs[below(5)]);
    if (below(2) == 0) {
      const std::uint32_t count = 1U << below(5);
      selection.slices.push_back({globs[below(5)], below(count), count});
    }
    const auto result = resolve(selection, filters_model(), filters_outline());
    if (!result) continue;
    ++resolved;
    PieceSet expected(filters_model().piece_count());
    const FileIndex config = filters_model().find_file("config.json").value();
    expected.insert(filters_model().first_piece(config));
    std::uint64_t bytes = filters_model().file(config).size;
    for (const TensorRows& run : result->tensors) {
      const TensorEntry& entry = filters_model().tensors(run.file)[run.tensor.value];
      const std::uint64_t all = entry.info.bytes();
      const std::uint64_t rows = std::max<std::uint64_t>(row_count(entry.info), 1);
      const std::uint64_t begin = all * run.rows.begin / rows;
      const std::uint64_t end = all * run.rows.end / rows;
      bytes += end - begin;
      for (std::uint32_t p = 0; p < entry.pieces; ++p) {
        const std::uint64_t offset = entry.tiling.piece_offset(p);
        if (begin >= offset + entry.tiling.piece_bytes(p) || end <= offset) continue;
        expected.insert(PieceIndex(entry.first_piece.value + p));
      }
    }
    ASSERT_EQ(result->pieces, expected) << describe(selection);
    ASSERT_EQ(result->bytes, bytes) << describe(selection);
    ASSERT_EQ(normalized(result->tensors), result->tensors) << describe(selection);
  }
  EXPECT_GT(resolved, 500);
}

}  // namespace
}  // namespace shardswarm::test
