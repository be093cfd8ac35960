// Dropping from directories: what stays is just the rest, and its room on the disk is free again.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/storage/compact_rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Bytes of the disk below a directory.
std::uint64_t allocated(const fs::path& directory) {
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    struct stat status{};
    if (entry.is_regular_file() && ::stat(entry.path().c_str(), &status) == 0) {
      bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
  }
  return bytes;
}

class DropTest : public TwoLayersTest {
 protected:
  static constexpr std::uint64_t kLayer = std::uint64_t{8'010} * 300;

  // The mirror has the pieces of the set and zeros for everything else.
  void expect_mirror(const TensorSet& set) const {
    expect_served(target_, set);
    PieceSet pieces(manifest_->piece_count());
    for (const TensorRows& rows : set) insert_pieces(rows, *manifest_, pieces);
    for (std::uint32_t p = 0; p < manifest_->piece_count(); ++p) {
      const PieceExtent extent = manifest_->extent(PieceIndex(p));
      const FileEntry& file = manifest_->file(extent.file);
      if (file.kind != FileKind::kTensors || pieces.contains(PieceIndex(p))) continue;
      if (!fs::exists(target_ / file.path)) continue;
      const Bytes bytes = read_file(target_ / file.path);
      const auto there = std::span(bytes).subspan(extent.offset, extent.length);
      EXPECT_EQ(std::ranges::count(there, std::byte{0}), std::ssize(there)) << p;
    }
  }
};

TEST_F(DropTest, ACompactDirectoryHoldsJustTheRest) {
  Random random(20'260'106);
  for (int round = 0; round < 25 && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    use(varied_checkpoint(random));
    const fs::path directory = dir_ / std::to_string(round);
    std::vector<HoldingStep> steps = {{false, varied_selection(random)}};
    fetch(directory, steps[0].selection);
    for (int step = 0; step < 3 && !HasFailure(); ++step) {
      SCOPED_TRACE(step);
      const bool drops = below(random, 3) != 0;
      const Selection selection = varied_selection(random);
      drops ? drop(directory, selection) : (void)fetch(directory, selection);
      steps.push_back({drops, selection});
      expect_holds(directory, replayed(steps));
    }
  }
}

TEST_F(DropTest, WhatIsDroppedIsFreeAndTheRestIsNotWrittenAgain) {
  fetch(target_, {});
  ASSERT_EQ(json_in(target_ / "shard.json").at("tensors"), 6);
  const auto before = marks(target_);
  const std::uint64_t used = allocated(target_);
  drop(target_, layer0_);
  expect_holds(target_, replayed({{false, {}}, {true, layer0_}}));
  EXPECT_LT(allocated(target_), used - kLayer + 65'536);
  const std::string stays = "model-model.layers-1.safetensors";
  EXPECT_EQ(mark_of(target_ / stays), before.at(stays));
  // And back.
  const std::uint64_t back = fetch(target_, layer0_);
  EXPECT_GT(back, kLayer);
  EXPECT_LT(back, kLayer + 4096);
  expect_holds(target_, replayed({{false, {}}}));
}

TEST_F(DropTest, WithTheLastSliceThePiecesThatItCutAreFreed) {
  fetch(target_, third_);
  fetch(target_, layer1_);
  const std::uint64_t used = allocated(target_);
  drop(target_, third_);
  expect_holds(target_, must(resolved(layer1_)).tensors);
  EXPECT_LT(allocated(target_), used - kLayer / 3 - limits::kMiB / 2);
}

TEST_F(DropTest, DroppingEverythingLeavesNoTensorAndNoIndex) {
  fetch(target_, layer0_);
  drop(target_, {});
  EXPECT_TRUE(tensors_files(target_).empty());
  EXPECT_FALSE(fs::exists(target_ / "model.safetensors.index.json"));
  const auto shard = json_in(target_ / "shard.json");
  EXPECT_TRUE(shard.at("complete").get<bool>());
  EXPECT_TRUE(shard.at("files").empty());
  fetch(target_, layer0_);
  expect_holds(target_, must(resolved(layer0_)).tensors);
}

TEST_F(DropTest, APartOfATensorCanBeDropped) {
  fetch(target_, {.tensors = {"model.layers.0.w"}});
  drop(target_, third_);
  expect_holds(target_, replayed({{false, {.tensors = {"model.layers.0.w"}}}, {true, third_}}));
}

TEST_F(DropTest, ADirectoryThatLacksWhatItShouldHoldIsMendedFirst) {
  fetch(target_, {});
  flip_byte(target_ / "model-model.layers-1.safetensors", 4096 + 9);
  {
    Rig rig;
    const auto store = open(rig, target_, layer0_, {}, true);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::kCorrupt);
  }
  fetch(target_, layer0_);
  expect_holds(target_, replayed({{false, {}}}));
  drop(target_, layer0_);
  expect_holds(target_, replayed({{false, {}}, {true, layer0_}}));
}

// --- mirror and original ---

TEST_F(DropTest, AMirrorGetsHolesAndLosesFilesOfWhichNothingIsLeft) {
  fetch(target_, {}, Layout::kMirror);
  const std::uint64_t used = allocated(target_);
  const Selection matrix{.tensors = {"model.layers.0.w"}};
  drop(target_, matrix);
  EXPECT_LT(allocated(target_), used - kLayer + 65'536);
  expect_mirror(replayed({{false, {}}, {true, matrix}}));
  const Selection rest{.tensors = {"model.layers.0.*", "model.embed*"}};
  drop(target_, rest);
  EXPECT_FALSE(fs::exists(target_ / "a.safetensors"));
  expect_mirror(replayed({{false, {}}, {true, rest}}));
  const std::uint64_t back = fetch(target_, {});
  EXPECT_GT(back, kLayer);
  EXPECT_LT(back, kLayer + 4096);
  expect_tree(target_, files_);
  EXPECT_TRUE(problems(target_).empty());
}

// Pieces that a slice which stays shares with one that goes stay whole.
TEST_F(DropTest, AMirrorKeepsPiecesThatWhatStaysNeeds) {
  const Selection second{.tensors = {"model.layers.0.w"}, .slices = {{"model.layers.0.w", 1, 3}}};
  fetch(target_, third_, Layout::kMirror);
  fetch(target_, second);
  drop(target_, third_);
  expect_served(target_, must(resolved(second)).tensors);
  expect_mirror(must(resolved(second)).tensors);
}

TEST_F(DropTest, TheOriginalLayoutIsRefusedAndNamesConvert) {
  fetch(target_, {}, Layout::kOriginal);
  Rig rig;
  const auto store = open(rig, target_, layer0_, {}, true);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::kUsage);
  EXPECT_THAT(store.error().message, HasSubstr("convert"));
  expect_tree(target_, files_);
}

// A directory of an earlier version, or one whose first fetch never ended: what it is meant to hold
// is not known, so nothing of it may go.
TEST_F(DropTest, WhereNoFetchWasCompletedNothingIsDropped) {
  {
    Rig rig;
    rig.fetch(target_, manifest_,
              only_tensors(*manifest_, {"model.layers.0.w", "model.layers.0.b"}), files_);
  }
  const Bytes before = read_file(target_ / "a.safetensors");
  {
    Rig rig;
    const auto store = open(rig, target_, {.tensors = {"model.layers.0.b"}}, {}, true);
    if (store) (void)rig.finish(**store);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::kUsage);
  }
  ASSERT_TRUE(fs::exists(target_ / "a.safetensors"));
  EXPECT_EQ(read_file(target_ / "a.safetensors"), before);
}

TEST_F(DropTest, NothingIsDroppedFromADirectoryThatIsNotThere) {
  Rig rig;
  EXPECT_FALSE(open(rig, target_, layer0_, Layout::kCompact, true));
  EXPECT_FALSE(fs::exists(target_)) << "nothing is made";
}

}  // namespace
}  // namespace shardswarm::test
