// Directories that are fetched into: what is made, when it gets its name, and what is refused.
// Each Rig is gone before the directory is opened again: a worker may hold a store, and with it the
// lock, for a moment longer than its owner.
#include "storage/target_store.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/engines.h"
#include "tests/storage/fault_engine.h"
#include "tests/storage/rig.h"
#ifdef __linux__
#include <sys/mount.h>
#endif

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class TargetStoreTest : public testing::Test {
 protected:
  Result<std::shared_ptr<Store>> open(Rig& rig) { return open(rig, everything(*manifest_)); }
  Result<std::shared_ptr<Store>> open(Rig& rig, const ResolvedSelection& selection) {
    return open_in(rig, target_, selection);
  }
  Result<std::shared_ptr<Store>> open_in(Rig& rig, const fs::path& directory,
                                         const ResolvedSelection& selection) {
    const auto layout = selection.everything ? Layout::kOriginal : Layout::kMirror;
    return Store::open_target(rig.environment(), {.directory = directory, .layout = layout},
                              manifest_, selection);
  }
  void fetch() { fetch(everything(*manifest_)); }
  void fetch(const ResolvedSelection& selection) {
    Rig rig;
    rig.fetch(target_, manifest_, selection, files_);
  }
  Errc open_error() {
    Rig rig;
    const auto store = open(rig);
    EXPECT_FALSE(store);
    return store ? Errc::kInternal : store.error().code;
  }
  PieceIndex first_of(std::string_view path) const {
    return manifest_->first_piece(file_named(*manifest_, path));
  }
  PieceSet pieces_of(std::string_view path) const {
    const FileIndex file = file_named(*manifest_, path);
    PieceSet set(manifest_->piece_count());
    set.insert(PieceRun{manifest_->first_piece(file), manifest_->file(file).pieces});
    return set;
  }

  TempDir dir_;
  fs::path target_ = dir_ / "model";
  Files files_ = small_checkpoint();
  std::shared_ptr<const Manifest> manifest_ = manifest_of(files_);
};

// --- what is made ---

TEST_F(TargetStoreTest, AWholeFetchIsBitIdentical) {
  fetch();
  expect_tree(target_, files_);
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(target_)) {
    const std::string name = entry.path().lexically_relative(target_).string();
    if (entry.is_regular_file() && !name.starts_with(".")) names.push_back(name);
  }
  EXPECT_EQ(names.size(), files_.size());
  EXPECT_TRUE(fs::is_empty(target_ / ".shardswarm" / "incoming"));
}

TEST_F(TargetStoreTest, FilesGetTheirNamesOnlyWhenTheyAreComplete) {
  Rig rig;
  auto store = must(open(rig));
  PieceSet all_but_one = PieceSet::full(manifest_->piece_count());
  all_but_one.erase(first_of("a.safetensors"));
  rig.put_missing(*store, all_but_one, files_);
  for (const auto& [path, bytes] : files_) EXPECT_FALSE(fs::exists(target_ / path)) << path;
  must(rig.finish(*store));
  for (const auto& [path, bytes] : files_) {
    EXPECT_EQ(fs::exists(target_ / path), path != "a.safetensors") << path;
  }
}

