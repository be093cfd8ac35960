// Compact directories that were stopped, crashed or damaged: shard.json promises nothing that is
// not there, and the next fetch mends it.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "storage/engines.h"
#include "tests/storage/compact_rig.h"
#include "tests/storage/fault_engine.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;

class DamageTest : public TwoLayersTest {
 protected:
  bool says_complete() const { return json_in(target_ / "shard.json").at("complete").get<bool>(); }
  // What shard.json names is there and right, if it says that it is complete.
  void expect_promises_kept() const {
    if (!fs::exists(target_ / "shard.json") || !says_complete()) return;
    std::vector<std::string> paths;
    const auto shard = json_in(target_ / "shard.json");
    for (const auto& file : shard.at("files")) {
      paths.push_back(file.at("path").get<std::string>());
      ASSERT_TRUE(fs::exists(target_ / paths.back())) << paths.back();
    }
    const SeenTensors seen = look_into(target_, paths);
    EXPECT_EQ(seen.size(), shard.at("tensors").get<std::size_t>());
    const SeenTensors all = originals(replayed({{false, {}}}), *manifest_, files_);
    for (const auto& [name, tensor] : seen) {
      const SeenTensor& original = all.at(name);
      ASSERT_LE(tensor.bytes.size(), original.bytes.size()) << name;
      EXPECT_TRUE(
          std::ranges::equal(tensor.bytes, std::span(original.bytes).first(tensor.bytes.size())))
          << name << ": slices of these tests begin with row 0";
    }
  }
};

// --- lost and mended ---

TEST_F(DamageTest, ALostPieceIsNoticedAndNothingIsPromisedUntilItIsBack) {
  fetch(target_, layer0_);
  const std::string file = "model-model.layers-0.safetensors";
  const PieceIndex lost = piece_of_tensor("a.safetensors", "model.layers.0.w", 1);
  const auto tensors = must(resolved(layer0_)).tensors;
  const auto outside = mark_of(target_ / "model-outside.safetensors");
  const std::uint64_t at = 4096 + limits::kPieceBytesMax + 500;  // 80 bytes of another

  flip_byte(target_ / file, at);
  {
    Rig rig;
    auto store = must(open(rig, target_, layer0_));
    EXPECT_FALSE(store->have().contains(lost));
    EXPECT_EQ(store->wanted() - store->have(), [&] {
      PieceSet set(manifest_->piece_count());
      set.insert(lost);
      return set;
    }());
    EXPECT_FALSE(says_complete());
    rig.put_missing(*store, store->wanted(), files_);
    EXPECT_FALSE(says_complete());
    must(rig.finish(*store));
  }
  EXPECT_TRUE(says_complete());
  expect_holds(target_, tensors);
  EXPECT_EQ(mark_of(target_ / "model-outside.safetensors"), outside);
}

TEST_F(DamageTest, AFileThatIsGoneIsFetchedAgain) {
  fetch(target_, layer0_);
  fs::remove(target_ / "model-model.layers-0.safetensors");
  {
    Rig rig;
    must(open(rig, target_, layer0_));
    EXPECT_FALSE(says_complete());
  }
  fetch(target_, layer1_);
  expect_holds(target_, replayed({{false, {}}}));
}

TEST_F(DamageTest, HeaderIndexAndShardThatWereChangedAreWrittenAgain) {
  fetch(target_, layer0_);
  flip_byte(target_ / "model-model.layers-0.safetensors", 20);
  fs::remove(target_ / "model.safetensors.index.json");
  write_file(target_ / "shard.json", "{}");
  fetch(target_, layer0_);
  expect_holds(target_, must(resolved(layer0_)).tensors);
}

