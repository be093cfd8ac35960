// Opening a directory again: after a stop, after a crash, after others changed its files.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <random>

#include "storage/engines.h"
#include "storage/ledger.h"
#include "tests/storage/fault_engine.h"
#include "tests/storage/rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kTestMiB = limits::kMiB;

std::uint64_t bytes_in(const Manifest& manifest, const PieceSet& pieces) {
  std::uint64_t bytes = 0;
  pieces.for_each([&](PieceIndex piece) { bytes += manifest.extent(piece).length; });
  return bytes;
}

class ResumeTest : public testing::Test {
 protected:
  void use(Files files) {
    files_ = std::move(files);
    manifest_ = manifest_of(files_);
  }
  PieceSet all() const { return PieceSet::full(manifest_->piece_count()); }
  // Without `recheck` a plain file that somebody changed stays as it is (target_changed_test.cc).
  Result<std::shared_ptr<Store>> open(Rig& rig, bool recheck = false) {
    return Store::open_target(rig.environment(), {.directory = target_, .recheck = recheck},
                              manifest_, everything(*manifest_));
  }
  void fetch() {
    Rig rig;
    rig.fetch(target_, manifest_, everything(*manifest_), files_);
  }
  PieceIndex first_of(std::string_view path) const {
    return manifest_->first_piece(file_named(*manifest_, path));
  }
  LedgerContent ledger() const {
    return must(Ledger::read(ledger_, manifest_->piece_count(), manifest_->file_count()));
  }
  // Of a file that is whole or not.
  fs::path on_disk(FileIndex file) const {
    const fs::path named = target_ / manifest_->file(file).path;
    return fs::exists(named) ? named
                             : target_ / ".shardswarm" / "incoming" / std::to_string(file.value);
  }
  // These pieces are on the disk, as they should be.
  void expect_on_disk(const PieceSet& pieces) {
    std::uint32_t wrong = 0;
    std::map<std::uint32_t, Bytes> contents;
    pieces.for_each([&](PieceIndex piece) {
      const PieceExtent extent = manifest_->extent(piece);
      auto [at, added] = contents.try_emplace(extent.file.value);
      if (added) at->second = read_file(on_disk(extent.file));
      const auto bytes = std::span(at->second).subspan(extent.offset, extent.length);
      if (sha256(bytes) != manifest_->digest(piece)) ++wrong;
    });
    EXPECT_EQ(wrong, 0U);
  }

  TempDir dir_;
  fs::path target_ = dir_ / "model";
  fs::path ledger_ = target_ / ".shardswarm" / "ledger";
  Files files_ = small_checkpoint();
  std::shared_ptr<const Manifest> manifest_ = manifest_of(files_);
};

// --- stopped ---

TEST_F(ResumeTest, WhatWasPutBeforeAStopIsHereAgain) {
  PieceSet some(manifest_->piece_count());
  for (std::uint32_t i = 0; i < manifest_->piece_count(); i += 2) some.insert(PieceIndex(i));
  {
    Rig rig;
    auto store = must(open(rig));
    rig.put_missing(*store, some, files_);
    must(rig.finish(*store));
  }
  Rig rig;
  auto store = must(open(rig));
  EXPECT_EQ(store->have(), some);
  EXPECT_EQ(ledger().recorded, some);
  EXPECT_EQ(rig.put_missing(*store, all(), files_), bytes_in(*manifest_, all() - some));
  must(rig.finish(*store));
  expect_tree(target_, files_);
}

TEST_F(ResumeTest, AFinishedDirectoryIsTrustedWithoutReadingIt) {
  fetch();
  Rig rig;
  auto store = must(open(rig));
  EXPECT_TRUE(store->have().complete());
  EXPECT_EQ(store->progress().rechecked_bytes, 0U);
  must(rig.finish(*store));
  expect_tree(target_, files_);
}

