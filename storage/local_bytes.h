// How much of what is wanted this machine holds already: for a dry run, which moves nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/limits.h"
#include "piece/manifest.h"
#include "piece/piece_set.h"
#include "storage/reuse.h"

namespace shardswarm {

// What a fetch needs beside its files: folders, ledger and the file system's own bookkeeping.
inline constexpr std::uint64_t kSpaceReserve = limits::kMiB;

struct LocalBytes {
  PieceSet pieces;                 // in the directory to fetch into, wanted or not
  std::uint64_t in_directory = 0;  // of the wanted pieces, in the directory to fetch into
  std::uint64_t elsewhere = 0;     // of the others, in further directories of this machine
  // What a fetch would need on the disk, and what is free there; nothing where that cannot be told.
  // The need is never told too high: what an interrupted fetch allocated counts as there.
  std::uint64_t needed = 0;
  std::optional<std::uint64_t> free;
};

// Counts them as this machine's records say; no piece is read. A fetch looks at files that changed
// and may find more or less. `query.not_here` is the directory to fetch into. With `reuse` further
// directories count, as far as the piece lists of `manifest` are known. Blocks; not to be called on
// one of the environment's workers.
LocalBytes count_local_bytes(const StorageEnvironment& environment, const ReuseQuery& query,
                             bool reuse, const Manifest& manifest, const PieceSet& wanted);

}  // namespace shardswarm
