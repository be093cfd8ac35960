// Makes the manifest of a directory, and remembers it in the state directory.
//
// State directory: models/<id>/root, models/<id>/blobs/<digest>, models/<id>/digests,
// directories/<sha256 of the canonical path> (a ledger: model id, file identities, XXH3 of every
// piece).
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "piece/manifest.h"
#include "storage/workers.h"

namespace shardswarm {

struct IndexOptions {
  std::filesystem::path directory;        // may be read-only, or consist of links (hub cache)
  std::filesystem::path state_directory;  // created if missing
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress;  // any thread
  const std::atomic<bool>* cancel = nullptr;  // set: ends soon with kCancelled
};

struct IndexReport {
  std::filesystem::path directory;           // that was indexed: of a hub cache, the snapshot
  std::shared_ptr<const Manifest> manifest;  // complete
  std::uint64_t files = 0;
  std::uint64_t tensors = 0;
  std::uint64_t bytes = 0;
  std::uint64_t pieces = 0;
  bool reused = false;  // nothing had changed since the last time: not hashed again
  // What the user should know, one line each: which snapshot of a hub cache was taken, files that
  // are left out, odd or out of date, what could not be kept and can be done without.
  std::vector<std::string> warnings;
};

// Which files belong: regular files below the directory (of a hub cache, of the snapshot that
// hub_cache.h finds), symbolic links resolved, dot-paths left out. Blocks; hashes on all of
// `workers` while reading with large requests (1 MiB and more). Pieces that lie in holes of their
// file are not read: a sparse checkpoint costs what it holds. Errors name the file: weights that
// are missing or damaged (model_files.h), changed while being read.
Result<IndexReport> index_directory(const IndexOptions& options, Workers& workers);

// Manifests kept in the state directory, or in the .shardswarm/ of a fetched directory.
Result<std::shared_ptr<const Manifest>> load_manifest(const std::filesystem::path& state_directory,
                                                      const ModelId& id);
Result<std::shared_ptr<const Manifest>> load_directory_manifest(
    const std::filesystem::path& directory, const std::filesystem::path& state_directory);

}  // namespace shardswarm
