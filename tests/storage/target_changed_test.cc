// Files of a target that somebody else wrote: edited since they were fetched, appeared while they
// were being fetched, or of a name that the file system has already.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "base/file.h"
#include "storage/convert.h"
#include "storage/name_clash.h"
#include "tests/storage/compact_rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class TargetChangedTest : public CompactTest {
 protected:
  void SetUp() override {
    Files files;
    files["config.json"] = bytes_of(R"({"num_hidden_layers": 4})");
    files["empty.txt"] = {};
    files["tokenizer.json"] = noise((3 << 20) + 5, 4);
    files["model.safetensors"] = safetensors({{"model.layers.0.w", 5000},
                                              {"model.layers.1.w", 6000},
                                              {"model.layers.2.w", 7000},
                                              {"model.norm", 100}},
                                             7);
    use(std::move(files));
  }
  static Selection layers(std::uint32_t first, std::uint32_t last) {
    Selection selection;
    selection.layers = {{first, last}};
    return selection;
  }
  // Fetches again; the warnings of the opening.
  std::vector<std::string> again(const Selection& selection, bool recheck = false) {
    Rig rig;
    auto store = must(Store::open_target(
        rig.environment(),
        {.directory = target_, .step = HoldingStep{false, selection}, .recheck = recheck},
        manifest_, must(resolved(selection))));
    const std::vector<std::string> warnings = store->warnings();
    rig.put_missing(*store, store->wanted(), files_);
    EXPECT_TRUE((store->wanted() - store->have()).empty());
    const PieceSet kept = store->kept_back();
    EXPECT_TRUE((kept & store->have()).empty());
    must(rig.finish(*store));
    return warnings;
  }
  // Finds what is damaged, and ends before any of it has come again.
  void repair_without_peers(const Selection& selection) {
    Rig rig;
    const auto store = must(Store::open_target(
        rig.environment(),
        {.directory = target_, .step = HoldingStep{false, selection}, .recheck = true}, manifest_,
        must(resolved(selection))));
    EXPECT_EQ((store->wanted() - store->have()).count(), 2U);
    must(rig.finish(*store));
  }
  std::string text_of(const std::string& path) const {
    const Bytes bytes = read_file(target_ / path);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  TempDir dir_;
  fs::path target_ = dir_ / "target";
};

constexpr std::string_view kEdited = R"({"num_hidden_layers": 2})";  // of the same length

TEST_F(TargetChangedTest, AnEditedFileStaysAndIsNamedInEveryLayout) {
  for (const Layout layout : {Layout::kCompact, Layout::kMirror, Layout::kOriginal}) {
    SCOPED_TRACE(layout_name(layout));
    fs::remove_all(target_);
    fetch(target_, layers(0, 1), layout);
    write_file(target_ / "config.json", kEdited);
    EXPECT_THAT(again(layers(2, 2)),
                ElementsAre(AllOf(HasSubstr("config.json"), HasSubstr("left as it is"),
                                  HasSubstr("remove it and run this again"))));
    EXPECT_EQ(text_of("config.json"), kEdited);
    // It is not forgotten that it was changed.
    EXPECT_THAT(again(layers(2, 2)), ElementsAre(HasSubstr("config.json")));
    EXPECT_EQ(text_of("config.json"), kEdited);
  }
}

TEST_F(TargetChangedTest, WhateverWasChangedInItStays) {
  const std::vector<std::pair<std::string, Bytes>> edits = {
      {"config.json", bytes_of(R"({"num_hidden_layers": 4})"
                               "\n")},  // appended to: all pieces match
      {"config.json", {}},
      {"empty.txt", bytes_of("not empty any more")},
      {"tokenizer.json", noise((3 << 20) + 5, 5)},
      {"tokenizer.json", noise(1 << 20, 4)},
  };
  for (const auto& [path, bytes] : edits) {
    SCOPED_TRACE(path + " " + std::to_string(bytes.size()));
    fs::remove_all(target_);
    fetch(target_, layers(0, 1));
    write_file(target_ / path, bytes);
    EXPECT_THAT(again(layers(0, 2)), ElementsAre(HasSubstr(path)));
    EXPECT_TRUE(read_file(target_ / path) == bytes);
  }
}

TEST_F(TargetChangedTest, AnEditedFileIsNotServedAndVerifySaysSo) {
  fetch(target_, layers(0, 1));
  write_file(target_ / "config.json", kEdited);
  again(layers(2, 2));
  Rig rig;
  std::vector<std::string> warnings;
  const auto source = must(Store::open_source(
      rig.environment(), {.directory = target_, .state_directory = dir_ / "none"}, warnings));
  const PieceIndex piece = manifest_->first_piece(file_named(*manifest_, "config.json"));
  EXPECT_FALSE(source->have().contains(piece));
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("config.json")));
  const auto report =
      must(verify_directory(rig.environment(), target_, dir_ / "none", /*full=*/false));
  EXPECT_THAT(report.wrong,
              ElementsAre(AllOf(HasSubstr("config.json"), HasSubstr("was changed since"))));
}