// Stopped without finish(): what was written and not recorded is found by its digest.
TEST_F(ResumeTest, WrittenButUnrecordedPiecesAreFoundByTheirDigest) {
  {
    Rig rig;
    auto store = must(open(rig));
    rig.put_missing(*store, all(), files_);
    EXPECT_TRUE(ledger().recorded.empty()) << "8 MiB do not make a sync";
  }
  Rig rig;
  auto store = must(open(rig));
  EXPECT_TRUE(store->have().complete());
  EXPECT_GE(store->progress().rechecked_bytes, bytes_in(*manifest_, all()));
  must(rig.finish(*store));
  expect_tree(target_, files_);
  EXPECT_TRUE(ledger().recorded.complete());
}

TEST_F(ResumeTest, PiecesBecomeDurableDuringTheFetchNotOnlyAtItsEnd) {
  use({{"big.bin", noise(40 * kTestMiB, 7)}});
  Rig rig;
  auto store = must(open(rig));
  rig.put_missing(*store, all(), files_);
  rig.owner.run_until([&] { return store->undurable_bytes() < 40 * kTestMiB; });
  EXPECT_GE(bytes_in(*manifest_, ledger().recorded), limits::kSyncBytes);
  must(rig.finish(*store));
}

// --- crashed ---

// One run that ends in a crash, or in completion.
struct Outcome {
  bool complete = false;
  std::uint64_t put = 0;        // bytes that were taken before the crash
  std::uint64_t undurable = 0;  // as the store said at the crash, with those on their way
  PieceSet had;
};

class CrashTest : public ResumeTest {
 protected:
  // Puts up to `puts` pieces in random order, never more undurable than a fetch would allow.
  Outcome run(std::mt19937_64& random, std::size_t puts) {
    auto fault = std::make_unique<FaultEngine>(make_posix_engine());
    FaultEngine& disk = *fault;
    Rig rig(std::move(fault));
    auto store = must(open(rig));
    expect_on_disk(store->have());
    Outcome result;
    std::size_t answered = 0;
    durable_ledger_ = fs::file_size(ledger_);
    store->on_durable([&] { durable_ledger_ = fs::file_size(ledger_); });
    std::vector<PieceIndex> order;
    (all() - store->have()).for_each([&](PieceIndex piece) { order.push_back(piece); });
    std::ranges::shuffle(order, random);
    result.complete = order.size() <= puts;
    if (!result.complete) order.resize(puts);
    for (const PieceIndex piece : order) {
      const auto bytes = piece_of(files_, *manifest_, piece);
      rig.owner.run_until(
          [&] { return store->undurable_bytes() + bytes.size() <= limits::kUndurableBytesMax; });
      auto buffer = rig.buffer(bytes);
      store->put(piece, std::move(buffer), [&, size = bytes.size()](const Result<void>& put) {
        if (put) result.put += size;
        ++answered;
      });
    }
    if (result.complete) {
      must(rig.finish(*store));
    } else {
      // Half of the time in the middle of it all, else when every put was answered.
      if (random() % 2 == 0) rig.owner.run_until([&] { return answered == order.size(); });
      disk.crash();
    }
    result.had = store->have();
    result.undurable = store->undurable_bytes();
    return result;  // jobs that would still touch it are dropped with the rig
  }

  // What the ledger's page cache held beyond the last sync may be on the disk in part.
  void tear_ledger(std::mt19937_64& random) const {
    const std::uint64_t size = fs::file_size(ledger_);
    std::uniform_int_distribution<std::uint64_t> cut(durable_ledger_, size);
    fs::resize_file(ledger_, cut(random));
  }

  PieceSet have_after_reopening() {
    Rig rig;
    const auto store = must(open(rig));
    expect_on_disk(store->have());
    return store->have();
  }

  std::uint64_t durable_ledger_ = 0;
};

