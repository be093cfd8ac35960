// A directory that is indexed, and where that is remembered.
#pragma once

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "storage/indexer.h"
#include "tests/storage/rig.h"

namespace shardswarm::test {

class IndexTest : public testing::Test {
 protected:
  Result<IndexReport> index() { return index({}); }
  Result<IndexReport> index(IndexOptions options) {
    Workers workers(2);
    options.directory = model_;
    options.state_directory = state_;
    return index_directory(options, workers);
  }
  void expect_error(Errc code, const std::string& named) {
    const auto report = index();
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, code) << report.error().message;
    EXPECT_THAT(report.error().message, testing::HasSubstr(named));
    EXPECT_FALSE(std::filesystem::exists(state_ / "directories"))
        << "nothing is remembered of a failure";
  }
  std::vector<std::string> paths(const Manifest& manifest) {
    std::vector<std::string> names;
    for (const FileEntry& file : manifest.root().files) names.push_back(file.path);
    return names;
  }

  TempDir dir_;
  std::filesystem::path model_ = dir_ / "model";
  std::filesystem::path state_ = dir_ / "state";
  Files files_ = small_checkpoint();
};

}  // namespace shardswarm::test
