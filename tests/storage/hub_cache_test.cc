// The cache of the Hugging Face hub in place of a checkpoint.
#include "storage/hub_cache.h"

#include <gmock/gmock.h>

#include "storage/indexer.h"
#include "tests/storage/checkpoint.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class HubCacheTest : public testing::Test {
 protected:
  // A revision as the hub's client leaves it: links into blobs/.
  void add_snapshot(const std::string& commit, const Files& files) {
    for (const auto& [path, bytes] : files) {
      const std::string blob = to_hex(sha256(bytes));
      write_file(repository_ / "blobs" / blob, bytes);
      const fs::path link = repository_ / "snapshots" / commit / path;
      fs::create_directories(link.parent_path());
      fs::path up = "../..";
      for (const auto& part : fs::path(path).parent_path()) up /= part.empty() ? "" : "..";
      fs::create_symlink(up / "blobs" / blob, link);
    }
  }
  void set_main(const std::string& commit) { write_file(repository_ / "refs" / "main", commit); }
  IndexReport index(const fs::path& directory) {
    Workers workers(2);
    return must(
        index_directory({.directory = directory, .state_directory = dir_ / "state"}, workers));
  }
  void expect_error(const fs::path& directory, Errc code, const std::string& says) {
    const auto place = find_model_place(directory);
    ASSERT_FALSE(place) << place->directory;
    EXPECT_EQ(place.error().code, code);
    EXPECT_THAT(place.error().message, HasSubstr(says));
  }

  TempDir dir_;
  fs::path hub_ = dir_ / "hub";
  fs::path repository_ = hub_ / "models--org--name";
  Files files_ = small_checkpoint();
};

TEST_F(HubCacheTest, TheSnapshotThatMainNamesIsTheModel) {
  add_snapshot("1111", small_checkpoint(2));
  add_snapshot("2222", files_);
  set_main("2222\n");
  fs::create_directories(repository_ / ".no_exist" / "2222");
  const auto report = index(repository_);
  EXPECT_EQ(report.manifest->id(), manifest_of(files_)->id());
  EXPECT_EQ(report.directory, repository_ / "snapshots" / "2222");
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_THAT(report.warnings[0], AllOf(HasSubstr("2222"), HasSubstr("refs/main")));
}

// What is remembered is of the snapshot, whichever way it was given.
TEST_F(HubCacheTest, BothWaysToGiveASnapshotAreOneDirectory) {
  add_snapshot("2222", files_);
  set_main("2222");
  index(repository_);
  EXPECT_TRUE(index(repository_ / "snapshots" / "2222").reused);
  EXPECT_TRUE(index(repository_ / "snapshots").reused);
  EXPECT_TRUE(index(repository_ / "").reused);
}

TEST_F(HubCacheTest, TheOnlySnapshotNeedsNoRef) {
  add_snapshot("2222", files_);
  EXPECT_EQ(must(find_model_place(repository_)).directory, repository_ / "snapshots" / "2222");
  set_main("3333");  // of a download that did not begin
  const auto place = must(find_model_place(repository_));
  EXPECT_EQ(place.directory, repository_ / "snapshots" / "2222");
  EXPECT_THAT(place.note, AllOf(HasSubstr("only"), Not(HasSubstr("refs/main"))));
}

TEST_F(HubCacheTest, SeveralSnapshotsWithoutMainAreListed) {
  add_snapshot("1111", small_checkpoint(2));
  add_snapshot("2222", files_);
  expect_error(repository_, Errc::kUsage, (repository_ / "snapshots" / "1111").string());
  expect_error(repository_, Errc::kUsage, (repository_ / "snapshots" / "2222").string());
  set_main("../../../..");
  expect_error(repository_, Errc::kUsage, "2 snapshots");
}

TEST_F(HubCacheTest, ARepositoryWithoutASnapshotIsNamed) {
  fs::create_directories(repository_ / "snapshots");
  fs::create_directories(repository_ / "refs");
  expect_error(repository_, Errc::kNotFound, "without a snapshot");
}

TEST_F(HubCacheTest, AWholeCacheListsItsRepositories) {
  add_snapshot("2222", files_);
  set_main("2222");
  fs::create_directories(hub_ / "datasets--org--data" / "snapshots");
  fs::create_directories(hub_ / ".locks" / "models--org--name");
  write_file(hub_ / "CACHEDIR.TAG", "x");
  expect_error(hub_, Errc::kUsage, repository_.string());
  expect_error(hub_, Errc::kUsage, (hub_ / "datasets--org--data").string());
}

TEST_F(HubCacheTest, OtherDirectoriesAreTakenAsTheyAre) {
  const fs::path model = dir_ / "model";
  write_tree(model, files_);
  EXPECT_EQ(must(find_model_place(model)).directory, model);
  EXPECT_EQ(must(find_model_place(model)).note, "");
  // Checkpoints of a training run, say.
  write_file(model / "snapshots" / "1" / "model.safetensors", "x");
  write_file(model / "blobs" / "x", "x");
  EXPECT_EQ(must(find_model_place(model)).directory, model);
  EXPECT_EQ(must(find_model_place(dir_ / "missing")).directory, dir_ / "missing");
}

}  // namespace
}  // namespace shardswarm::test
