// Indexing against manifests made by hand.
#include "storage/indexer.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "storage/store.h"
#include "tests/storage/index_rig.h"
#include "tests/storage/sparse_file.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using IndexerTest = IndexTest;

// --- what is made ---

TEST_F(IndexerTest, TheManifestIsTheOneMadeByHand) {
  write_tree(model_, files_);
  const auto report = must(index());
  const auto expected = manifest_of(files_);
  EXPECT_EQ(report.manifest->id(), expected->id());
  EXPECT_EQ(report.manifest->root(), expected->root());
  for (std::uint32_t i = 0; i < expected->piece_count(); ++i) {
    EXPECT_EQ(report.manifest->digest(PieceIndex(i)), expected->digest(PieceIndex(i))) << i;
  }
  EXPECT_FALSE(report.reused);
  EXPECT_EQ(report.files, files_.size());
  EXPECT_EQ(report.tensors, 5U);
  EXPECT_EQ(report.pieces, expected->piece_count());
  EXPECT_EQ(report.bytes, expected->total_bytes());
}

TEST_F(IndexerTest, ManySmallTensorsThatAreReadTogetherAreHashedOneByOne) {
  std::vector<std::pair<std::string, std::size_t>> tensors;
  for (int i = 0; i < 700; ++i) {
    tensors.emplace_back("t" + std::to_string(i), 1 + static_cast<std::size_t>(i) * 37);
  }
  files_ = {{"m.safetensors", safetensors(tensors, 5)}};  // 9 MiB: several reads
  write_tree(model_, files_);
  EXPECT_EQ(must(index()).manifest->id(), manifest_of(files_)->id());
}

TEST_F(IndexerTest, ProgressEndsAtAllPieces) {
  write_tree(model_, files_);
  std::mutex mutex;
  std::uint64_t most = 0;
  std::uint64_t of = 0;
  IndexOptions options;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    const std::scoped_lock lock(mutex);
    most = std::max(most, done);
    of = total;
  };
  const auto report = must(index(options));
  std::uint64_t headers = 0;
  for (const FileEntry& file : report.manifest->root().files) headers += file.header_bytes;
  EXPECT_EQ(of, report.bytes);
  EXPECT_EQ(most + headers, report.bytes);
}

TEST_F(IndexerTest, TheManifestIsKeptInTheStateDirectory) {
  write_tree(model_, files_);
  const ModelId id = must(index()).manifest->id();
  const auto by_id = must(load_manifest(state_, id));
  const auto by_directory = must(load_directory_manifest(model_, state_));
  for (const auto& manifest : {by_id, by_directory}) {
    EXPECT_EQ(manifest->id(), id);
    for (std::uint32_t i = 0; i < manifest->file_count(); ++i) {
      EXPECT_FALSE(manifest->needs_header(FileIndex(i)));
      EXPECT_FALSE(manifest->needs_piece_list(FileIndex(i)));
    }
  }
  EXPECT_TRUE(fs::exists(state_ / "models" / to_hex(id) / "root"));
  EXPECT_EQ(load_manifest(state_, ModelId{}).error().code, Errc::kNotFound);
}

TEST_F(IndexerTest, NothingIsWrittenIntoTheDirectory) {
  write_tree(model_, files_);
  must(index());
  std::size_t found = 0;
  for (const auto& entry : fs::recursive_directory_iterator(model_))
    found += entry.is_regular_file();
  EXPECT_EQ(found, files_.size());
}

// --- holes ---

TEST_F(IndexerTest, ASparseFileIsTheSameAsOneOfZeros) {
  files_["zeros.bin"] = Bytes((5 << 20) + 77);
  for (const auto& [path, bytes] : files_) write_sparse(model_ / path, bytes);
  const auto sparse = must(index());
  EXPECT_EQ(sparse.manifest->id(), manifest_of(files_)->id());
  write_tree(model_, files_);  // written, zeros too
  const auto written = must(index());
  EXPECT_FALSE(written.reused);
  EXPECT_EQ(written.manifest->id(), sparse.manifest->id());
}

// Data, hole, data in a safetensors file, whose pieces begin anywhere: some lie in the hole, some
// in part.
TEST_F(IndexerTest, PiecesPartlyInAHoleAreRead) {
  std::vector<std::pair<std::string, std::size_t>> tensors;
  for (std::size_t i = 0; i < 60; ++i) {
    tensors.emplace_back("t" + std::to_string(i), 1 + i * i * 100);
  }
  tensors.emplace_back("large", 3 << 20);
  const Bytes full = safetensors(tensors, 7);
  const std::uint64_t header = must(safetensors_header_bytes(full));
  for (std::uint64_t begin = header; begin < full.size(); begin += full.size() / 3 + 4321) {
    for (const std::uint64_t length : {5000U, 100'000U, 5'000'000U, UINT32_MAX}) {
      Bytes& bytes = files_["holes.safetensors"] = full;
      const std::uint64_t end = std::min<std::uint64_t>(begin + length, full.size());
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                bytes.begin() + static_cast<std::ptrdiff_t>(end), std::byte{0});
      write_sparse(model_ / "holes.safetensors", bytes);
      const auto report = must(index());
      const Files expected = {{"holes.safetensors", bytes}};
      EXPECT_EQ(report.manifest->id(), manifest_of(expected)->id()) << begin << " " << length;
    }
  }
}

