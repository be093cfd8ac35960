// What a selection brings of a model.
#include "piece/selection.h"

#include <gmock/gmock.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/limits.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using limits::kMiB;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Names = std::set<std::string>;

// Four layers in two files, everything that may stand outside them, and files of all sorts.
const Manifest& model() {
  static const Manifest manifest =
      ModelBuilder()
          .plain("config.json", 100)
          .plain("empty.txt", 0)
          .plain("limit.dat", limits::kSmallFileBytesMax)
          .plain("over.dat", limits::kSmallFileBytesMax + 1)
          .plain("notes.binary", 3)
          .plain("sub/tokenizer.json", kMiB + 1)
          .plain("other.bin", 40)
          .plain("sub/other.gguf", 41)
          .tensors("model-1.safetensors", {{"model.embed_tokens.weight", {20}},
                                           {"model.layers.0.a", {100}},
                                           {"model.layers.0.b", {10}},
                                           {"model.layers.1.a", {2, 3 * kMiB / 2}},
                                           {"rope.freqs", {4}},
                                           {"visual.blocks.0.a", {7}}})
          .tensors("model-2.safetensors", {{"lm_head.weight", {30}},
                                           {"model.layers.2.a", {120}},
                                           {"model.layers.3.a", {130}},
                                           {"model.layers.3.none", {0}},
                                           {"model.norm.weight", {3}},
                                           {"visual.blocks.1.a", {8}}})
          .tensors("spare.safetensors", {{"layers.0.w", {50}}}, FileKind::kSpareTensors)
          .build();
  return manifest;
}

const Names kSmallFiles = {"config.json", "empty.txt", "limit.dat", "notes.binary",
                           "sub/tokenizer.json"};
// Come with any layer: nobody knows who needs them.
const Names kUnknown = {"rope.freqs"};
// Run before the first layer.
const Names kInputs = {"model.embed_tokens.weight", "visual.blocks.0.a", "visual.blocks.1.a"};

Names operator+(Names a, const Names& b) {
  a.insert(b.begin(), b.end());
  return a;
}

// What a resolved selection holds, by name; tensors and files are there whole or not at all.
struct Picked {
  Names tensors;  // with bytes
  Names files;    // whose pieces are all here, of those that are no tensors files
  Names made;     // to be made
};

// Pieces [first, first + count) are all here or none is; true for all.
bool whole_or_nothing(const PieceSet& pieces, PieceIndex first, std::uint32_t count) {
  std::uint32_t here = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    here += pieces.contains(PieceIndex(first.value + i)) ? 1 : 0;
  }
  EXPECT_TRUE(here == 0 || here == count) << here << " of " << count << " from " << first.value;
  return here > 0;
}

Picked picked(const ResolvedSelection& resolved, const Manifest& manifest = model()) {
  Picked result;
  std::uint64_t bytes = 0;
  EXPECT_EQ(resolved.pieces.size(), manifest.piece_count());
  EXPECT_EQ(resolved.files.size(), manifest.file_count());
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const FileIndex index(i);
    const FileEntry& file = manifest.file(index);
    if (resolved.files.at(i)) result.made.insert(file.path);
    for (const TensorEntry& tensor : manifest.tensors(index)) {
      if (!whole_or_nothing(resolved.pieces, tensor.first_piece, tensor.pieces)) continue;
      result.tensors.insert(tensor.info.name);
      bytes += tensor.info.bytes();
      EXPECT_TRUE(resolved.files.at(i)) << file.path;
    }
    if (file.kind != FileKind::kPlain) continue;
    if (!whole_or_nothing(resolved.pieces, manifest.first_piece(index), file.pieces)) continue;
    result.files.insert(file.path);
    bytes += file.size;
    EXPECT_TRUE(resolved.files.at(i)) << file.path;
  }
  EXPECT_EQ(resolved.bytes, bytes);
  return result;
}

ResolvedSelection resolved(const Selection& selection) {
  return must(resolve(selection, model(), make_outline(model())));
}

Picked pick(const Selection& selection) { return picked(resolved(selection)); }

