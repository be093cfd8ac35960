// Directories that are served from, and verifying them.
#include <gmock/gmock.h>

#include "base/file.h"
#include "storage/indexer.h"
#include "storage/store.h"
#include "tests/storage/rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class SourceStoreTest : public testing::Test {
 protected:
  // An indexed directory.
  void index() {
    write_tree(source_, files_);
    Workers workers(2);
    must(index_directory({.directory = source_, .state_directory = state_}, workers));
  }
  // A fetched one.
  void fetch() { fetch(everything(*manifest_)); }
  void fetch(const ResolvedSelection& selection) {
    Rig rig;
    rig.fetch(source_, manifest_, selection, files_);
  }
  Result<std::shared_ptr<Store>> open() {
    warnings_.clear();
    return Store::open_source(rig_.environment(), {.directory = source_, .state_directory = state_},
                              warnings_);
  }
  Result<VerifyReport> verify(bool full) {
    Rig rig;
    return verify_directory(rig.environment(), source_, state_, full);
  }
  PieceIndex piece_in(std::string_view path, std::uint32_t n = 0) const {
    return PieceIndex(manifest_->first_piece(file_named(*manifest_, path)).value + n);
  }
  PieceSet all() const { return PieceSet::full(manifest_->piece_count()); }
  void expect_all_readable(Store& store) {
    store.have().for_each([&](PieceIndex piece) {
      EXPECT_TRUE(same(rig_.read_piece(store, piece), piece_of(files_, *manifest_, piece)))
          << piece.value;
    });
  }

  TempDir dir_;
  fs::path source_ = dir_ / "model";
  fs::path state_ = dir_ / "state";
  Files files_ = small_checkpoint();
  std::shared_ptr<const Manifest> manifest_ = manifest_of(files_);
  Rig rig_;
  std::vector<std::string> warnings_;
};

// --- opening ---

TEST_F(SourceStoreTest, AnIndexedDirectoryIsServedWhole) {
  index();
  const auto store = must(open());
  EXPECT_EQ(store->manifest().id(), manifest_->id());
  EXPECT_TRUE(store->have().complete());
  EXPECT_EQ(store->progress().rechecked_bytes, 0U) << "unchanged files are trusted";
  EXPECT_THAT(warnings_, IsEmpty());
  expect_all_readable(*store);
}

TEST_F(SourceStoreTest, AFetchedDirectoryIsServedWholeWithoutAStateDirectory) {
  fetch();
  const auto store = must(open());
  EXPECT_EQ(store->manifest().id(), manifest_->id());
  EXPECT_TRUE(store->have().complete());
  EXPECT_EQ(store->progress().rechecked_bytes, 0U);
  EXPECT_THAT(warnings_, IsEmpty());
  expect_all_readable(*store);
  EXPECT_FALSE(fs::exists(state_));
}

TEST_F(SourceStoreTest, AFetchedPartIsServedAsAPart) {
  const auto selection = only_tensors(*manifest_, {"model.layers.1.w", "model.norm"});
  fetch(selection);
  const auto store = must(open());
  EXPECT_EQ(store->have(), selection.pieces);
  EXPECT_EQ(store->layout(), Layout::kMirror);
  EXPECT_THAT(warnings_, IsEmpty());
  expect_all_readable(*store);
}

TEST_F(SourceStoreTest, AnUnfinishedFetchIsServedFromItsTemporaryFiles) {
  PieceSet some = all();
  some.erase(piece_in("a.safetensors"));
  some.erase(piece_in("notes.txt"));
  {
    Rig rig;
    auto store = must(Store::open_target(rig.environment(), {.directory = source_}, manifest_,
                                         everything(*manifest_)));
    rig.put_missing(*store, some, files_);
    must(rig.finish(*store));
  }
  const auto store = must(open());
  EXPECT_EQ(store->have(), some);
  expect_all_readable(*store);
}