TEST_F(TargetStoreTest, MirrorHoldsTheSelectedRangesAtTheirOffsetsAndHolesBetween) {
  const auto selection = only_tensors(*manifest_, {"model.layers.1.w"});
  fetch(selection);
  const Bytes& original = files_.at("a.safetensors");
  const Bytes made = read_file(target_ / "a.safetensors");
  ASSERT_EQ(made.size(), original.size());
  const FileIndex file = file_named(*manifest_, "a.safetensors");
  const std::size_t header = manifest_->file(file).header_bytes;
  EXPECT_TRUE(same(std::span(made).first(header), std::span(original).first(header)));
  for (std::uint32_t i = 0; i < manifest_->file(file).pieces; ++i) {
    const PieceIndex piece(manifest_->first_piece(file).value + i);
    const PieceExtent extent = manifest_->extent(piece);
    const auto got = std::span(made).subspan(extent.offset, extent.length);
    if (selection.pieces.contains(piece)) {
      EXPECT_TRUE(same(got, piece_of(files_, *manifest_, piece))) << piece.value;
    } else {
      EXPECT_EQ(std::ranges::count(got, std::byte{0}), std::ssize(got)) << piece.value;
    }
  }
  // 1 MiB of 4 is selected: with block rounding it stays well below two.
  struct stat status{};
  ASSERT_EQ(::stat((target_ / "a.safetensors").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 2 << 20);
  // Files that were not selected are not made.
  EXPECT_FALSE(fs::exists(target_ / "part"));
  EXPECT_FALSE(fs::exists(target_ / "notes.txt"));
}

TEST_F(TargetStoreTest, AWiderSelectionAddsToAMirrorUntilItIsTheWhole) {
  fetch(only_tensors(*manifest_, {"model.layers.1.w"}));
  fetch(only_tensors(*manifest_, {"model.layers.2.w"}));
  EXPECT_EQ(open_error(), Errc::kUsage) << "it asks for the original layout";
  Rig rig;
  auto store = must(Store::open_target(rig.environment(), {.directory = target_}, manifest_,
                                       everything(*manifest_)));
  EXPECT_EQ(store->layout(), Layout::kMirror) << "an earlier run's layout is kept";
  const auto both = only_tensors(*manifest_, {"model.layers.1.w", "model.layers.2.w"});
  EXPECT_EQ(store->have(), both.pieces);
  // Nothing but what shares a block of the disk with the selected tensors.
  EXPECT_LT(store->progress().rechecked_bytes, 64U << 10);
  rig.put_missing(*store, PieceSet::full(manifest_->piece_count()), files_);
  must(rig.finish(*store));
  expect_tree(target_, files_);
}

TEST_F(TargetStoreTest, AnUnfinishedFileOutsideALaterSelectionIsKept) {
  {
    Rig rig;
    auto store = must(open(rig));
    must(rig.put(*store, first_of("notes.txt"),
                 piece_of(files_, *manifest_, first_of("notes.txt"))));
    must(rig.finish(*store));
  }
  fetch(only_tensors(*manifest_, {"model.norm"}));
  Rig rig;
  const auto store = must(open(rig));
  EXPECT_TRUE(store->have().contains(first_of("notes.txt")));
}

// --- putting ---

TEST_F(TargetStoreTest, AWrongPieceIsRefusedByNameAndCanBePutAgain) {
  Rig rig;
  auto store = must(open(rig));
  const PieceIndex piece = first_of("a.safetensors");
  Bytes wrong(piece_of(files_, *manifest_, piece).begin(),
              piece_of(files_, *manifest_, piece).end());
  wrong.back() ^= std::byte{1};
  const auto refused = rig.put(*store, piece, wrong);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kCorrupt);
  EXPECT_THAT(refused.error().message,
              testing::AllOf(HasSubstr("a.safetensors"), HasSubstr("model.layers.0.w")));
  EXPECT_TRUE(store->have().empty());
  EXPECT_EQ(store->undurable_bytes(), 0U);
  must(rig.put(*store, piece, piece_of(files_, *manifest_, piece)));
  EXPECT_TRUE(store->have().contains(piece));
}

TEST_F(TargetStoreTest, TheSamePieceTwiceAtOnceIsWrittenOnce) {
  Rig rig;
  auto store = must(open(rig));
  const PieceIndex piece = first_of("notes.txt");
  const auto bytes = piece_of(files_, *manifest_, piece);
  std::vector<Result<void>> answers;
  auto first = rig.buffer(bytes);
  auto second = rig.buffer(bytes);
  store->put(piece, std::move(first), [&](Result<void> r) { answers.push_back(std::move(r)); });
  store->put(piece, std::move(second), [&](Result<void> r) { answers.push_back(std::move(r)); });
  rig.owner.run_until([&] { return answers.size() == 2; });
  const auto failed = std::ranges::count_if(answers, [](const auto& r) { return !r; });
  EXPECT_EQ(failed, 1);
  EXPECT_TRUE(store->have().contains(piece));
  EXPECT_EQ(store->undurable_bytes(), bytes.size());
}