void expect_refused(const Selection& selection, const std::vector<std::string>& says) {
  const auto result = resolve(selection, model(), make_outline(model()));
  ASSERT_FALSE(result);
  EXPECT_EQ(errc_name(result.error().code), errc_name(Errc::kUsage));
  for (const std::string& part : says) EXPECT_THAT(result.error().message, HasSubstr(part));
}

Names without(Names names, const Names& removed) {
  for (const std::string& name : removed) names.erase(name);
  return names;
}

const Names kAllTensors =
    kUnknown + kInputs + Names{"model.layers.0.a", "model.layers.0.b", "model.layers.1.a",
                               "model.layers.2.a", "model.layers.3.a", "lm_head.weight",
                               "model.norm.weight"};
const Names kTensorFiles = {"model-1.safetensors", "model-2.safetensors"};

TEST(Selection, OfNothingInParticularIsEveryFile) {
  EXPECT_TRUE(Selection{}.whole());
  const ResolvedSelection all = resolved({});
  const Picked picks = picked(all);
  EXPECT_EQ(picks.tensors, kAllTensors + Names{"layers.0.w"});
  EXPECT_EQ(picks.made,
            kSmallFiles + kTensorFiles +
                (Names{"other.bin", "over.dat", "spare.safetensors", "sub/other.gguf"}));
  EXPECT_TRUE(all.pieces.complete());
  EXPECT_THAT(all.tensors, SizeIs(12));  // of the model: the second copy is a file like others
  EXPECT_TRUE(all.everything);
  EXPECT_THAT(all.left_out, IsEmpty());
}

TEST(Selection, OfAPartSaysWhichFilesItLeavesOutAndWhy) {
  const auto why = [](const Selection& selection) {
    std::map<std::string, WhyLeftOut> found;
    for (const LeftOutFile& left : resolved(selection).left_out) {
      found[model().file(left.file).path] = left.why;
    }
    return found;
  };
  const std::map<std::string, WhyLeftOut> all = {{"other.bin", WhyLeftOut::kOtherFormat},
                                                 {"over.dat", WhyLeftOut::kLarge},
                                                 {"spare.safetensors", WhyLeftOut::kSecondCopy},
                                                 {"sub/other.gguf", WhyLeftOut::kOtherFormat}};
  // model-2.safetensors does not come either: nobody asked for its layers.
  EXPECT_EQ(why({.tensors = {"model.layers.0.*"}}), all);
  EXPECT_EQ(why({.excludes = {"rope.*"}}), all);
  EXPECT_THAT(why({.layers = {{0, 3}}, .files = {"o*", "spare.*"}}),
              ElementsAre(std::pair("sub/other.gguf", WhyLeftOut::kOtherFormat)));
  EXPECT_THAT(why({.files = {"*"}}), IsEmpty());
}

TEST(Selection, IsEverythingWhereNothingIsLeftOut) {
  const Manifest manifest = ModelBuilder()
                                .plain("config.json", 5)
                                .plain("empty.txt", 0)
                                .tensors("m.safetensors", {{"a.0.w", {3}}, {"a.1.w", {3}}})
                                .tensors("void.safetensors", {})
                                .build();
  const Outline outline = make_outline(manifest);
  const ResolvedSelection all = must(resolve({}, manifest, outline));
  EXPECT_TRUE(all.everything);
  EXPECT_TRUE(must(resolve_tensors(all.tensors, {}, manifest)).everything);
  EXPECT_TRUE(all.pieces.complete());
  EXPECT_FALSE(must(resolve({.layers = {{0, 0}}}, manifest, outline)).everything);
  // All pieces, but the file without tensors is not made.
  EXPECT_FALSE(must(resolve({.layers = {{0, 1}}}, manifest, outline)).everything);
}

TEST(Selection, OfMiddleLayersBringsNoEdge) {
  const Picked picks = pick({.layers = {{1, 2}}});
  EXPECT_EQ(picks.tensors, kUnknown + (Names{"model.layers.1.a", "model.layers.2.a"}));
  EXPECT_EQ(picks.made, kSmallFiles + kTensorFiles);
}

TEST(Selection, OfTheFirstLayerBringsTheInputSide) {
  EXPECT_EQ(
      pick({.layers = {{0, 1}}}).tensors,
      kUnknown + kInputs + (Names{"model.layers.0.a", "model.layers.0.b", "model.layers.1.a"}));
}

