// The holding file: what is written is read, damage shows, and what its steps amount to.
#include "storage/holding.h"

#include <gmock/gmock.h>

#include "storage/placement.h"
#include "tests/piece/builder.h"
#include "tests/support/temp_dir.h"

namespace shardswarm::test {
namespace {

// An embedding, two layers, norm, head, and a tensor that nobody knows.
Manifest model(const std::string& file = "a.safetensors") {
  return ModelBuilder()
      .plain("config.json", 5)
      .tensors(file, {{"model.embed_tokens.weight", {8, 4}},
                      {"model.layers.0.w", {8, 4}},
                      {"model.layers.1.w", {8, 4}},
                      {"model.norm.weight", {8}},
                      {"lm_head.weight", {8, 4}},
                      {"puzzle", {8}}})
      .build();
}

class HoldingTest : public testing::Test {
 protected:
  TensorRows tensor(std::uint32_t index, std::uint64_t begin = 0, std::uint64_t end = 8) const {
    return {*manifest_.find_file("a.safetensors"), TensorIndex(index), {begin, end}};
  }
  Holding sample() const {
    const std::uint32_t first = first_compact_number(manifest_);
    Holding holding;
    holding.next_number = first + 5;
    holding.files = {{first, "a-outside.safetensors", {tensor(0), tensor(3, 2, 5)}},
                     {first + 4, "sub/b.safetensors", {tensor(1)}}};
    holding.superseded = {{first + 2, "old.safetensors", {tensor(3, 0, 1)}}};
    holding.steps = {{.drop = false, .selection = {.layers = {{0, 1}}}},
                     {.drop = true, .selection = {.tensors = {"model.*", "a 'b'"}}}};
    return holding;
  }
  TensorSet replayed(const std::vector<HoldingStep>& steps) const {
    return must(replay(steps, manifest_, make_outline(manifest_)));
  }
  std::vector<std::string> names(const TensorSet& set) const {
    std::vector<std::string> names;
    for (const TensorRows& rows : set) {
      const TensorInfo& info = info_of(manifest_, rows);
      names.push_back(info.name);
      if (rows.rows != Rows{0, row_count(info)}) {
        names.back() +=
            "[" + std::to_string(rows.rows.begin) + ":" + std::to_string(rows.rows.end) + "]";
      }
    }
    return names;
  }

  TempDir dir_;
  Manifest manifest_ = model();
};

TEST_F(HoldingTest, WhatIsSavedIsLoaded) {
  EXPECT_EQ(must(load_holding(dir_.path(), manifest_)), Holding{}) << "there is none";
  must(save_holding(dir_.path(), sample()));
  EXPECT_EQ(must(load_holding(dir_.path(), manifest_)), sample());
  must(save_holding(dir_.path(), Holding{}));
  EXPECT_EQ(must(load_holding(dir_.path(), manifest_)), Holding{});
}

TEST_F(HoldingTest, EveryFlippedBitAndEveryCutShow) {
  must(save_holding(dir_.path(), sample()));
  const Bytes good = read_file(dir_ / "holding");
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const int bit : {0, 7}) {
      Bytes bad = good;
      bad[at] ^= static_cast<std::byte>(1 << bit);
      write_file(dir_ / "holding", bad);
      const auto loaded = load_holding(dir_.path(), manifest_);
      ASSERT_FALSE(loaded) << at;
      EXPECT_EQ(loaded.error().code, Errc::kMalformed);
      EXPECT_THAT(loaded.error().message, testing::HasSubstr((dir_ / "holding").string()));
    }
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    write_file(dir_ / "holding", std::span(good).first(size));
    EXPECT_FALSE(load_holding(dir_.path(), manifest_)) << size;
  }
}

// Well formed, with a right checksum: what no writer would write is refused all the same.
TEST_F(HoldingTest, WhatDoesNotFitTheModelIsRefused) {
  const std::uint32_t first = first_compact_number(manifest_);
  const FileIndex weights = *manifest_.find_file("a.safetensors");
  const auto refused = [&](const CompactFile& file) {
    Holding holding{.next_number = first + 9, .files = {file}, .superseded = {}, .steps = {}};
    must(save_holding(dir_.path(), holding));
    const bool in_files = !load_holding(dir_.path(), manifest_);
    std::swap(holding.files, holding.superseded);
    must(save_holding(dir_.path(), holding));
    const auto loaded = load_holding(dir_.path(), manifest_);
    return in_files && !loaded && loaded.error().code == Errc::kMalformed;
  };
  EXPECT_FALSE(refused({first, "x.safetensors", {tensor(0)}}));
  EXPECT_TRUE(refused({first + 9, "x.safetensors", {tensor(0)}})) << "no such number yet";
  EXPECT_TRUE(refused({first - 1, "x.safetensors", {tensor(0)}})) << "that is the cut pieces'";
  EXPECT_TRUE(refused({0, "x.safetensors", {tensor(0)}})) << "that is the root's first file";
  EXPECT_TRUE(refused({first, "../x.safetensors", {tensor(0)}}));
  EXPECT_TRUE(refused({first, ".shardswarm/ledger", {tensor(0)}}));
  EXPECT_TRUE(refused({first, "", {tensor(0)}}));
  EXPECT_TRUE(refused({first, "x.safetensors", {tensor(6)}})) << "no such tensor";
  EXPECT_TRUE(refused({first, "x.safetensors", {tensor(0, 0, 9)}})) << "no such rows";
  EXPECT_TRUE(refused({first, "x.safetensors", {tensor(0, 5, 4)}}));
  EXPECT_TRUE(refused({first, "x.safetensors", {}})) << "a file of nothing";
  EXPECT_TRUE(refused({first, "x.safetensors", {{FileIndex(7), TensorIndex(0), {0, 1}}}}));
  EXPECT_TRUE(
      refused({first, "x.safetensors", {{FileIndex(1 - weights.value), TensorIndex(0), {0, 1}}}}))
      << "a plain file";
}

