#include "simulator/scenario_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/indexer.h"
#include "tests/support/temp_dir.h"
#include "tools/synthetic.h"

namespace shardswarm::sim {
namespace {

using testing::HasSubstr;

class CheckpointTest : public testing::Test {
 protected:
  std::string error() const {
    const auto read = read_checkpoint(directory_.path());
    return read ? "no error" : read.error().message;
  }

  test::TempDir directory_;
};

TEST_F(CheckpointTest, IsCutAsTheIndexerCutsIt) {
  SyntheticModel model = llama_model({.layers = 3, .hidden = 512, .files = 2});
  ASSERT_TRUE(add_consolidated(model));
  ASSERT_TRUE(write_checkpoint(model, directory_.path(), 1, {.sparse = true}));
  const test::TempDir state;
  Workers workers(1);
  const auto indexed =
      index_directory({.directory = directory_.path(), .state_directory = state.path()}, workers);
  ASSERT_TRUE(indexed);
  const auto read = read_checkpoint(directory_.path());
  ASSERT_TRUE(read);
  const Manifest& as_read = **read;
  const Manifest& as_indexed = *indexed->manifest;
  ASSERT_EQ(as_read.piece_count(), as_indexed.piece_count());
  ASSERT_EQ(as_read.file_count(), as_indexed.file_count());
  for (std::uint32_t i = 0; i < as_read.piece_count(); ++i) {
    const PieceExtent a = as_read.extent(PieceIndex(i));
    const PieceExtent b = as_indexed.extent(PieceIndex(i));
    EXPECT_EQ(std::tuple(a.file.value, a.offset, a.length),
              std::tuple(b.file.value, b.offset, b.length));
  }
  for (std::uint32_t i = 0; i < as_read.file_count(); ++i) {
    EXPECT_EQ(as_read.file(FileIndex(i)).kind, as_indexed.file(FileIndex(i)).kind);
    EXPECT_EQ(as_read.file(FileIndex(i)).header_digest,
              as_indexed.file(FileIndex(i)).header_digest);
  }
}

TEST_F(CheckpointTest, WhatIsNoneIsNamed) {
  EXPECT_THAT(error(), HasSubstr("holds no files"));
  test::write_file(directory_ / "a.safetensors", "short");
  EXPECT_THAT(error(), HasSubstr("'a.safetensors' cannot be read as safetensors"));
  test::write_file(directory_ / "a.safetensors", std::string_view("\x40\0\0\0\0\0\0\0{}", 10));
  EXPECT_THAT(error(), HasSubstr("the file ends within its header"));
  test::write_file(directory_ / "a.safetensors", std::string_view("\x02\0\0\0\0\0\0\0{}!", 11));
  EXPECT_THAT(error(), HasSubstr("its tensors end at 10, the file at 11"));
  EXPECT_FALSE(read_checkpoint(directory_ / "not-there"));
  std::filesystem::remove(directory_ / "a.safetensors");
  test::write_file(directory_ / "empty.json", "");
  EXPECT_THAT(error(), HasSubstr("has no bytes"));
}

}  // namespace
}  // namespace shardswarm::sim