TEST_F(TargetChangedTest, RemovedItComesAgain) {
  fetch(target_, layers(0, 1));
  write_file(target_ / "config.json", kEdited);
  again(layers(2, 2));
  fs::remove(target_ / "config.json");
  EXPECT_THAT(again(layers(2, 2)), IsEmpty());
  EXPECT_TRUE(read_file(target_ / "config.json") == files_["config.json"]);
}

TEST_F(TargetChangedTest, ARepairLeavesItToo) {
  fetch(target_, layers(0, 1));
  write_file(target_ / "config.json", kEdited);
  EXPECT_THAT(again(layers(0, 1), /*recheck=*/true), ElementsAre(HasSubstr("left as it is")));
  EXPECT_EQ(text_of("config.json"), kEdited);
}

// A disk changes no times.
void rot(const fs::path& file) {
  const auto before = fs::last_write_time(file);
  flip_byte(file, fs::file_size(file) - 1);
  fs::last_write_time(file, before);
}

TEST_F(TargetChangedTest, ARepairBringsBackWhatRotted) {
  fetch(target_, layers(0, 1));
  rot(target_ / "config.json");
  EXPECT_THAT(again(layers(0, 1), /*recheck=*/true),
              ElementsAre(AllOf(HasSubstr("config.json"), HasSubstr("damaged"))));
  EXPECT_TRUE(read_file(target_ / "config.json") == files_["config.json"]);
}

TEST_F(TargetChangedTest, WhatARepairFoundDamagedIsWrongUntilItIsBack) {
  for (const Layout layout : {Layout::kCompact, Layout::kMirror, Layout::kOriginal}) {
    SCOPED_TRACE(layout_name(layout));
    const Selection selection = layout == Layout::kOriginal ? Selection{} : layers(0, 2);
    const bool compact = layout == Layout::kCompact;
    fs::remove_all(target_);
    fetch(target_, selection, layout);
    rot(target_ / "config.json");
    // The last tensor of the file is the norm, which comes with the last layer.
    rot(target_ / (compact ? "model-model.layers-0.safetensors" : "model.safetensors"));
    EXPECT_EQ(problems(target_).size(), 2U);
    for (int attempt = 0; attempt < 2; ++attempt) {
      repair_without_peers(selection);
      EXPECT_EQ(problems(target_).size(), 2U) << attempt;
    }
    again(selection, /*recheck=*/true);
    EXPECT_THAT(problems(target_), IsEmpty());
  }
}

// Another time on the file, or a copy in its place, changes nothing.
TEST_F(TargetChangedTest, TheSameBytesAreNotAChange) {
  fetch(target_, layers(0, 1));
  const Bytes same = read_file(target_ / "config.json");
  fs::remove(target_ / "config.json");
  write_file(target_ / "config.json", same);
  EXPECT_THAT(again(layers(2, 2)), IsEmpty());
}

TEST_F(TargetChangedTest, ChangedTensorsAreFetchedAgainAndNamed) {
  fetch(target_, layers(0, 1));
  const fs::path unit = target_ / "model-model.layers-0.safetensors";
  flip_byte(unit, fs::file_size(unit) - 1);
  EXPECT_THAT(again(layers(0, 1)), ElementsAre(AllOf(HasSubstr("model-model.layers-0.safetensors"),
                                                     HasSubstr("fetched again"))));
  expect_holds(target_, must(resolved(layers(0, 1))).tensors);
}

TEST_F(TargetChangedTest, ConvertingLeavesWhatWasEdited) {
  for (const auto& text :
       {std::string(kEdited), R"({"num_hidden_layers": 4})" + std::string(80, ' ')}) {
    fs::remove_all(target_);
    fetch(target_, layers(0, 1));
    write_file(target_ / "config.json", text);
    BlockingStorage storage(2);
    must(convert_directory(storage, target_, Layout::kMirror, nullptr));
    EXPECT_EQ(text_of("config.json"), text);
    EXPECT_TRUE(fs::exists(target_ / "model.safetensors"));
    EXPECT_FALSE(fs::exists(target_ / "shard.json"));
  }
}

// --- appeared meanwhile ---