TEST_F(SourceStoreTest, ADirectoryThatWasNotIndexedIsNotFoundAndSaysHow) {
  write_tree(source_, files_);
  const auto store = open();
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::kNotFound);
  EXPECT_THAT(store.error().message, AllOf(HasSubstr(source_.string()), HasSubstr("index")));
  const auto report = verify(false);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kNotFound);
}

TEST_F(SourceStoreTest, NoDirectoryIsNotFoundNorIsAFile) {
  EXPECT_EQ(open().error().code, Errc::kNotFound);
  write_file(source_, "a file");
  EXPECT_EQ(open().error().code, Errc::kNotFound);
}

TEST_F(SourceStoreTest, OpeningWritesNothing) {
  fetch();
  const auto entries = [&] {
    std::map<std::string, fs::file_time_type> found;
    for (const auto& entry : fs::recursive_directory_iterator(source_)) {
      found[entry.path().string()] = entry.last_write_time();
    }
    return found;
  };
  const auto before = entries();
  flip_byte(source_ / "notes.txt", 7);
  const auto touched = entries();
  ASSERT_NE(before, touched);
  must(open());
  must(verify(true));
  EXPECT_EQ(entries(), touched);
}

// --- changed before opening ---

TEST_F(SourceStoreTest, AChangedFilesBadPiecesAreLeftOutWithAWarning) {
  for (const bool fetched : {false, true}) {
    SCOPED_TRACE(fetched);
    fs::remove_all(source_);
    fetched ? fetch() : index();
    const PieceIndex bad = piece_in("a.safetensors", 2);
    flip_byte(source_ / "a.safetensors", manifest_->extent(bad).offset);
    const auto store = must(open());
    PieceSet expected = all();
    expected.erase(bad);
    EXPECT_EQ(store->have(), expected);
    EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("a.safetensors"), HasSubstr("1 piece"))));
    EXPECT_GT(store->progress().rechecked_bytes, 0U);
    expect_all_readable(*store);
  }
}

TEST_F(SourceStoreTest, ATouchedButSameFileKeepsItsPieces) {
  index();
  fs::last_write_time(source_ / "notes.txt",
                      fs::last_write_time(source_ / "notes.txt") + std::chrono::hours(1));
  const auto store = must(open());
  EXPECT_TRUE(store->have().complete());
  EXPECT_EQ(store->progress().rechecked_bytes, files_.at("notes.txt").size());
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(SourceStoreTest, AMissingFilesPiecesAreLeftOutWithAWarning) {
  index();
  fs::remove(source_ / "part" / "b.safetensors");
  const auto store = must(open());
  const FileIndex file = file_named(*manifest_, "part/b.safetensors");
  PieceSet expected = all();
  expected.erase(PieceRun{manifest_->first_piece(file), manifest_->file(file).pieces});
  EXPECT_EQ(store->have(), expected);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("part/b.safetensors")));
}

TEST_F(SourceStoreTest, ATruncatedFilesLostPiecesAreLeftOutWithAWarning) {
  index();
  fs::resize_file(source_ / "notes.txt", limits::kMiB);
  const auto store = must(open());
  EXPECT_TRUE(store->have().contains(piece_in("notes.txt", 0)));
  EXPECT_FALSE(store->have().contains(piece_in("notes.txt", 1)));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("notes.txt")));
}

// --- changed after opening ---

// STO-34: none of its pieces, those neither that could still be read.
TEST_F(SourceStoreTest, AFileThatShrinksWhileServedIsNotServedAnyMore) {
  for (const bool range : {false, true}) {
    SCOPED_TRACE(range);
    fs::remove_all(source_);
    index();
    auto store = must(open());
    fs::resize_file(source_ / "notes.txt", limits::kMiB + 1);
    const PieceIndex first = piece_in("notes.txt", 0);
    ASSERT_TRUE(store->have().contains(first));
    if (range) {
      const auto refused = rig_.prepare_range(*store, first);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, Errc::kIo);
      EXPECT_THAT(refused.error().message, HasSubstr("notes.txt"));
    } else {
      EXPECT_TRUE(rig_.read_piece(*store, first).empty());
    }
    EXPECT_FALSE(store->have().contains(first));
    EXPECT_FALSE(store->have().contains(piece_in("notes.txt", 1)));
    EXPECT_TRUE(store->have().contains(piece_in("a.safetensors"))) << "other files stay";
  }
}