TEST_F(TargetStoreTest, AfterFinishNothingMoreIsTaken) {
  Rig rig;
  auto store = must(open(rig));
  const PieceIndex piece = first_of("notes.txt");
  std::optional<Result<void>> finished;
  std::optional<Result<void>> answer;
  auto buffer = rig.buffer(piece_of(files_, *manifest_, piece));
  store->finish([&](Result<void> result) { finished = std::move(result); });
  store->put(piece, std::move(buffer), [&](Result<void> result) { answer = std::move(result); });
  rig.owner.run_until([&] { return finished && answer; });
  EXPECT_TRUE(*finished);
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().code, Errc::kCancelled);
}

TEST_F(TargetStoreTest, WhatWasPutIsServedBeforeTheFileHasItsName) {
  Rig rig;
  auto store = must(open(rig));
  const PieceIndex piece = first_of("part/b.safetensors");
  const auto expected = piece_of(files_, *manifest_, piece);
  EXPECT_FALSE(rig.prepare_range(*store, piece));
  must(rig.put(*store, piece, expected));
  EXPECT_TRUE(same(rig.read_piece(*store, piece), expected));
  const FileRange range = must(rig.prepare_range(*store, piece));
  ASSERT_EQ(range.length, expected.size());
  Bytes bytes(range.length);
  must(read_exactly(range.fd, range.offset, bytes, "range"));
  EXPECT_TRUE(same(bytes, expected));
}

TEST_F(TargetStoreTest, TellsWhatIsNotDurableYet) {
  Rig rig;
  auto store = must(open(rig));
  int calls = 0;
  store->on_durable([&] { ++calls; });
  const std::uint64_t bytes = rig.put_missing(*store, pieces_of("a.safetensors"), files_);
  EXPECT_EQ(store->undurable_bytes(), bytes);  // 4 MiB: the next sync comes after 16
  EXPECT_EQ(calls, 0);
  must(rig.finish(*store));
  EXPECT_EQ(store->undurable_bytes(), 0U);
  EXPECT_GT(calls, 0);
}

TEST_F(TargetStoreTest, ForgottenPiecesCanBePutAgain) {
  const PieceIndex piece = first_of("notes.txt");
  {
    Rig rig;
    auto store = must(open(rig));
    rig.put_missing(*store, pieces_of("notes.txt"), files_);
    store->forget(piece);
    EXPECT_FALSE(store->have().contains(piece));
    must(rig.finish(*store));
    EXPECT_FALSE(fs::exists(target_ / "notes.txt"));
  }
  fetch();
  expect_tree(target_, files_);
}

// --- failing writes ---

TEST_F(TargetStoreTest, AFullDiskIsReportedWithTheFileAndNothingIsLost) {
  auto fault = std::make_unique<FaultEngine>(make_posix_engine());
  FaultEngine& disk = *fault;
  Rig rig(std::move(fault));
  auto store = must(open(rig));
  const std::uint64_t before = rig.put_missing(*store, pieces_of("part/b.safetensors"), files_);
  const PieceSet had = store->have();
  disk.fail_writes(1, Errc::kNoSpace);
  const PieceIndex piece = first_of("notes.txt");
  const auto failed = rig.put(*store, piece, piece_of(files_, *manifest_, piece));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::kNoSpace);
  EXPECT_THAT(failed.error().message, HasSubstr("notes.txt"));
  EXPECT_EQ(store->have(), had);
  EXPECT_EQ(store->undurable_bytes(), before);
  rig.put_missing(*store, PieceSet::full(manifest_->piece_count()), files_);
  must(rig.finish(*store));
  expect_tree(target_, files_);
}

// --- whose directory it is ---

TEST_F(TargetStoreTest, ASecondOpenerIsBusyUntilTheFirstIsGone) {
  {
    Rig rig;
    auto store = must(open(rig));
    Rig other;
    for (int attempt = 0; attempt < 2; ++attempt) {
      const auto second = open(other);
      ASSERT_FALSE(second);
      EXPECT_EQ(second.error().code, Errc::kBusy);
      EXPECT_THAT(second.error().message, HasSubstr(target_.string()));
    }
    std::vector<std::string> warnings;
    const auto source = Store::open_source(
        other.environment(), {.directory = target_, .state_directory = dir_ / "state"}, warnings);
    ASSERT_FALSE(source);
    EXPECT_EQ(source.error().code, Errc::kBusy);
    // The first goes on undisturbed.
    rig.put_missing(*store, PieceSet::full(manifest_->piece_count()), files_);
    must(rig.finish(*store));
  }
  expect_tree(target_, files_);
  Rig rig;
  EXPECT_TRUE(open(rig));
}

