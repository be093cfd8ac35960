#include "storage/sparse.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/storage/sparse_file.h"
#include "tests/support/temp_dir.h"

namespace shardswarm::test {
namespace {

constexpr std::uint64_t kUnit = 64 << 10;  // no block of a file system is larger

class SparseTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_holes(dir_.path())) GTEST_SKIP() << "a file system without holes";
  }
  // `data` says of each unit whether it is written.
  DataRanges ranges(const std::string& data) {
    Bytes bytes(data.size() * kUnit);
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (data[i] == 'x') bytes[i * kUnit] = bytes[(i + 1) * kUnit - 1] = std::byte{1};
    }
    write_sparse(dir_ / "file", bytes, kUnit);
    const auto fd = must(open_for_reading(dir_ / "file"));
    return {fd.get(), bytes.size()};
  }

  TempDir dir_;
};

TEST_F(SparseTest, DataAndHolesAreToldApart) {
  const DataRanges found = ranges("x..xx.");
  EXPECT_TRUE(found.all_data(0, kUnit));
  EXPECT_TRUE(found.all_data(3 * kUnit, 2 * kUnit));
  EXPECT_TRUE(found.all_data(4 * kUnit + 5, 7));
  EXPECT_FALSE(found.all_data(0, kUnit + 1));
  EXPECT_FALSE(found.all_data(3 * kUnit - 1, 2));
  EXPECT_FALSE(found.all_data(0, 4 * kUnit)) << "a hole lies between";
  EXPECT_FALSE(found.all_data(kUnit, 1));
  EXPECT_FALSE(found.all_data(5 * kUnit, 1));

  EXPECT_TRUE(found.all_hole(kUnit, 2 * kUnit));
  EXPECT_TRUE(found.all_hole(2 * kUnit, 1));
  EXPECT_TRUE(found.all_hole(5 * kUnit, kUnit));
  EXPECT_FALSE(found.all_hole(kUnit - 1, 2));
  EXPECT_FALSE(found.all_hole(2 * kUnit, kUnit + 1));
  EXPECT_FALSE(found.all_hole(kUnit, 4 * kUnit)) << "data lies between";
  EXPECT_FALSE(found.all_hole(0, 1));
}

TEST_F(SparseTest, FilesOfOneKind) {
  const DataRanges hole = ranges("....");
  EXPECT_TRUE(hole.all_hole(0, 4 * kUnit));
  EXPECT_FALSE(hole.all_data(0, 1));
  const DataRanges data = ranges("xxx");
  EXPECT_TRUE(data.all_data(0, 3 * kUnit));
  EXPECT_FALSE(data.all_hole(3 * kUnit - 1, 1));
  EXPECT_TRUE(ranges("").all_hole(0, 1));
}

// Nothing is taken for a hole that did not say so.
TEST_F(SparseTest, WhatCannotBeToldIsData) {
  const DataRanges unknown(-1, 100);
  EXPECT_TRUE(unknown.all_data(0, 100));
  EXPECT_FALSE(unknown.all_hole(50, 1));
}

}  // namespace
}  // namespace shardswarm::test
