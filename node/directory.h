// The public API for directories on this machine, without the network: index, verify, look inside.
//
// Threads: each function blocks, uses all cores through workers of its own, and may be called from
// any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "piece/outline.h"
#include "piece/selection.h"
#include "storage/indexer.h"
#include "storage/store.h"

namespace shardswarm {

// Hashes a directory and keeps its manifest in the state directory; nothing is hashed again if
// nothing changed. Errors name the file (see storage/indexer.h).
Result<IndexReport> index_directory(const IndexOptions& options);

// Re-checks every present piece; what is wrong stands in the report (see storage/store.h).
Result<VerifyReport> verify_directory(const std::filesystem::path& directory,
                                      const std::filesystem::path& state_directory, bool full);

// The manifest that `place` stands for: an indexed or fetched directory, a file `root` of a kept
// manifest (its blobs beside it), or an id that the state directory knows. kNotFound says how to
// come by one.
Result<std::shared_ptr<const Manifest>> find_manifest(const std::filesystem::path& place,
                                                      const std::filesystem::path& state_directory);

}  // namespace shardswarm