TEST_F(TargetStoreTest, WhileItIsServedNobodyFetchesIntoIt) {
  fetch();
  {
    Rig rig;
    std::vector<std::string> warnings;
    const auto source = must(Store::open_source(
        rig.environment(), {.directory = target_, .state_directory = dir_ / "s"}, warnings));
    const auto shared = must(Store::open_source(
        rig.environment(), {.directory = target_, .state_directory = dir_ / "s"}, warnings));
    EXPECT_EQ(open_error(), Errc::kBusy);
    EXPECT_TRUE(shared->have().complete());
  }
  Rig rig;
  EXPECT_TRUE(open(rig));
}

// The last handle is what holds a directory: who lets go of it may open it again at once.
TEST_F(TargetStoreTest, TheLockIsFreeAsSoonAsTheStoreIsLetGo) {
  Rig rig;
  int busy = 0;
  for (int i = 0; i < 300; ++i) {
    auto store = open(rig, only_tensors(*manifest_, {"model.norm"}));
    if (!store) {
      ASSERT_EQ(store.error().code, Errc::kBusy) << store.error().message;
      ++busy;
      continue;
    }
    must(rig.finish(**store));
  }
  EXPECT_EQ(busy, 0) << "of 300 attempts";
}

TEST_F(TargetStoreTest, ADirectoryOfAnotherModelIsForeign) {
  fetch();
  const Files others = small_checkpoint(2);
  const auto other = manifest_of(others);
  Rig rig;
  const auto store =
      Store::open_target(rig.environment(), {.directory = target_}, other, everything(*other));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::kForeign);
  EXPECT_THAT(store.error().message, HasSubstr(to_hex(manifest_->id())));
  expect_tree(target_, files_);
  EXPECT_TRUE(open(rig)) << "the refusal left it as it was";
}

TEST_F(TargetStoreTest, ADamagedLedgerIsForeign) {
  fetch();
  flip_byte(target_ / ".shardswarm" / "ledger", 20);
  EXPECT_EQ(open_error(), Errc::kForeign);
  expect_tree(target_, files_);
}

TEST_F(TargetStoreTest, AForeignFileUnderANameOfOursIsRefusedAndKept) {
  for (const std::string name : {"config.json", "part/b.safetensors", "empty.txt"}) {
    SCOPED_TRACE(name);
    const TempDir fresh;
    write_file(fresh / name, "mine");
    Rig rig;
    const auto store = open_in(rig, fresh.path(), everything(*manifest_));
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::kForeign);
    EXPECT_THAT(store.error().message, HasSubstr(name));
    EXPECT_EQ(read_file(fresh / name), bytes_of("mine"));
    EXPECT_FALSE(fs::exists(fresh / ".shardswarm")) << "nothing of ours stays behind";
  }
}

// Found before the fetch, not when the file gets its name after it.
TEST_F(TargetStoreTest, AFileUnderTheNameOfAFolderIsForeign) {
  write_file(target_ / "part", "mine");
  EXPECT_EQ(open_error(), Errc::kForeign);
  EXPECT_EQ(read_file(target_ / "part"), bytes_of("mine"));
}

// --- links ---

TEST_F(TargetStoreTest, ALinkUnderTheNameOfAFileIsForeign) {
  const TempDir outside;
  write_file(outside / "victim", "precious");
  fs::create_directories(target_);
  fs::create_symlink(outside / "victim", target_ / "config.json");
  EXPECT_EQ(open_error(), Errc::kForeign);
  EXPECT_EQ(read_file(outside / "victim"), bytes_of("precious"));
}

TEST_F(TargetStoreTest, ADanglingLinkUnderTheNameOfAFileIsForeign) {
  const TempDir outside;
  fs::create_directories(target_);
  fs::create_symlink(outside / "new", target_ / "config.json");
  EXPECT_EQ(open_error(), Errc::kForeign);
  EXPECT_TRUE(fs::is_empty(outside.path()));
}