TEST_F(CrashTest, CostsAtMostWhatWasNotDurableAndTheEndIsBitIdentical) {
  use({{"a.safetensors", safetensors({{"model.layers.0.w", 40 * kTestMiB}, {"s", 500}}, 3)},
       {"b/c.safetensors", safetensors({{"model.layers.1.w", 30 * kTestMiB + 77}}, 4)},
       {"config.json", bytes_of("{}")},
       {"notes.txt", noise(9 * kTestMiB + 1, 5)}});
  std::mt19937_64 random(20'240'601);
  // A sync comes after 16 MiB: runs of fewer bring nothing, longer ones one or two syncs.
  std::uniform_int_distribution<std::uint64_t> puts(1, 36);
  int crashes = 0;
  while (true) {
    SCOPED_TRACE(crashes);
    const Outcome end = run(random, puts(random));
    if (end.complete) break;
    // Bytes before records (STO-21), even if the record's own sync never came.
    expect_on_disk(ledger().recorded);
    tear_ledger(random);
    EXPECT_LE(bytes_in(*manifest_, end.had - have_after_reopening()), end.undurable);
    ASSERT_LT(++crashes, 200) << "it does not get on";
  }
  EXPECT_GE(crashes, 5);
  expect_tree(target_, files_);
}

TEST_F(CrashTest, LosesNoMoreThanTheLimitOfHoweverManyBytes) {
  use({{"big.bin", noise(80 * kTestMiB, 9)}});
  std::mt19937_64 random(7);
  const Outcome end = run(random, 79);
  EXPECT_LE(end.undurable, limits::kUndurableBytesMax);
  EXPECT_GE(end.put + end.undurable, 79 * kTestMiB);
  tear_ledger(random);
  const std::uint64_t kept = bytes_in(*manifest_, have_after_reopening());
  EXPECT_GE(kept + limits::kUndurableBytesMax, 79 * kTestMiB);
}

// --- the end comes while files get their names ---

// Limits the size of files, and so the ledger: an append beyond fails.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, SIG_IGN);
    struct rlimit low = before_;
    low.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &low);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, SIG_DFL);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  struct rlimit before_{};
};

// Whatever was named and whatever was recorded until then: the next run takes it up.
TEST_F(ResumeTest, ALedgerThatFillsTheDiskAtTheEndDoesNotSpoilTheDirectory) {
  use({{"a.txt", noise(5000, 1)},
       {"b-empty.txt", {}},
       {"c.safetensors", safetensors({}, 1)},  // a header and no pieces
       {"d.txt", noise(70, 2)}});
  constexpr std::uint64_t kFileRecord = 16 + 28;
  const std::uint64_t pieces_end = 64 + 16 + 12 * std::uint64_t{manifest_->piece_count()};
  for (std::uint64_t limit = 64; limit < pieces_end + files_.size() * kFileRecord; limit += 8) {
    SCOPED_TRACE(limit);
    fs::remove_all(target_);
    {
      Rig rig;
      auto store = must(open(rig));
      rig.put_missing(*store, all(), files_);
      const FileSizeLimit full(limit);
      EXPECT_FALSE(rig.finish(*store));
    }
    Rig rig;
    auto store = open(rig);
    ASSERT_TRUE(store) << store.error().message;
    EXPECT_TRUE((*store)->have().complete());
    must(rig.finish(**store));
    expect_tree(target_, files_);
  }
}

// The manifest's root was written, the ledger not yet.
TEST_F(ResumeTest, ACrashBeforeTheFirstLedgerDoesNotSpoilTheDirectory) {
  {
    Rig rig;
    must(open(rig));
  }
  fs::remove(ledger_);
  Rig rig;
  const auto store = open(rig);
  ASSERT_TRUE(store) << store.error().message;
  rig.put_missing(**store, all(), files_);
  must(rig.finish(**store));
  expect_tree(target_, files_);
}

// --- changed behind our back ---

TEST_F(ResumeTest, AChangedFileIsReadAgainAndItsBadPiecesLeave) {
  fetch();
  const PieceIndex bad(first_of("a.safetensors").value + 1);
  flip_byte(target_ / "a.safetensors", manifest_->extent(bad).offset + 5);
  Rig rig;
  auto store = must(open(rig));
  PieceSet expected = all();
  expected.erase(bad);
  EXPECT_EQ(store->have(), expected);
  const FileEntry& entry = manifest_->file(file_named(*manifest_, "a.safetensors"));
  EXPECT_GE(store->progress().rechecked_bytes, entry.size - entry.header_bytes);
  EXPECT_LT(store->progress().rechecked_bytes, manifest_->total_bytes()) << "only that file";
  EXPECT_FALSE(ledger().recorded.contains(bad)) << "the ledger knows that it is lost";
  rig.put_missing(*store, all(), files_);
  must(rig.finish(*store));
  expect_tree(target_, files_);
}

