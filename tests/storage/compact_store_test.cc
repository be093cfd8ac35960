// Compact directories: what a loader finds in them, over random checkpoints and selections.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/storage/compact_rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class CompactStoreTest : public CompactTest {};

// A fetch, then what the first file of a directory says of its metadata.
TEST_F(CompactStoreTest, HoldsJustTheTensorsOfAnySelection) {
  Random random(20'260'102);
  for (int round = 0; round < 25 && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    use(varied_checkpoint(random));
    const fs::path directory = dir_ / std::to_string(round);
    const Selection selection = varied_selection(random);
    const auto what = resolved(selection);
    ASSERT_TRUE(what) << what.error().message;
    const std::uint64_t put = fetch(directory, selection);
    EXPECT_EQ(put, bytes_in(what->pieces)) << "not a byte more";
    expect_holds(directory, what->tensors);
    for (const auto& path : tensors_files(directory)) {
      const Bytes file = read_file(directory / path);
      const auto header = must(
          parse_safetensors_header(std::span(file).first(must(safetensors_header_bytes(file)))));
      EXPECT_THAT(header.metadata, testing::Contains(std::pair("format", "pt"))) << path;
    }
    // Again: nothing is put and nothing is written.
    const auto before = marks(directory);
    EXPECT_EQ(fetch(directory, selection), 0U);
    EXPECT_EQ(marks(directory), before);
    expect_holds(directory, what->tensors);
  }
}

TEST_F(CompactStoreTest, AWiderSelectionGivesWhatFetchingBothGives) {
  Random random(20'260'103);
  for (int round = 0; round < 25 && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    use(varied_checkpoint(random));
    const fs::path directory = dir_ / std::to_string(round);
    const Selection a = varied_selection(random);
    const Selection b = varied_selection(random);
    fetch(directory, a);
    const auto before = marks(directory);
    const auto first = must(resolved(a));
    const auto second = must(resolved(b));
    EXPECT_EQ(fetch(directory, b), bytes_in(second.pieces - first.pieces));
    expect_holds(directory, unite(first.tensors, second.tensors));
    const auto after = marks(directory);
    for (const auto& [path, mark] : before) {
      ASSERT_TRUE(after.contains(path)) << path << " held whole tensors: it stands";
      EXPECT_EQ(after.at(path), mark) << path;
    }
    expect_tree(directory, {{"config.json", files_.at("config.json")}, {"empty.txt", {}}});
  }
}

TEST_F(CompactStoreTest, TheOriginalIndexIsKeptAndServed) {
  use(two_layers());
  fetch(target_, {});
  const Bytes& original = files_.at("model.safetensors.index.json");
  EXPECT_NE(read_file(target_ / "model.safetensors.index.json"), original);
  EXPECT_EQ(read_file(target_ / ".shardswarm/original/model.safetensors.index.json"), original);
  Rig rig;
  std::vector<std::string> warnings;
  const auto source = must(Store::open_source(
      rig.environment(), {.directory = target_, .state_directory = dir_ / "s"}, warnings));
  EXPECT_TRUE(source->have().complete());
  const FileIndex index = file_named(*manifest_, "model.safetensors.index.json");
  EXPECT_EQ(rig.read_piece(*source, manifest_->first_piece(index)), original);
}

TEST_F(CompactStoreTest, ANewDirectoryIsCompactUnlessItIsForEverything) {
  use(two_layers());
  Rig rig;
  const auto open_new = [&](const std::string& name, const Selection& selection) {
    return must(Store::open_target(
        rig.environment(), {.directory = dir_ / name, .step = HoldingStep{false, selection}},
        manifest_, must(resolved(selection))));
  };
  EXPECT_EQ(open_new("a", {})->layout(), Layout::kOriginal);
  EXPECT_EQ(open_new("b", {.layers = {{0, 0}}})->layout(), Layout::kCompact);
}

// --- slices ---

class SlicesTest : public TwoLayersTest {
 protected:
  Selection rows(std::uint32_t rank, std::uint32_t count) const {
    return {.tensors = {"model.layers.0.w"}, .slices = {{"model.layers.0.w", rank, count}}};
  }
};

TEST_F(SlicesTest, ASliceIsATensorOfItsOwnShape) {
  for (const std::uint32_t rank : {0U, 1U, 2U}) {
    const fs::path directory = dir_ / std::to_string(rank);
    fetch(directory, rows(rank, 5));
    expect_holds(directory, must(resolved(rows(rank, 5))).tensors);
    const auto shard = json_in(directory / "shard.json");
    ASSERT_EQ(shard.at("slices").size(), 1U);
    EXPECT_EQ(shard.at("slices")[0].at("tensor"), "model.layers.0.w");
  }
}

TEST_F(SlicesTest, OnlyTheFileOfASliceThatGrowsIsWrittenAgain) {
  fetch(target_, rows(0, 5));
  fetch(target_, layer1_);
  const auto before = marks(target_);
  const auto now = must(resolved(rows(1, 5)));
  const auto had = must(resolved(rows(0, 5)));
  EXPECT_EQ(fetch(target_, rows(1, 5)), bytes_in(now.pieces - had.pieces));
  expect_holds(target_, replayed({{false, rows(0, 5)}, {false, layer1_}, {false, rows(1, 5)}}));
  std::size_t standing = 0;
  for (const auto& [path, mark] : marks(target_)) {
    const auto at = before.find(path);
    if (at != before.end() && at->second == mark) ++standing;
  }
  EXPECT_EQ(standing, before.size() - 1);
  // And to the whole tensor.
  const Selection whole{.tensors = {"model.layers.0.w"}};
  fetch(target_, whole);
  expect_holds(target_, replayed({{false, rows(0, 5)}, {false, layer1_}, {false, whole}}));
}

