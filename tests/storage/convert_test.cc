// Converting directories between layouts: what comes out, what is refused, and who else is at it.
#include "storage/convert.h"

#include <gmock/gmock.h>

#include "storage/directory_store.h"
#include "tests/storage/convert_rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::array kLayouts = {Layout::kOriginal, Layout::kMirror, Layout::kCompact};

TEST_F(ConvertTest, EveryLayoutBecomesEveryOtherAndTheOriginalAgain) {
  Files files = two_layers();
  files["empty.txt"] = {};
  files["nothing.safetensors"] = safetensors_of({}, 1);
  files["vae/diffusion.safetensors"] = safetensors_of({{"decoder.w", Dtype::kF32, {4}}}, 5);
  files["vae/config.json"] = bytes_of("{}");
  use(files);
  for (const Layout from : kLayouts) {
    for (const Layout to : kLayouts) {
      if (from == to) continue;
      SCOPED_TRACE(testing::Message() << layout_name(from) << " to " << layout_name(to));
      const fs::path directory =
          dir_ / (std::string(layout_name(from)) + std::string(layout_name(to)));
      fetch(directory, {}, from);
      must(convert(directory, to));
      expect_right(directory, to, all());
      EXPECT_EQ(fetch(directory, {}), 0U);
      must(convert(directory, from));
      expect_right(directory, from, all());
      if (from == Layout::kOriginal) expect_tree(directory, files_);
    }
  }
}

TEST_F(ConvertTest, RandomPartsBecomeMirrorsAndCompactAgain) {
  Random random(20'260'107);
  for (int round = 0; round < 12 && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    use(varied_checkpoint(random));
    const fs::path directory = dir_ / std::to_string(round);
    const Selection selection = varied_selection(random);
    const TensorSet set = must(resolved(selection)).tensors;
    fetch(directory, selection, Layout::kCompact);
    must(convert(directory, Layout::kMirror));
    expect_right(directory, Layout::kMirror, set);
    must(convert(directory, Layout::kCompact));
    expect_right(directory, Layout::kCompact, set);
  }
}

TEST_F(ConvertTest, SlicesAndTheirCutPiecesAreTakenAlong) {
  fetch(target_, third_);
  must(convert(target_, Layout::kMirror));
  expect_right(target_, Layout::kMirror, must(resolved(third_)).tensors);
  EXPECT_FALSE(fs::exists(target_ / ".shardswarm/cut"));
  must(convert(target_, Layout::kCompact));
  expect_right(target_, Layout::kCompact, must(resolved(third_)).tensors);
}

TEST_F(ConvertTest, ForeignFilesBesideStay) {
  fetch(target_, {}, Layout::kOriginal);
  write_file(target_ / "mine.txt", "mine");
  must(convert(target_, Layout::kCompact));
  EXPECT_EQ(read_file(target_ / "mine.txt"), bytes_of("mine"));
  expect_right(target_, Layout::kCompact, all());
}

// What would get a name that somebody else's file has is not converted over it.
TEST_F(ConvertTest, AForeignFileUnderANameOfTheNewLayoutIsKept) {
  fetch(target_, {}, Layout::kOriginal);
  write_file(target_ / "model-outside.safetensors", "mine");
  const auto converted = convert(target_, Layout::kCompact);
  ASSERT_FALSE(converted);
  EXPECT_EQ(converted.error().code, Errc::kForeign);
  EXPECT_THAT(converted.error().message, HasSubstr("model-outside.safetensors"));
  EXPECT_EQ(read_file(target_ / "model-outside.safetensors"), bytes_of("mine"));
  expect_tree(target_, files_);
  fs::remove(target_ / "model-outside.safetensors");
  must(convert(target_, Layout::kCompact));
  expect_right(target_, Layout::kCompact, all());
}

TEST_F(ConvertTest, AForeignFileUnderANameOfTheModelIsNotTakenForOurs) {
  fetch(target_, layer0_, Layout::kMirror);
  write_file(target_ / "b.safetensors", "mine");
  must(convert(target_, Layout::kCompact));
  EXPECT_EQ(read_file(target_ / "b.safetensors"), bytes_of("mine"));
}

// --- refused ---