TEST_F(ResumeTest, AChangedHeaderIsMended) {
  fetch();
  flip_byte(target_ / "a.safetensors", 20);
  {
    Rig rig;
    auto store = must(open(rig));
    rig.put_missing(*store, all(), files_);
    must(rig.finish(*store));
  }
  expect_tree(target_, files_);
}

TEST_F(ResumeTest, ATruncatedFileIsFilledAgain) {
  fetch();
  fs::resize_file(target_ / "a.safetensors", 100);
  {
    Rig rig;
    auto store = must(open(rig));
    EXPECT_FALSE(store->have().contains(first_of("a.safetensors")));
    rig.put_missing(*store, all(), files_);
    must(rig.finish(*store));
  }
  expect_tree(target_, files_);
}

TEST_F(ResumeTest, AFileThatGrewIsCutToItsSize) {
  fetch();
  fs::resize_file(target_ / "a.safetensors", files_.at("a.safetensors").size() + 10);
  {
    Rig rig;
    must(rig.finish(*must(open(rig))));
  }
  expect_tree(target_, files_);
}

TEST_F(ResumeTest, ARemovedFileIsFetchedAgain) {
  fetch();
  fs::remove(target_ / "config.json");
  fs::remove(target_ / "empty.txt");
  {
    Rig rig;
    auto store = must(open(rig));
    EXPECT_FALSE(store->have().contains(first_of("config.json")));
    rig.put_missing(*store, all(), files_);
    must(rig.finish(*store));
  }
  expect_tree(target_, files_);
}

// The identity that was found counts from then on.
TEST_F(ResumeTest, ATouchedFileIsReadAgainOnlyOnce) {
  fetch();
  const fs::path file = target_ / "a.safetensors";
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::hours(1));
  {
    Rig rig;
    auto store = must(open(rig));
    EXPECT_TRUE(store->have().complete());
    EXPECT_GT(store->progress().rechecked_bytes, 0U);
    must(rig.finish(*store));
  }
  Rig rig;
  const auto store = must(open(rig));
  EXPECT_TRUE(store->have().complete());
  EXPECT_EQ(store->progress().rechecked_bytes, 0U);
}

// --- the disk fails to sync ---

TEST_F(ResumeTest, AFailedSyncIsReportedAndNotRecorded) {
  {
    auto fault = std::make_unique<FaultEngine>(make_posix_engine());
    FaultEngine& disk = *fault;
    Rig rig(std::move(fault));
    auto store = must(open(rig));
    rig.put_missing(*store, all(), files_);
    disk.fail_syncs(1, Errc::kIo);
    const auto finished = rig.finish(*store);
    ASSERT_FALSE(finished);
    EXPECT_EQ(finished.error().code, Errc::kIo);
    EXPECT_TRUE(ledger().recorded.empty());
    for (const auto& [path, bytes] : files_) EXPECT_FALSE(fs::exists(target_ / path)) << path;
  }
  Rig rig;
  auto store = must(open(rig));
  expect_on_disk(store->have());
  EXPECT_FALSE(store->have().complete()) << "one file's pages were dropped";
  rig.put_missing(*store, all(), files_);
  must(rig.finish(*store));
  expect_tree(target_, files_);
}

// A later sync does not see the pages that the failed one dropped: its success proves nothing.
TEST_F(ResumeTest, AfterAFailedSyncNothingIsRecordedAnyMore) {
  use({{"big.bin", noise(40 * kTestMiB, 7)}});
  auto fault = std::make_unique<FaultEngine>(make_posix_engine());
  FaultEngine& disk = *fault;
  Rig rig(std::move(fault));
  auto store = must(open(rig));
  disk.fail_syncs(1, Errc::kNoSpace);
  rig.put_missing(*store, all(), files_);
  const auto finished = rig.finish(*store);
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, Errc::kNoSpace);
  EXPECT_TRUE(ledger().recorded.empty());
  EXPECT_EQ(store->undurable_bytes(), 0U) << "or the fetch would wait for ever";
}

}  // namespace
}  // namespace shardswarm::test