TEST_F(SlicesTest, RandomStepsOfSlicesAddUp) {
  Random random(5);
  for (int round = 0; round < 12 && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    const fs::path directory = dir_ / std::to_string(round);
    std::vector<HoldingStep> steps;
    std::uint32_t reached = static_cast<std::uint32_t>(below(random, 3));
    for (int step = 0; step < 4; ++step) {
      // Neighbours, so that they are one run.
      const Selection selection = below(random, 4) == 0 ? layer1_ : rows(reached, 9);
      if (selection != layer1_) ++reached;
      PieceSet had(manifest_->piece_count());
      for (const TensorRows& held : replayed(steps)) insert_pieces(held, *manifest_, had);
      const auto what = must(resolved(selection));
      PieceSet wanted = what.pieces;
      if (!steps.empty()) {  // the plain files came with the first
        for (std::uint32_t f = 0; f < manifest_->file_count(); ++f) {
          const FileEntry& file = manifest_->file(FileIndex(f));
          if (file.kind != FileKind::kTensors) {
            wanted.erase(PieceRun{manifest_->first_piece(FileIndex(f)), file.pieces});
          }
        }
      }
      EXPECT_EQ(fetch(directory, selection), bytes_in(wanted - had));
      steps.push_back({false, selection});
      expect_holds(directory, replayed(steps));
    }
  }
}

TEST_F(SlicesTest, RowsThatAreNoOneRunAreRefusedAndLeaveEverythingAsItWas) {
  fetch(target_, rows(0, 5));
  const auto before = marks(target_);
  {
    Rig rig;
    const auto store = open(rig, target_, rows(2, 5));
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::kUsage);
    EXPECT_THAT(store.error().message, HasSubstr("mirror"));
  }
  EXPECT_EQ(marks(target_), before);
  expect_holds(target_, must(resolved(rows(0, 5))).tensors);
}

TEST_F(SlicesTest, AFlippedByteShowsInTheSliceAndInThePiecesThatItCuts) {
  fetch(target_, rows(1, 5));
  const auto files = tensors_files(target_);
  ASSERT_EQ(files.size(), 1U);
  const Bytes good = read_file(target_ / files[0]);
  const std::uint64_t header = must(safetensors_header_bytes(good));
  // The first byte, one of a whole piece, the last: parts of cut pieces are at both ends.
  for (const std::uint64_t at : {header, header + good.size() / 3, good.size() - 1}) {
    SCOPED_TRACE(at);
    flip_byte(target_ / files[0], at);
    EXPECT_EQ(problems(target_).size(), 1U);
    flip_byte(target_ / files[0], at);
    EXPECT_TRUE(problems(target_).empty());
  }
  const PieceIndex first = piece_of_tensor("a.safetensors", "model.layers.0.w");
  PieceIndex cut = first;
  const auto what = must(resolved(rows(1, 5)));
  while (!what.pieces.contains(cut)) cut = PieceIndex(cut.value + 1);
  flip_byte(target_ / ".shardswarm/cut", std::uint64_t{cut.value} * limits::kPieceBytesMax + 3);
  EXPECT_EQ(problems(target_).size(), 1U);
  // Fetching again mends it.
  fetch(target_, rows(1, 5));
  expect_holds(target_, what.tensors);
}

// --- whose directory it is ---

TEST_F(CompactStoreTest, ForeignFilesUnderNamesOfOursAreRefusedAndKept) {
  use(two_layers());
  const Selection all{.tensors = {"*"}};
  for (const std::string name : {"model-model.layers-0.safetensors", "model-outside.safetensors",
                                 "shard.json", "model.safetensors.index.json", "config.json"}) {
    SCOPED_TRACE(name);
    const TempDir fresh;
    write_file(fresh / name, "mine");
    Rig rig;
    const auto store = open(rig, fresh.path(), all, Layout::kCompact);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::kForeign);
    EXPECT_THAT(store.error().message, HasSubstr(name));
    EXPECT_EQ(read_file(fresh / name), bytes_of("mine"));
    EXPECT_FALSE(fs::exists(fresh / ".shardswarm"));
  }
}

// What somebody put beside a shard since is not overwritten by a wider fetch.
TEST_F(CompactStoreTest, AForeignFileInTheWayOfAWiderFetchIsKept) {
  use(two_layers());
  fetch(target_, {.layers = {{0, 0}}});
  write_file(target_ / "model-model.layers-1.safetensors", "mine");
  {
    Rig rig;
    const auto store = open(rig, target_, {.layers = {{1, 1}}});
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::kForeign);
  }
  EXPECT_EQ(read_file(target_ / "model-model.layers-1.safetensors"), bytes_of("mine"));
  fs::remove(target_ / "model-model.layers-1.safetensors");
  fetch(target_, {.layers = {{1, 1}}});
  expect_holds(target_, must(resolved({})).tensors);
}

TEST_F(CompactStoreTest, AnotherLayoutIsUsageAndNamesConvert) {
  use(two_layers());
  fetch(target_, {.layers = {{0, 0}}});
  for (const Layout layout : {Layout::kOriginal, Layout::kMirror}) {
    Rig rig;
    const auto store = open(rig, target_, {.layers = {{0, 0}}}, layout);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::kUsage);
    EXPECT_THAT(store.error().message, HasSubstr("convert"));
  }
}

TEST_F(CompactStoreTest, ADamagedHoldingIsForeign) {
  use(two_layers());
  fetch(target_, {.layers = {{0, 0}}});
  flip_byte(target_ / ".shardswarm/holding", 3);
  Rig rig;
  const auto store = open(rig, target_, {.layers = {{0, 0}}});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::kForeign);
}

}  // namespace
}  // namespace shardswarm::test