TEST_F(SourceStoreTest, AFileRewrittenInPlaceWhileServedIsNotServedAnyMore) {
  for (const bool fetched : {false, true}) {
    SCOPED_TRACE(fetched);
    fs::remove_all(source_);
    fetched ? fetch() : index();
    auto store = must(open());
    const PieceIndex asked = piece_in("a.safetensors", 1);
    const PieceIndex other = piece_in("a.safetensors", 2);
    flip_byte(source_ / "a.safetensors", manifest_->extent(asked).offset);
    // Clocks of file systems tick slowly.
    fs::last_write_time(source_ / "a.safetensors",
                        fs::last_write_time(source_ / "a.safetensors") + std::chrono::hours(1));
    ASSERT_TRUE(store->have().contains(asked));
    EXPECT_TRUE(rig_.read_piece(*store, asked).empty());
    EXPECT_FALSE(store->have().contains(asked));
    EXPECT_FALSE(store->have().contains(other)) << "nobody knows what else was written";
    const auto refused = rig_.prepare_range(*store, other);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kIo);
    const PieceIndex elsewhere = piece_in("part/b.safetensors");
    EXPECT_TRUE(rig_.prepare_range(*store, elsewhere));
    EXPECT_TRUE(same(rig_.read_piece(*store, elsewhere), piece_of(files_, *manifest_, elsewhere)));
  }
}

TEST_F(SourceStoreTest, ARangeIsThePieceInItsFile) {
  index();
  auto store = must(open());
  const PieceIndex piece = piece_in("a.safetensors", 3);
  const FileRange range = must(rig_.prepare_range(*store, piece));
  EXPECT_EQ(range.offset, manifest_->extent(piece).offset);
  Bytes bytes(range.length);
  must(read_exactly(range.fd, range.offset, bytes, "range"));
  EXPECT_TRUE(same(bytes, piece_of(files_, *manifest_, piece)));
}

TEST_F(SourceStoreTest, ACachedRangeIsToldAtOnce) {
  index();
  auto store = must(open());
  const PieceIndex piece = piece_in("a.safetensors", 3);
  const FileRange lies = *store->range(piece);
  if (!rig_.engine->is_cached(lies.fd, lies.offset, lies.length)) {
    GTEST_SKIP() << "the system does not tell what is cached";
  }
  std::optional<Result<FileRange>> answer;
  store->prepare_range(piece, [&](Result<FileRange> range) { answer = std::move(range); });
  ASSERT_TRUE(answer);
  EXPECT_EQ(must(*answer).offset, lies.offset);
}

TEST_F(SourceStoreTest, AFileThatShrinksDuringReadAheadIsNotServed) {
  index();
  Rig rig(EngineKind::kPosix);  // never says that something is cached
  auto store = must(Store::open_source(
      rig.environment(), {.directory = source_, .state_directory = state_}, warnings_));
  const PieceIndex piece = piece_in("a.safetensors", 3);
  std::optional<Result<FileRange>> answer;
  store->prepare_range(piece, [&](Result<FileRange> range) { answer = std::move(range); });
  ASSERT_FALSE(answer);
  fs::resize_file(source_ / "a.safetensors", 100);
  rig.owner.run_until([&] { return answer.has_value(); });
  EXPECT_FALSE(*answer);
  EXPECT_FALSE(store->have().contains(piece));
}

TEST_F(SourceStoreTest, ForgottenPiecesAreNotServed) {
  index();
  auto store = must(open());
  const PieceIndex piece = piece_in("a.safetensors");
  store->forget(piece);
  EXPECT_FALSE(store->have().contains(piece));
  EXPECT_FALSE(rig_.prepare_range(*store, piece));
}

TEST_F(SourceStoreTest, NothingCanBePut) {
  index();
  auto store = must(open());
  const PieceIndex piece = piece_in("config.json");
  EXPECT_FALSE(rig_.put(*store, piece, piece_of(files_, *manifest_, piece)));
  EXPECT_TRUE(rig_.finish(*store));
}

