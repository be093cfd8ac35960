// Where a model's manifest is kept: `root` and `blobs/<digest>` in a directory of its own, either
// `.shardswarm/` inside a fetched directory, or models/<id>/ in the state directory; and where the
// ledger is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "piece/manifest.h"

namespace shardswarm {

inline constexpr std::string_view kMetaDirName = ".shardswarm";

// Writes what the manifest knows and the directory does not have yet. Durable when it returns.
Result<void> save_manifest(const std::filesystem::path& meta, const Manifest& manifest);
// Root and whatever blobs are there; each is checked against its digest, wrong ones are left out.
// kNotFound when there is no root.
Result<std::shared_ptr<Manifest>> load_manifest_from(const std::filesystem::path& meta);
// The root alone: quick, and enough to tell files, sizes and pieces. kNotFound when there is none.
Result<Manifest> load_root(const std::filesystem::path& meta);
// Pieces whose lists are kept, by the sizes of the blobs: nothing is read.
std::uint32_t kept_pieces(const std::filesystem::path& meta, const Manifest& root);

std::filesystem::path model_meta_dir(const std::filesystem::path& state, const ModelId& id);
// The ledger of an indexed directory, by its canonical path.
Result<std::filesystem::path> directory_ledger(const std::filesystem::path& state,
                                               const std::filesystem::path& directory);

// Where the manifest and the ledger of a directory are.
struct DirectoryRecord {
  std::filesystem::path meta;
  std::filesystem::path ledger;
  bool fetched = false;  // has a .shardswarm/ of its own
};
// kNotFound when the directory is gone, is a file, or was neither fetched nor indexed.
Result<DirectoryRecord> find_record(const std::filesystem::path& directory,
                                    const std::filesystem::path& state);

}  // namespace shardswarm