TEST_F(ConvertTest, RefusalsSayWhyAndLeaveTheDirectoryAsItWas) {
  EXPECT_EQ(convert(target_, Layout::kMirror).error().code, Errc::kNotFound);
  fetch(target_, layer0_, Layout::kMirror);
  const Files before = tree_of(target_);
  const auto lacking = convert(target_, Layout::kOriginal);
  ASSERT_TRUE(lacking) << "a.safetensors has layer 0 and the embedding, and is whole";
  must(convert(target_, Layout::kMirror));
  fs::remove_all(target_);
  fetch(target_, third_, Layout::kMirror);
  const Files mirror = tree_of(target_);
  const auto refused = convert(target_, Layout::kOriginal);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kUsage);
  EXPECT_THAT(refused.error().message, HasSubstr("fetch"));
  EXPECT_EQ(tree_of(target_), mirror) << "and no staging that takes up the disk";
  EXPECT_EQ(convert(target_, Layout::kMirror).error().code, Errc::kUsage);
}

TEST_F(ConvertTest, AnIncompleteDirectoryIsRefused) {
  {
    Rig rig;
    auto store = must(open(rig, target_, {}, Layout::kMirror));
    must(rig.finish(*store));
  }
  EXPECT_EQ(convert(target_, Layout::kCompact).error().code, Errc::kUsage);
  fetch(target_, {});
  flip_byte(target_ / "a.safetensors", 2000);
  const auto damaged = convert(target_, Layout::kCompact);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Errc::kUsage);
  fetch(target_, {});
  must(convert(target_, Layout::kCompact));
  expect_right(target_, Layout::kCompact, all());
}

TEST_F(ConvertTest, ADirectoryThatIsServedIsBusyAtTheEndAndConvertsLater) {
  fetch(target_, {}, Layout::kOriginal);
  {
    Rig rig;
    std::vector<std::string> warnings;
    const auto source = must(Store::open_source(
        rig.environment(), {.directory = target_, .state_directory = dir_ / "s"}, warnings));
    EXPECT_EQ(convert(target_, Layout::kCompact).error().code, Errc::kBusy);
    EXPECT_TRUE(source->have().complete());
    expect_tree(target_, files_);
  }
  must(convert(target_, Layout::kCompact));
  expect_right(target_, Layout::kCompact, all());
}

TEST_F(ConvertTest, WhatIsInTheWayIsNoticedBeforeAnythingIsCopied) {
  Files files = two_layers();
  files["vae/d.safetensors"] = safetensors_of({{"decoder.w", Dtype::kF32, {4}}}, 5);
  use(files);
  fetch(target_, {}, Layout::kOriginal);
  const auto expect_refused = [&](Layout layout, const std::string& name) {
    SCOPED_TRACE(name);
    const auto refused = convert(target_, layout);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kForeign);
    EXPECT_THAT(refused.error().message, HasSubstr(name));
    EXPECT_FALSE(fs::exists(target_ / ".shardswarm/convert"));
  };
  for (const char* name :
       {"model-model.layers-1.safetensors", "shard.json", "vae/d-outside.safetensors"}) {
    write_file(target_ / name, "mine");
    expect_refused(Layout::kCompact, name);
    fs::remove(target_ / name);
    fs::create_symlink("nowhere", target_ / name);
    expect_refused(Layout::kCompact, name);
    fs::remove(target_ / name);
  }
  must(convert(target_, Layout::kCompact));
  fs::rename(target_ / "vae", dir_ / "moved");
  fs::create_directory_symlink(dir_ / "moved", target_ / "vae");
  expect_refused(Layout::kMirror, "vae/d.safetensors");
}

TEST_F(ConvertTest, TheOriginalLayoutSaysWhichFileIsNotWhole) {
  fetch(target_, {.tensors = {"model.norm.weight"}}, Layout::kMirror);
  const auto refused = convert(target_, Layout::kOriginal);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kUsage);
  EXPECT_THAT(refused.error().message, HasSubstr("b.safetensors"));
  EXPECT_THAT(refused.error().message, HasSubstr("--tensors"));
}

// --- others at the same directory ---