// What the ledger remembers of pieces in holes is as of any other: they are served.
TEST_F(IndexerTest, PiecesInHolesAreServed) {
  files_["zeros.bin"] = Bytes((2 << 20) + 77);
  for (const auto& [path, bytes] : files_) write_sparse(model_ / path, bytes);
  const auto report = must(index());
  Rig rig;
  std::vector<std::string> warnings;
  const auto store = must(Store::open_source(
      rig.environment(), {.directory = model_, .state_directory = state_}, warnings));
  EXPECT_TRUE(store->have().complete());
  const FileIndex zeros = file_named(*report.manifest, "zeros.bin");
  const PieceIndex piece(report.manifest->first_piece(zeros).value + 2);
  EXPECT_TRUE(same(rig.read_piece(*store, piece), Bytes(77)));
}

// Reading 200 GiB would show. It is more than what is taken of a hole at once, too.
TEST_F(IndexerTest, HolesAreNotRead) {
  if (!has_holes(dir_.path())) GTEST_SKIP() << "a file system without holes";
  write_tree(model_, files_);
  fs::resize_file(model_ / "notes.txt", 200 * limits::kGiB);
  const auto report = must(index());
  const FileIndex notes = file_named(*report.manifest, "notes.txt");
  EXPECT_EQ(report.manifest->file(notes).pieces, 200U * 1024);
  const PieceIndex last(report.manifest->first_piece(notes).value + 200 * 1024 - 1);
  EXPECT_EQ(report.manifest->digest(last), sha256(Bytes(limits::kPieceBytesMax)));
}

// --- files that cannot be indexed ---

TEST_F(IndexerTest, ASideFileWithAHostileHeaderTravelsAsPlainBytes) {
  const auto with_length = [](std::uint64_t length, std::string_view json) {
    Bytes file;
    for (int i = 0; i < 8; ++i) file.push_back(static_cast<std::byte>(length >> (8 * i)));
    const Bytes text = bytes_of(json);
    file.insert(file.end(), text.begin(), text.end());
    return file;
  };
  const auto header = [&](std::string_view json) { return with_length(json.size(), json); };
  const std::vector<Bytes> hostile = {
      {},
      Bytes(7),
      with_length(0, ""),
      with_length(100, "{}"),
      with_length(0xffffffffffffffff, "{}"),
      header("{"),
      header(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})"),  // no data follows
      header(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,4]}})"),
  };
  for (std::size_t i = 0; i < hostile.size(); ++i) {
    SCOPED_TRACE(i);
    files_["part/evil.safetensors"] = hostile[i];
    write_tree(model_, files_);
    const auto report = must(index());
    const auto& manifest = *report.manifest;
    EXPECT_EQ(manifest.file(file_named(manifest, "part/evil.safetensors")).kind, FileKind::kPlain);
    EXPECT_EQ(manifest.file(file_named(manifest, "part/b.safetensors")).kind, FileKind::kTensors);
    EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("'part/evil.safetensors'")));
  }
}

TEST_F(IndexerTest, WithoutAnyGoodWeightsAHostileHeaderIsRefusedWithTheFilesName) {
  files_.clear();
  files_["config.json"] = bytes_of("{}");
  files_["evil.safetensors"] = bytes_of("\x04\0\0\0\0\0\0\0null");
  write_tree(model_, files_);
  expect_error(Errc::kMalformed, "evil.safetensors");
}

TEST_F(IndexerTest, BytesBehindTheLastTensorMakeItPlain) {
  files_["part/b.safetensors"].push_back(std::byte{0});
  write_tree(model_, files_);
  const auto report = must(index());
  EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("its tensors end at")));
}

TEST_F(IndexerTest, AFileThatChangesWhileItIsReadIsRefused) {
  write_tree(model_, files_);
  IndexOptions options;
  options.progress = [&](std::uint64_t, std::uint64_t) {
    fs::last_write_time(model_ / "notes.txt",
                        fs::file_time_type::clock::now() + std::chrono::hours(1));
  };
  const auto report = index(options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kIo);
  EXPECT_THAT(report.error().message, AllOf(HasSubstr("notes.txt"), HasSubstr("changed")));
}