TEST(Selection, OfTheLastLayerBringsTheOutputSide) {
  const ResolvedSelection last = resolved({.layers = {{3, 3}}});
  EXPECT_EQ(picked(last).tensors,
            kUnknown + (Names{"model.layers.3.a", "lm_head.weight", "model.norm.weight"}));
  EXPECT_THAT(last.tensors, SizeIs(5));  // the one without bytes counts
}

TEST(Selection, OfTiedModelsBringsTheEmbeddingWithBothEnds) {
  const Manifest manifest = ModelBuilder()
                                .tensors("m.safetensors", {{"model.embed_tokens.weight", {9}},
                                                           {"model.layers.0.a", {5}},
                                                           {"model.layers.1.a", {5}},
                                                           {"model.layers.2.a", {5}},
                                                           {"model.norm.weight", {2}}})
                                .build();
  const auto names = [&](std::uint32_t layer) {
    return picked(must(resolve({.layers = {{layer, layer}}}, manifest, make_outline(manifest))),
                  manifest)
        .tensors;
  };
  EXPECT_EQ(names(0), (Names{"model.embed_tokens.weight", "model.layers.0.a"}));
  EXPECT_EQ(names(1), (Names{"model.layers.1.a"}));
  EXPECT_EQ(names(2),
            (Names{"model.embed_tokens.weight", "model.layers.2.a", "model.norm.weight"}));
}

TEST(Selection, WithAllSharedTensorsBringsThemWithAnyLayer) {
  const Names layers = {"model.layers.0.a", "model.layers.0.b", "model.layers.2.a",
                        "model.layers.3.a"};
  EXPECT_EQ(pick({.layers = {{1, 1}}, .shared = SharedTensors::kAll}).tensors,
            without(kAllTensors, layers));
  // Without a layer the policy has no say.
  EXPECT_EQ(pick({.tensors = {"rope.*"}, .shared = SharedTensors::kAll}).tensors,
            (Names{"rope.freqs"}));
}

TEST(Selection, IsTheUnionOfItsLayers) {
  EXPECT_EQ(pick({.layers = {{1, 1}, {2, 2}, {1, 2}}}).tensors, pick({.layers = {{1, 2}}}).tensors);
  EXPECT_EQ(pick({.layers = {{0, 0}, {3, 3}}}).tensors,
            without(kAllTensors, {"model.layers.1.a", "model.layers.2.a"}));
}

TEST(Selection, OfStagesIsThatOfTheirLayers) {
  const std::vector<LayerRange> stages = must(split_stages(make_outline(model()).stacks.at(0), 3));
  Names together;
  for (std::uint32_t i = 1; i <= 3; ++i) {
    const Names stage = pick({.stages = {{i, 3}}}).tensors;
    EXPECT_EQ(stage, pick({.layers = {stages[i - 1]}}).tensors);
    together = together + stage;
  }
  EXPECT_EQ(together, kAllTensors);
  EXPECT_EQ(pick({.stages = {{1, 1}}}).tensors, kAllTensors);
  EXPECT_EQ(pick({.stages = {{1, 3}, {2, 3}, {3, 3}}}).tensors, kAllTensors);
}

TEST(Selection, OfTensorGlobsBringsNoOtherTensor) {
  const ResolvedSelection some = resolved({.tensors = {"*.layers.?.a", "visual.*.1.*"}});
  const Picked picks = picked(some);
  EXPECT_EQ(picks.tensors, (Names{"model.layers.0.a", "model.layers.1.a", "model.layers.2.a",
                                  "model.layers.3.a", "visual.blocks.1.a"}));
  EXPECT_EQ(picks.files, without(kSmallFiles, {"empty.txt"}));
  EXPECT_THAT(some.tensors, SizeIs(5));
  // A file none of whose tensors is wanted is not made.
  EXPECT_EQ(pick({.tensors = {"rope.*"}}).made, kSmallFiles + Names{"model-1.safetensors"});
  EXPECT_EQ(pick({.layers = {{1, 1}}, .tensors = {"model.norm*"}}).tensors,
            kUnknown + (Names{"model.layers.1.a", "model.norm.weight"}));
}

