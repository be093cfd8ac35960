// Where a model's manifest is kept: `root` and `blobs/<digest>` in a directory of its own, either
// `.shardswarm/` inside a fetched directory, or models/<id>/ in the state directory.
#pragma once

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

std::filesystem::path model_meta_dir(const std::filesystem::path& state, const ModelId& id);
// The ledger of an indexed directory, by its canonical path.
Result<std::filesystem::path> directory_ledger(const std::filesystem::path& state,
                                               const std::filesystem::path& directory);

}  // namespace shardswarm