// While a wider selection is fetched the old file of a slice serves; if it is damaged it does not.
TEST_F(DamageTest, ALostPieceOfASupersededFileIsNoticed) {
  fetch(target_, third_);
  const auto files = tensors_files(target_);
  ASSERT_EQ(files.size(), 1U);
  flip_byte(target_ / files[0], 4096 + 9);
  const Selection whole{.tensors = {"model.layers.0.w"}};
  {
    Rig rig;
    auto store = must(open(rig, target_, whole));
    expect_promises_kept();
    rig.put_missing(*store, store->wanted(), files_);
    expect_promises_kept();
    must(rig.finish(*store));
  }
  expect_holds(target_, replayed({{false, whole}}));
}

TEST_F(DamageTest, TheFileOfCutPiecesThatIsGoneIsFetchedAgain) {
  fetch(target_, third_);
  fs::remove(target_ / ".shardswarm/cut");
  EXPECT_GT(fetch(target_, third_), 0U);
  expect_holds(target_, must(resolved(third_)).tensors);
}

// Complete, it lets others have the directory: what comes afterwards finds nothing to write to.
TEST_F(DamageTest, WhatIsLostAfterTheEndIsNeitherTakenNorRecorded) {
  Rig rig;
  auto store = must(open(rig, target_, layer0_));
  rig.put_missing(*store, store->wanted(), files_);
  must(rig.finish(*store));
  const PieceIndex lost = piece_of_tensor("a.safetensors", "model.layers.0.w");
  const auto ledger = read_file(target_ / ".shardswarm/ledger");
  store->forget(lost);
  EXPECT_TRUE((store->wanted() - store->have()).contains(lost));
  const auto put = rig.put(*store, lost, piece_of(files_, *manifest_, lost));
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, Errc::kCancelled);
  must(rig.finish(*store));
  EXPECT_EQ(read_file(target_ / ".shardswarm/ledger"), ledger);
}

// --- stopped ---

TEST_F(DamageTest, AStoreThatIsDroppedAnywhereIsTakenUp) {
  Random random(20'260'104);
  for (int round = 0; round < 12 && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    fs::remove_all(target_);
    fetch(target_, third_);
    const auto old = tensors_files(target_);
    const Selection wide{.tensors = {"model.layers.*"}};
    PieceSet had(manifest_->piece_count());
    for (bool complete = false; !complete;) {
      Rig rig;
      auto store = must(open(rig, target_, wide));
      EXPECT_TRUE((had - store->have()).empty()) << "what was put stays put";
      expect_promises_kept();
      PieceSet some(manifest_->piece_count());
      (store->wanted() - store->have()).for_each([&](PieceIndex piece) {
        if (below(random, 3) == 0) some.insert(piece);
      });
      rig.put_missing(*store, some, files_);
      complete = (store->wanted() - store->have()).empty();
      // Let go, or ended in order.
      if (complete || below(random, 2) == 0) must(rig.finish(*store));
      had = store->have();
      expect_promises_kept();
      // No loader that takes all files finds a tensor twice, until the old ones are replaced.
      if (!complete) look_into(target_, tensors_files(target_));
    }
    expect_holds(target_, replayed({{false, third_}, {false, wide}}));
  }
}

TEST_F(DamageTest, AWiderFetchThatIsGivenUpLeavesTheNarrowOneUsable) {
  fetch(target_, third_);
  {
    Rig rig;
    auto store = must(open(rig, target_, {.tensors = {"model.layers.*"}}));
    rig.put_missing(*store, must(resolved(layer1_)).pieces & store->wanted(), files_);
    must(rig.finish(*store));
  }
  expect_promises_kept();
  EXPECT_TRUE(says_complete());
  EXPECT_EQ(fetch(target_, third_), 0U);
  expect_promises_kept();
  // What came of the wider one is not fetched again.
  EXPECT_LT(fetch(target_, {.tensors = {"model.layers.*"}}),
            bytes_in(must(resolved(layer0_)).pieces));
  expect_holds(target_, replayed({{false, {.tensors = {"model.layers.*"}}}}));
}

