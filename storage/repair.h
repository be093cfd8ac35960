// Repairing a fetched directory: pieces that verify found wrong leave its record, so that the next
// fetch into it brings them again.
#pragma once

#include <filesystem>
#include <span>

#include "piece/manifest.h"
#include "piece/selection.h"

namespace shardswarm {

// What to fetch into the directory so that exactly what was forgotten comes.
struct Repair {
  ModelId model;
  Selection selection;  // of what the directory holds already
};

// Takes these pieces out of the record of `directory`; durable when it returns. The files are not
// touched: what is right in them stays, and the next fetch writes the rest. kNotFound when nothing
// was fetched into the directory, kBusy while another process has it.
Result<Repair> forget_pieces(const std::filesystem::path& directory,
                             std::span<const PieceIndex> pieces);

}  // namespace shardswarm