TEST(Selection, OfAPartBringsLargeFilesAndOtherWeightsOnlyByName) {
  const Picked with = pick({.layers = {{1, 1}}, .files = {"*.bin", "over.*"}});
  EXPECT_EQ(with.files, without(kSmallFiles, {"empty.txt"}) + (Names{"other.bin", "over.dat"}));
  EXPECT_EQ(with.tensors, pick({.layers = {{1, 1}}}).tensors);
  EXPECT_TRUE(resolved({.files = {"*"}}).everything);
}

TEST(Selection, OfFilesAloneBringsNoTensors) {
  EXPECT_FALSE((Selection{.files = {"*.gguf"}}.whole()));
  const ResolvedSelection files = resolved({.files = {"*.gguf"}});
  EXPECT_EQ(picked(files).made, kSmallFiles + Names{"sub/other.gguf"});
  EXPECT_THAT(files.tensors, IsEmpty());
  EXPECT_FALSE(files.everything);
  // A filter without a part narrows all tensors, whatever files come beside them.
  EXPECT_EQ(pick({.excludes = {"rope.*"}, .files = {"*.gguf"}}).tensors,
            without(kAllTensors, {"rope.freqs"}));
}

TEST(Selection, BringsTensorFilesWholeByName) {
  // The layers of one file, and another file whole.
  const Picked picks = pick({.layers = {{1, 1}}, .files = {"model-2.*", "spare.safetensors"}});
  EXPECT_EQ(
      picks.tensors,
      kUnknown + (Names{"model.layers.1.a", "model.layers.2.a", "model.layers.3.a",
                        "lm_head.weight", "model.norm.weight", "visual.blocks.1.a", "layers.0.w"}));
  EXPECT_EQ(picks.made, kSmallFiles + kTensorFiles + Names{"spare.safetensors"});
}

TEST(Selection, NeedsHeadersOfTensorFilesAndOfSparesThatItBrings) {
  const auto paths = [](const Selection& selection) {
    std::vector<std::string> found;
    for (const FileIndex file : headers_needed(selection, model().root())) {
      found.push_back(model().file(file).path);
    }
    return found;
  };
  EXPECT_THAT(paths({}),
              ElementsAre("model-1.safetensors", "model-2.safetensors", "spare.safetensors"));
  EXPECT_THAT(paths({.layers = {{1, 1}}, .files = {"*.bin"}}),
              ElementsAre("model-1.safetensors", "model-2.safetensors"));
  EXPECT_THAT(paths({.files = {"spare*"}}),
              ElementsAre("model-1.safetensors", "model-2.safetensors", "spare.safetensors"));
}

TEST(Selection, ErrorsSayWhatTheModelHas) {
  expect_refused({.layers = {{2, 4}}}, {"2-4", "0-3", "model.layers"});
  expect_refused({.layers = {{4, 4}}}, {"layers 4: this model has only layers 0-3"});
  expect_refused({.layers = {{0, ~0U}}}, {"0-4294967295", "0-3"});
  expect_refused({.layers = {{0, 3}, {9, 9}}}, {"layers 9: this model has only layers 0-3"});
  expect_refused({.layers = {{3, 2}}}, {"3-2"});
  expect_refused({.stages = {{1, 5}}}, {"5 stages", "4"});
  expect_refused({.tensors = {"*.a", "*.lora"}}, {"'*.lora'", "12", "'model.embed_tokens.weight'"});
  expect_refused({.files = {"config.json", "*.pickle"}}, {"'*.pickle'", "11"});
  // Spare tensors are no part of the model's tensors.
  expect_refused({.tensors = {"layers.0.w"}}, {"'layers.0.w'"});
}

TEST(Selection, OfLayersInAModelWithoutThemIsRefused) {
  const Manifest manifest = ModelBuilder().tensors("m.safetensors", {{"w", {2}}}).build();
  for (const Selection& selection :
       {Selection{.layers = {{0, 0}}}, Selection{.stages = {{1, 1}}}}) {
    const auto result = resolve(selection, manifest, make_outline(manifest));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::kUsage);
    EXPECT_THAT(result.error().message, AllOf(HasSubstr("no numbered layers"), HasSubstr("GLOB")));
  }
}