// --- verify ---

class VerifyTest : public SourceStoreTest, public testing::WithParamInterface<bool> {
 protected:
  VerifyReport verified() { return must(verify(GetParam())); }
};

TEST_P(VerifyTest, AnIntactDirectoryHasNothingWrong) {
  for (const bool fetched : {false, true}) {
    SCOPED_TRACE(fetched);
    fs::remove_all(source_);
    fetched ? fetch() : index();
    const VerifyReport report = verified();
    EXPECT_EQ(report.pieces, manifest_->piece_count());
    EXPECT_EQ(report.missing_pieces, 0U);
    EXPECT_THAT(report.wrong, IsEmpty());
    std::uint64_t bytes = 0;
    all().for_each([&](PieceIndex piece) { bytes += manifest_->extent(piece).length; });
    EXPECT_EQ(report.bytes, bytes);
  }
}

TEST_P(VerifyTest, APartIsNotWrongForWhatItDoesNotHold) {
  const auto selection = only_tensors(*manifest_, {"model.layers.1.w"});
  fetch(selection);
  const VerifyReport report = verified();
  EXPECT_EQ(report.pieces, selection.pieces.count());
  EXPECT_EQ(report.missing_pieces, manifest_->piece_count() - selection.pieces.count());
  EXPECT_THAT(report.wrong, IsEmpty());
}

TEST_P(VerifyTest, NamesFileTensorAndPieceThatIsWrong) {
  index();
  const PieceIndex tensor_piece = piece_in("a.safetensors", 1);
  const PieceIndex plain_piece = piece_in("notes.txt", 1);
  // The identity is put back: verify reads whatever the ledger trusts.
  for (const auto& [path, piece] :
       {std::pair{"a.safetensors", tensor_piece}, std::pair{"notes.txt", plain_piece}}) {
    const auto before = fs::last_write_time(source_ / path);
    flip_byte(source_ / path, manifest_->extent(piece).offset + 3);
    fs::last_write_time(source_ / path, before);
  }
  EXPECT_THAT(verified().wrong,
              ElementsAre(AllOf(HasSubstr("a.safetensors"), HasSubstr("'model.layers.0.w'"),
                                HasSubstr("piece " + std::to_string(tensor_piece.value) + " ")),
                          AllOf(HasSubstr("notes.txt"),
                                HasSubstr("piece " + std::to_string(plain_piece.value) + " "))));
}

TEST_P(VerifyTest, NamesMissingFiles) {
  fetch();
  fs::remove(source_ / "config.json");
  fs::remove(source_ / "empty.txt");
  const VerifyReport report = verified();
  EXPECT_THAT(report.wrong, Contains(HasSubstr("config.json")));
  EXPECT_THAT(report.wrong, Contains(HasSubstr("empty.txt")));
}

TEST_P(VerifyTest, NamesAFileThatShrank) {
  index();
  fs::resize_file(source_ / "notes.txt", limits::kMiB + 1);
  EXPECT_THAT(verified().wrong, SizeIs(2));  // its length, and the piece that it cut
  EXPECT_THAT(verified().wrong, Each(HasSubstr("notes.txt")));
}

// Header and length belong to the file as much as its pieces do.
TEST_P(VerifyTest, NamesAFileWhoseHeaderChanged) {
  index();
  flip_byte(source_ / "a.safetensors", 12);
  EXPECT_THAT(verified().wrong, ElementsAre(HasSubstr("a.safetensors")));
}

TEST_P(VerifyTest, NamesAFileThatGrew) {
  index();
  fs::resize_file(source_ / "notes.txt", files_.at("notes.txt").size() + 1);
  EXPECT_THAT(verified().wrong, ElementsAre(HasSubstr("notes.txt")));
}

INSTANTIATE_TEST_SUITE_P(Digests, VerifyTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "full" : "quick"; });

}  // namespace
}  // namespace shardswarm::test