// Found before the fetch, too.
TEST_F(TargetStoreTest, ALinkUnderTheNameOfAFolderIsForeign) {
  const TempDir outside;
  fs::create_directories(target_);
  fs::create_directory_symlink(outside.path(), target_ / "part");
  EXPECT_EQ(open_error(), Errc::kForeign);
  EXPECT_TRUE(fs::is_empty(outside.path()));
}

TEST_F(TargetStoreTest, AFolderThatBecameALinkDuringTheFetchIsNotFollowed) {
  const TempDir outside;
  Rig rig;
  auto store = must(open(rig));
  rig.put_missing(*store, PieceSet::full(manifest_->piece_count()), files_);
  fs::create_directory_symlink(outside.path(), target_ / "part");
  const auto finished = rig.finish(*store);
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, Errc::kForeign);
  EXPECT_TRUE(fs::is_empty(outside.path()));
}

TEST_F(TargetStoreTest, AFetchedFileReplacedByALinkIsForeign) {
  fetch();
  const TempDir outside;
  fs::rename(target_ / "notes.txt", outside / "notes.txt");
  fs::create_symlink(outside / "notes.txt", target_ / "notes.txt");
  EXPECT_EQ(open_error(), Errc::kForeign);
}

TEST_F(TargetStoreTest, LinksInsideOurOwnFolderAreNotFollowed) {
  for (const std::string name : {"incoming", "incoming/0"}) {
    SCOPED_TRACE(name);
    const TempDir outside;
    const TempDir fresh;
    const fs::path link = fresh.path() / ".shardswarm" / name;
    fs::create_directories(link.parent_path());
    fs::create_directory_symlink(outside.path(), link);
    Rig rig;
    const auto store = open_in(rig, fresh.path(), everything(*manifest_));
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::kForeign);
    EXPECT_TRUE(fs::is_empty(outside.path()));
  }
}

TEST_F(TargetStoreTest, OurOwnFolderIsNoLink) {
  const TempDir outside;
  fs::create_directories(target_);
  fs::create_directory_symlink(outside.path(), target_ / ".shardswarm");
  EXPECT_EQ(open_error(), Errc::kForeign);
  EXPECT_TRUE(fs::is_empty(outside.path()));
}

// --- space and permission ---

#ifdef __linux__
// A file system of 4 MiB.
class SmallDisk {
 public:
  explicit SmallDisk(fs::path at) : at_(std::move(at)) {
    fs::create_directories(at_);
    mounted_ = ::mount("tmpfs", at_.c_str(), "tmpfs", 0, "size=4m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  fs::path at_;
  bool mounted_ = false;
};

TEST_F(TargetStoreTest, TooLittleSpaceIsToldBeforeAnythingIsFetched) {
  const SmallDisk disk(dir_ / "disk");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tmpfs needs root and CAP_SYS_ADMIN";
  target_ = dir_ / "disk/model";
  Rig rig;
  const auto store = open(rig);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::kNoSpace);
  EXPECT_THAT(store.error().message, HasSubstr(target_.string()));
  EXPECT_TRUE(fs::is_empty(dir_ / "disk")) << "a fetch that could not begin leaves nothing";
  // A part that fits is welcome: 2 MiB of tensor and 1 MiB in reserve.
  const auto part = only_tensors(*manifest_, {"model.layers.2.w"});
  auto small = must(open(rig, part));
  rig.put_missing(*small, part.pieces, files_);
  EXPECT_TRUE(rig.finish(*small));
}

#endif

// Root may write everywhere: a child process gives that up first.
TEST_F(TargetStoreTest, AReadOnlyDirectoryIsAMatterOfPermission) {
  fs::create_directories(target_);
  fs::permissions(dir_.path(), fs::perms(0755));
  fs::permissions(target_, fs::perms(0555));
  const auto attempt = [&](const fs::path& directory) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(3);
    Rig rig(EngineKind::kPosix);
    const auto store = open_in(rig, directory, everything(*manifest_));
    ::_exit(!store && store.error().code == Errc::kPermission ? 0 : 4);
  };
  EXPECT_EXIT(attempt(target_), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(attempt(target_ / "below"), testing::ExitedWithCode(0), "");
  EXPECT_TRUE(fs::is_empty(target_));
}

}  // namespace
}  // namespace shardswarm::test