TEST_F(DamageTest, AnUnfinishedFetchOfSomethingElseIsKept) {
  fetch(target_, layer0_);
  {
    Rig rig;
    auto store = must(open(rig, target_, layer1_));
    must(rig.put(
        *store, piece_of_tensor("b.safetensors", "model.layers.1.w"),
        piece_of(files_, *manifest_, piece_of_tensor("b.safetensors", "model.layers.1.w"))));
    must(rig.finish(*store));
  }
  EXPECT_EQ(fetch(target_, layer0_), 0U);
  const auto seen = look_into(target_, tensors_files(target_));
  expect_tensors(seen, originals(must(resolved(layer0_)).tensors, *manifest_, files_));
  Rig rig;
  const auto store = must(open(rig, target_, layer1_));
  EXPECT_TRUE(store->have().contains(piece_of_tensor("b.safetensors", "model.layers.1.w")));
}

// --- crashed ---

// The disk forgets what was not synced, at any moment of a fetch that grows a slice.
TEST_F(DamageTest, ACrashAnywhereKeepsWhatShardJsonPromises) {
  Random random(20'260'105);
  fetch(target_, third_);
  const Selection wide{.tensors = {"*"}};
  for (int crashes = 0; !HasFailure(); ++crashes) {
    SCOPED_TRACE(crashes);
    ASSERT_LT(crashes, 100) << "it does not get on";
    auto fault = std::make_unique<FaultEngine>(make_posix_engine());
    FaultEngine& disk = *fault;
    Rig rig(std::move(fault));
    auto store = must(open(rig, target_, wide));
    expect_promises_kept();
    std::size_t answered = 0;
    std::size_t puts = 0;
    (store->wanted() - store->have()).for_each([&](PieceIndex piece) {
      if (puts >= 2) return;
      ++puts;
      store->put(piece, rig.buffer(piece_of(files_, *manifest_, piece)),
                 [&](const Result<void>&) { ++answered; });
    });
    if (below(random, 2) == 0) rig.owner.run_until([&] { return answered == puts; });
    if ((store->wanted() - store->have()).empty()) {
      must(rig.finish(*store));
      break;
    }
    // Every other time what came so far is made durable first.
    if (crashes % 2 == 0) {
      rig.owner.run_until([&] { return answered == puts; });
      (void)rig.finish(*store);
    }
    disk.crash();
    expect_promises_kept();
  }
  expect_holds(target_, replayed({{false, {}}}));
}

// The process ends between two steps of the commit: made again from copies of the directory.
TEST_F(DamageTest, ACommitThatWasInterruptedIsCompleted) {
  fetch(target_, third_);
  const fs::path before = dir_ / "before";
  fs::copy(target_, before, fs::copy_options::recursive);
  const Selection whole{.tensors = {"model.layers.0.w"}};
  const std::string old = tensors_files(target_)[0];
  fetch(target_, whole);
  const std::string fresh = tensors_files(target_)[0];
  // All is written, the old file is there still and so is the old index or shard.json.
  for (const bool index_too : {false, true}) {
    for (const bool shard_too : {false, true}) {
      SCOPED_TRACE(testing::Message() << index_too << shard_too);
      fs::copy_file(before / old, target_ / old, fs::copy_options::overwrite_existing);
      if (index_too) {
        fs::copy_file(before / "model.safetensors.index.json",
                      target_ / "model.safetensors.index.json",
                      fs::copy_options::overwrite_existing);
      }
      if (shard_too) {
        fs::copy_file(before / "shard.json", target_ / "shard.json",
                      fs::copy_options::overwrite_existing);
      }
      Holding holding = must(load_holding(target_ / ".shardswarm", *manifest_));
      holding.superseded = must(load_holding(before / ".shardswarm", *manifest_)).files;
      must(save_holding(target_ / ".shardswarm", holding));
      expect_promises_kept();
      EXPECT_EQ(fetch(target_, whole), 0U);
      EXPECT_EQ(tensors_files(target_), std::vector<std::string>{fresh});
      expect_holds(target_, replayed({{false, whole}}));
    }
  }
}

}  // namespace
}  // namespace shardswarm::test