TEST_F(HoldingTest, TwoFilesWithOneNumberPathOrTensorAreRefused) {
  const std::uint32_t first = first_compact_number(manifest_);
  const auto loads = [&](const CompactFile& a, const CompactFile& b) {
    must(save_holding(dir_.path(),
                      {.next_number = first + 9, .files = {a, b}, .superseded = {}, .steps = {}}));
    return load_holding(dir_.path(), manifest_).has_value();
  };
  const CompactFile file{first, "a.st", {tensor(0)}};
  EXPECT_TRUE(loads(file, {first + 1, "b.st", {tensor(1)}}));
  EXPECT_FALSE(loads(file, {first, "b.st", {tensor(1)}}));
  EXPECT_FALSE(loads(file, {first + 1, "a.st", {tensor(1)}}));
  EXPECT_FALSE(loads(file, {first + 1, "b.st", {tensor(0, 0, 1)}}));
}

TEST_F(HoldingTest, AnotherModelsIsRefused) {
  must(save_holding(dir_.path(), sample()));
  const Manifest other = ModelBuilder().tensors("a.safetensors", {{"w", {4}}}).build();
  const auto loaded = load_holding(dir_.path(), other);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Errc::kMalformed);
}

// --- replay ---

const HoldingStep kAll{.drop = false, .selection = {}};

HoldingStep fetch(Selection selection) {
  return {.drop = false, .selection = std::move(selection)};
}
HoldingStep drop(Selection selection) { return {.drop = true, .selection = std::move(selection)}; }

TEST_F(HoldingTest, FetchesAddUp) {
  EXPECT_TRUE(replayed({}).empty());
  EXPECT_EQ(names(replayed({fetch({.layers = {{0, 0}}})})),
            (std::vector<std::string>{"model.embed_tokens.weight", "model.layers.0.w", "puzzle"}));
  EXPECT_EQ(replayed({fetch({.layers = {{0, 0}}}), fetch({.layers = {{1, 1}}})}), replayed({kAll}));
}

TEST_F(HoldingTest, DroppedLayersLeaveWhatOthersNeedBesideThem) {
  EXPECT_EQ(names(replayed({kAll, drop({.layers = {{0, 0}}})})),
            (std::vector<std::string>{"model.layers.1.w", "model.norm.weight", "lm_head.weight",
                                      "puzzle"}));
  EXPECT_EQ(names(replayed({kAll, drop({.layers = {{1, 1}}})})),
            (std::vector<std::string>{"model.embed_tokens.weight", "model.layers.0.w", "puzzle"}));
  EXPECT_TRUE(replayed({kAll, drop({.layers = {{0, 1}}})}).empty()) << "nothing needs the rest";
}

TEST_F(HoldingTest, DroppedTensorsLeaveNothing) {
  EXPECT_EQ(names(replayed({kAll, drop({.tensors = {"puzzle", "model.embed*"}})})),
            (std::vector<std::string>{"model.layers.0.w", "model.layers.1.w", "model.norm.weight",
                                      "lm_head.weight"}));
  EXPECT_TRUE(replayed({kAll, drop({})}).empty());
}

// What was never here does not come with a drop, and what was a slice stays one.
TEST_F(HoldingTest, ADropAddsNothing) {
  const auto before =
      fetch({.tensors = {"model.layers.*", "puzzle"}, .slices = {{"puzzle", 0, 2}}});
  EXPECT_EQ(names(replayed({before, drop({.layers = {{0, 0}}})})),
            (std::vector<std::string>{"model.layers.1.w", "puzzle[0:4]"}));
}

TEST_F(HoldingTest, AfterADropAFetchBringsItBack) {
  EXPECT_EQ(replayed({kAll, drop({.layers = {{0, 0}}}), fetch({.layers = {{0, 0}}})}),
            replayed({kAll}));
  EXPECT_EQ(replayed({kAll, drop({}), kAll}), replayed({kAll}));
}

TEST_F(HoldingTest, ASelectionThatTheModelHasNotIsUsage) {
  const auto held = replay({fetch({.layers = {{7, 7}}})}, manifest_, make_outline(manifest_));
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, Errc::kUsage);
}

}  // namespace
}  // namespace shardswarm::test
