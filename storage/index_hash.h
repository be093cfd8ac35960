// Hashing the pieces of files that are open: SHA-256 for the manifest, XXH3 for the ledger.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/error.h"
#include "piece/manifest.h"
#include "storage/model_files.h"
#include "storage/sparse.h"
#include "storage/workers.h"

namespace shardswarm {

// A file with its pieces, and what comes of them.
struct HashedFile {
  ModelFile file;
  std::vector<PieceExtent> extents;  // of its pieces; PieceExtent::file is not set
  DataRanges data;                   // where it has data: holes are not read
  std::vector<std::byte> piece_list;
  std::vector<std::uint64_t> xxh3;  // by piece
};

// The file cut into pieces, with nothing hashed yet.
HashedFile cut_into_pieces(ModelFile file);

struct HashOptions {
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress;  // any thread
  const std::atomic<bool>* cancel = nullptr;  // set: ends soon with kCancelled
};

// Fills piece lists and XXH3 on all of `workers`, reading 1 MiB and more at a time. Blocks; the
// first error ends it.
Result<void> hash_files(std::vector<HashedFile>& files, const HashOptions& options,
                        Workers& workers);

}  // namespace shardswarm
