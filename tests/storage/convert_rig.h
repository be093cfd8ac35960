// Directories that are converted between layouts, and what must be true of them afterwards.
#pragma once

#include "storage/convert.h"
#include "storage/ledger.h"
#include "tests/storage/compact_rig.h"

namespace shardswarm::test {

inline Result<void> convert(const std::filesystem::path& directory, Layout layout) {
  BlockingStorage storage(2);
  return convert_directory(storage, directory, layout);
}

inline StagedConversion staged(const std::filesystem::path& directory, Layout layout) {
  BlockingStorage storage(2);
  return must(stage_conversion(storage, directory, layout, nullptr));
}

// Path -> content of everything but locks and what only saves reading.
inline Files tree_of(const std::filesystem::path& directory) {
  Files files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    files[entry.path().lexically_relative(directory).generic_string()] = read_file(entry.path());
  }
  return files;
}

class ConvertTest : public TwoLayersTest {
 protected:
  // The directory is right, whatever its layout is.
  void expect_right(const std::filesystem::path& directory, Layout layout,
                    const TensorSet& set) const {
    EXPECT_FALSE(conversion_is_due(directory));
    EXPECT_FALSE(std::filesystem::exists(directory / ".shardswarm/convert"));
    EXPECT_EQ(must(Ledger::read_head(directory / ".shardswarm/ledger")).layout, layout);
    if (layout == Layout::kCompact) {
      expect_holds(directory, set);
      for (const FileEntry& file : manifest_->root().files) {
        const bool gone = file.kind == FileKind::kTensors;
        EXPECT_FALSE(gone && std::filesystem::exists(directory / file.path)) << file.path;
      }
      return;
    }
    expect_served(directory, set);
    EXPECT_FALSE(std::filesystem::exists(directory / "shard.json"));
    for (const auto& path : tensors_files(directory)) {
      EXPECT_TRUE(manifest_->find_file(path)) << path << " is left over";
    }
    if (bytes_of(set, *manifest_) == bytes_of(replayed({{false, {}}}), *manifest_)) {
      expect_tree(directory, files_);
      for (const auto& [path, bytes] : tree_of(directory)) {
        EXPECT_TRUE(path.starts_with(".") || files_.contains(path)) << path << " is left over";
      }
    }
  }
  TensorSet all() const { return replayed({{false, {}}}); }
};

}  // namespace shardswarm::test