TEST_F(ConvertTest, WhatWasThrownAwayBeforeTheLockIsNotPutInPlace) {
  fetch(target_, {}, Layout::kOriginal);
  const Files before = tree_of(target_);
  const auto expect_busy = [&](const StagedConversion& conversion) {
    const auto placed = place_conversion(target_, conversion);
    ASSERT_FALSE(placed);
    EXPECT_EQ(placed.error().code, Errc::kBusy);
    EXPECT_THAT(placed.error().message, HasSubstr("again"));
    fs::remove_all(target_ / ".shardswarm/convert");
    EXPECT_EQ(tree_of(target_), before);
  };
  const fs::path staging = target_ / ".shardswarm/convert";
  StagedConversion conversion = staged(target_, Layout::kCompact);
  fs::remove_all(staging);
  expect_busy(conversion);
  for (const char* name : {".shardswarm/holding", ".shardswarm/ledger", "shard.json", "config.json",
                           "model-model.layers-0.safetensors", ".shardswarm/cut"}) {
    SCOPED_TRACE(name);
    conversion = staged(target_, Layout::kCompact);
    if (!fs::remove(staging / name)) continue;
    expect_busy(conversion);
  }
  conversion = staged(target_, Layout::kCompact);
  flip_byte(staging / "model-model.layers-0.safetensors", 5000);
  expect_busy(conversion);
  conversion = staged(target_, Layout::kCompact);
  must(convert(target_, Layout::kMirror));
  EXPECT_EQ(place_conversion(target_, conversion).error().code, Errc::kBusy);
  expect_right(target_, Layout::kMirror, all());
}

TEST_F(ConvertTest, AFetchMeanwhileIsNoticed) {
  fetch(target_, layer0_, Layout::kMirror);
  const StagedConversion conversion = staged(target_, Layout::kCompact);
  fetch(target_, layer1_);
  EXPECT_EQ(place_conversion(target_, conversion).error().code, Errc::kBusy);
  must(convert(target_, Layout::kCompact));
  expect_right(target_, Layout::kCompact, all());
}

TEST_F(ConvertTest, WhatAnotherIsStagingIsNotThrownAway) {
  fetch(target_, {}, Layout::kOriginal);
  staged(target_, Layout::kCompact);
  const fs::path staging = target_ / ".shardswarm/convert";
  const Files before = tree_of(staging);
  {
    const Fd lock = must(lock_meta(staging / ".shardswarm", true));
    for (const Layout layout : {Layout::kMirror, Layout::kCompact}) {
      const auto refused = convert(target_, layout);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, Errc::kBusy);
      EXPECT_EQ(tree_of(staging), before);
    }
  }
  must(convert(target_, Layout::kMirror));
  expect_right(target_, Layout::kMirror, all());
}

// A change was interrupted when it had been decided and before the old files were removed.
TEST_F(ConvertTest, SupersededFilesAreRemovedToo) {
  fetch(target_, third_);
  const Holding old = must(load_holding(target_ / ".shardswarm", *manifest_));
  ASSERT_EQ(old.files.size(), 1U);
  const Bytes bytes = read_file(target_ / old.files[0].path);
  fetch(target_, {.tensors = {"model.layers.0.w"}});
  Holding holding = must(load_holding(target_ / ".shardswarm", *manifest_));
  ASSERT_FALSE(fs::exists(target_ / old.files[0].path));
  write_file(target_ / old.files[0].path, bytes);
  holding.superseded = old.files;
  must(save_holding(target_ / ".shardswarm", holding));
  must(convert(target_, Layout::kMirror));
  expect_right(target_, Layout::kMirror, replayed(holding.steps));
  EXPECT_FALSE(fs::exists(target_ / old.files[0].path));
}

// --- interrupted ---

TEST_F(ConvertTest, WhatWasStagedBeforeAnInterruptionIsUsedOrThrownAway) {
  fetch(target_, {}, Layout::kOriginal);
  const auto stage = [&] {  // a conversion that ends at the lock
    Rig rig;
    std::vector<std::string> warnings;
    const auto source = must(Store::open_source(
        rig.environment(), {.directory = target_, .state_directory = dir_ / "s"}, warnings));
    EXPECT_EQ(convert(target_, Layout::kCompact).error().code, Errc::kBusy);
    ASSERT_TRUE(fs::exists(target_ / ".shardswarm/convert"));
  };
  stage();
  // A byte of it changed meanwhile.
  for (const auto& path : tensors_files(target_ / ".shardswarm/convert")) {
    flip_byte(target_ / ".shardswarm/convert" / path, 4096 + 2);
  }
  must(convert(target_, Layout::kCompact));
  expect_right(target_, Layout::kCompact, all());
  must(convert(target_, Layout::kOriginal));
  stage();
  must(convert(target_, Layout::kMirror));  // another one than was staged
  expect_right(target_, Layout::kMirror, all());
  must(convert(target_, Layout::kOriginal));
  stage();
  EXPECT_EQ(fetch(target_, {}), 0U);
  expect_right(target_, Layout::kOriginal, all());
}

}  // namespace
}  // namespace shardswarm::test