TEST_F(IndexerTest, CancelEndsIt) {
  write_tree(model_, files_);
  std::atomic<bool> cancel = false;
  IndexOptions options;
  options.cancel = &cancel;
  options.progress = [&](std::uint64_t, std::uint64_t) { cancel = true; };
  const auto report = index(options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kCancelled);
  EXPECT_FALSE(fs::exists(state_ / "directories"));
  cancel = false;
  options.progress = nullptr;
  EXPECT_TRUE(index(options));
}

// --- without rights (root has them all: a child process gives them up) ---

class IndexerRightsTest : public IndexerTest {
 protected:
  void SetUp() override {
    write_tree(model_, files_);
    fs::create_directories(state_);
    fs::permissions(dir_.path(), fs::perms(0755));
    fs::permissions(state_, fs::perms(0777));
  }
  // Exits with 0 if `judge` likes the outcome.
  template <class Judge>
  void index_as_nobody(Judge&& judge) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(3);
    ::_exit(judge(index()) ? 0 : 4);
  }
};

TEST_F(IndexerRightsTest, AReadOnlyDirectoryIsFine) {
  fs::permissions(model_, fs::perms(0555));
  fs::permissions(model_ / "a.safetensors", fs::perms(0444));
  const auto fine = [&](const auto& report) {
    return report && report->manifest->id() == manifest_of(files_)->id();
  };
  EXPECT_EXIT(index_as_nobody(fine), testing::ExitedWithCode(0), "");
  fs::permissions(model_, fs::perms(0755));
}

TEST_F(IndexerRightsTest, WhatMayNotBeReadIsNamedAndLeftOut) {
  write_file(model_ / "closed" / "a.json", "x");
  fs::permissions(model_ / "notes.txt", fs::perms(0));
  fs::permissions(model_ / "closed", fs::perms(0));
  Files rest = files_;
  rest.erase("notes.txt");
  const auto named = [&](const auto& report) {
    return report && report->manifest->id() == manifest_of(rest)->id() &&
           report->warnings.size() == 2 &&
           report->warnings[0].starts_with("'closed/' cannot be listed") &&
           report->warnings[1].starts_with("'notes.txt' may not be read");
  };
  EXPECT_EXIT(index_as_nobody(named), testing::ExitedWithCode(0), "");
  fs::permissions(model_ / "closed", fs::perms(0755));
}

TEST_F(IndexerRightsTest, WeightsThatAreNeededAndMayNotBeReadAreRefused) {
  write_file(model_ / "model.safetensors.index.json",
             R"({"weight_map":{"model.layers.0.w":"a.safetensors"}})");
  fs::permissions(model_ / "a.safetensors", fs::perms(0));
  const auto named = [](const auto& report) {
    return !report && report.error().message.find("a.safetensors") != std::string::npos;
  };
  EXPECT_EXIT(index_as_nobody(named), testing::ExitedWithCode(0), "");
}

// --- again ---

TEST_F(IndexerTest, ASecondIndexIsReusedWithoutReading) {
  write_tree(model_, files_);
  const ModelId id = must(index()).manifest->id();
  IndexOptions options;
  bool read = false;
  options.progress = [&](std::uint64_t, std::uint64_t) { read = true; };
  const auto again = must(index(options));
  EXPECT_TRUE(again.reused);
  EXPECT_FALSE(read);
  EXPECT_EQ(again.manifest->id(), id);
  EXPECT_EQ(again.tensors, 5U);
}

TEST_F(IndexerTest, AChangedAddedOrRemovedFileIsHashedAgain) {
  write_tree(model_, files_);
  must(index());
  const auto expect_new = [&](std::string_view what) {
    const auto report = must(index());
    EXPECT_FALSE(report.reused) << what;
    EXPECT_EQ(report.manifest->id(), manifest_of(files_)->id()) << what;
    EXPECT_TRUE(must(index()).reused) << what;
  };
  files_["notes.txt"].back() ^= std::byte{1};
  write_file(model_ / "notes.txt", files_["notes.txt"]);
  expect_new("changed");
  files_["more.txt"] = bytes_of("more");
  write_file(model_ / "more.txt", "more");
  expect_new("added");
  files_.erase("empty.txt");
  fs::remove(model_ / "empty.txt");
  expect_new("removed");
}

TEST_F(IndexerTest, DamageInTheStateDirectoryIsMadeGood) {
  write_tree(model_, files_);
  const ModelId id = must(index()).manifest->id();
  const fs::path blobs = state_ / "models" / to_hex(id) / "blobs";
  std::vector<fs::path> damaged;
  for (const auto& entry : fs::directory_iterator(blobs)) {
    if (entry.file_size() > 0) damaged.push_back(entry.path());
  }
  ASSERT_FALSE(damaged.empty());
  flip_byte(damaged.front(), 0);
  EXPECT_FALSE(must(index()).reused);
  EXPECT_TRUE(must(index()).reused) << "the damaged blob was written anew";
}

}  // namespace
}  // namespace shardswarm::test