TEST_F(TargetChangedTest, AFileThatAppearsMeanwhileIsNotReplaced) {
  {
    Rig rig;
    auto store = must(open(rig, target_, layers(0, 1)));
    write_file(target_ / "config.json", "mine");
    rig.put_missing(*store, store->wanted(), files_);
    const auto finished = rig.finish(*store);
    ASSERT_FALSE(finished);
    EXPECT_EQ(finished.error().code, Errc::kForeign);
    EXPECT_THAT(finished.error().message, HasSubstr("config.json"));
  }
  EXPECT_EQ(text_of("config.json"), "mine");
  fs::remove(target_ / "config.json");
  again(layers(0, 1));
  expect_holds(target_, must(resolved(layers(0, 1))).tensors);
}

TEST_F(TargetChangedTest, AFileIsGivenAFreeNameOnly) {
  fs::create_directories(target_);
  write_file(target_ / "a", "a");
  write_file(target_ / "b", "b");
  const Fd folder(::open(target_.c_str(), O_RDONLY | O_DIRECTORY));
  const auto taken = rename_to_new(folder.get(), "a", folder.get(), "b", "the file b");
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::kForeign);
  EXPECT_EQ(text_of("b"), "b");
  EXPECT_TRUE(rename_to_new(folder.get(), "a", folder.get(), "c", "the file c"));
  EXPECT_EQ(text_of("c"), "a");
}

// It has its name as soon as it is complete, and the fetch goes on: what changes it from then on is
// somebody else.
TEST_F(TargetChangedTest, AnEditDuringTheFetchIsNotTakenForOurs) {
  Files files = files_;
  files["tokenizer.json"] = noise(16 << 20, 4);  // its last piece makes a sync
  use(std::move(files));
  const FileIndex tokenizer = file_named(*manifest_, "tokenizer.json");
  PieceSet first(manifest_->piece_count());
  first.insert(PieceRun{manifest_->first_piece(tokenizer), manifest_->file(tokenizer).pieces});
  {
    Rig rig;
    auto store = must(open(rig, target_, layers(0, 1)));
    rig.put_missing(*store, first, files_);
    rig.owner.run_until([&] { return fs::exists(target_ / "tokenizer.json"); });
    write_file(target_ / "tokenizer.json", "mine");
    rig.put_missing(*store, store->wanted(), files_);
    must(rig.finish(*store));
  }
  EXPECT_THAT(again(layers(0, 1)), ElementsAre(HasSubstr("tokenizer.json")));
  EXPECT_EQ(text_of("tokenizer.json"), "mine");
}

// --- names ---

class NameClashTest : public testing::Test {
 protected:
  Result<void> check(const std::vector<std::string>& paths) {
    fs::create_directories(dir_ / ".shardswarm");
    const Fd root(::open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY));
    auto checked = check_names(root.get(), dir_.path(), paths);
    EXPECT_TRUE(fs::is_empty(dir_ / ".shardswarm")) << "the probe is left behind";
    return checked;
  }
  TempDir dir_;
};

// The file system of the test tells upper from lower case; a name that is there twice is what the
// other kind makes of two.
TEST_F(NameClashTest, NamesThatTheFileSystemTakesForOneAreBothNamed) {
  for (const std::vector<std::string>& paths :
       {std::vector<std::string>{"a/readme.md", "a/readme.md"}, {"é", "é"}, {"x.json", "x.json"}}) {
    const auto checked = check(paths);
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().code, Errc::kForeign);
    EXPECT_THAT(checked.error().message, HasSubstr("'" + paths[0] + "' and '" + paths[1] + "'"));
  }
}

TEST_F(NameClashTest, AFileInPlaceOfAFolderIsAClash) {
  const auto checked = check({"a", "a/b"});
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().message, HasSubstr("'a/b' and"));
}

TEST_F(NameClashTest, TheFileSystemIsAskedNotGuessed) {
  EXPECT_TRUE(
      check({"README.md", "readme.md", "a/B.json", "A/b.json", "x", "x.", "é", "e\xcc\x81"}));
  EXPECT_TRUE(check({"A", "a/b", "latin\xe9"}));
  EXPECT_TRUE(check({"config.json", "model.safetensors"}));
}

// --- where the directory is to be ---

TEST_F(TargetChangedTest, APlaceThatIsNoDirectoryIsRefused) {
  write_file(dir_ / "file", "x");
  fs::create_symlink(dir_ / "gone", dir_ / "dangling");
  for (const auto& [name, says] :
       {std::pair("file", "is not a directory"), std::pair("dangling", "is a link to nothing")}) {
    Rig rig;
    const auto store = open(rig, dir_ / name, layers(0, 1), Layout::kCompact);
    ASSERT_FALSE(store) << name;
    EXPECT_EQ(store.error().code, Errc::kIo);
    EXPECT_THAT(store.error().message, HasSubstr(says));
  }
  EXPECT_FALSE(fs::exists(dir_ / "gone"));
}

}  // namespace
}  // namespace shardswarm::test