// A repository of GGUF: the user gave no glob of tensors that a message could speak of.
TEST(Selection, OfPartsOfAModelWithoutTensorsNamesFiles) {
  const Manifest manifest = ModelBuilder().plain("m.gguf", 9).build();
  for (const Selection& selection :
       {Selection{.layers = {{0, 0}}}, Selection{.stages = {{1, 1}}}, Selection{.tensors = {"*"}},
        Selection{.preset = {.engine = Engine::kVllm, .rank = 0, .ranks = 2}}}) {
    const auto result = resolve(selection, manifest, make_outline(manifest));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::kUsage);
    EXPECT_THAT(result.error().message, AllOf(HasSubstr("no safetensors"), HasSubstr("--files")));
  }
}

TEST(Selection, OfKnownRowsIsWhatThoseRowsAre) {
  for (const Selection& selection : {Selection{.layers = {{0, 3}}}, Selection{.layers = {{1, 2}}},
                                     Selection{.tensors = {"*.a"}}}) {
    const ResolvedSelection by_parts = resolved(selection);
    const ResolvedSelection by_rows = must(resolve_tensors(by_parts.tensors, {}, model()));
    EXPECT_EQ(by_rows.tensors, by_parts.tensors);
    EXPECT_EQ(by_rows.pieces, by_parts.pieces);
    EXPECT_EQ(by_rows.files, by_parts.files);
    EXPECT_EQ(by_rows.bytes, by_parts.bytes);
    EXPECT_EQ(by_rows.left_out, by_parts.left_out);
  }
  const ResolvedSelection none = must(resolve_tensors({}, {"other.bin"}, model()));
  EXPECT_EQ(picked(none).made, kSmallFiles + Names{"other.bin"});
  EXPECT_FALSE(resolve_tensors({}, {"nothing"}, model()));
}

TEST(Selection, OfRowsThatAreNotThereIsRefused) {
  const FileIndex file = model().find_file("model-1.safetensors").value();
  const FileIndex spare = model().find_file("spare.safetensors").value();
  for (const TensorRows& rows :
       {TensorRows{file, TensorIndex(0), {0, 21}}, TensorRows{file, TensorIndex(6), {0, 1}},
        TensorRows{spare, TensorIndex(0), {0, 1}}, TensorRows{FileIndex(99), {}, {0, 1}}}) {
    const auto result = resolve_tensors({rows}, {}, model());
    ASSERT_FALSE(result);
    EXPECT_EQ(errc_name(result.error().code), errc_name(Errc::kUsage));
  }
}

// Callers of the library make stages without parse_stage.
TEST(Selection, OfAStageBeyondTheirNumberIsRefused) {
  const auto beyond = resolve({.stages = {{4, 3}}}, model(), make_outline(model()));
  ASSERT_FALSE(beyond);
  ASSERT_EQ(errc_name(beyond.error().code), errc_name(Errc::kUsage));
  ASSERT_THAT(beyond.error().message, HasSubstr("4/3"));
  expect_refused({.stages = {{0, 3}}}, {"0/3"});
}

TEST(SelectionProperties, AUnionIsTheUnionOfItsParts) {
  std::mt19937 random(3);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  const char* const globs[] = {"*.a", "model.*", "rope.*", "*norm*", "visual.blocks.[01].a"};
  for (int i = 0; i < 300; ++i) {
    Selection all;
    PieceSet expected(model().piece_count());
    for (std::uint32_t parts = 1 + below(4); parts > 0; --parts) {
      Selection part{.shared = SharedTensors::kEdges};
      const std::uint32_t first = below(4);
      const std::uint32_t count = 1 + below(4);
      switch (below(3)) {
        case 0:
          part.layers.push_back({first, first + below(4 - first)});
          all.layers.push_back(part.layers[0]);
          break;
        case 1:
          part.stages.push_back({1 + below(count), count});
          all.stages.push_back(part.stages[0]);
          break;
        default:
          part.tensors.push_back(globs[below(5)]);
          all.tensors.push_back(part.tensors[0]);
          break;
      }
      expected |= resolved(part).pieces;
    }
    ASSERT_EQ(resolved(all).pieces, expected) << "selection " << i;
  }
}

}  // namespace
}  // namespace shardswarm::test
