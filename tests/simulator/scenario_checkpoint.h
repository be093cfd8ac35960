// The shape of a real checkpoint, for a model as `make_manifest` (model.h) makes it of a
// scenario's.
#pragma once

#include <filesystem>
#include <memory>

#include "piece/manifest.h"

namespace shardswarm::sim {

// Its files, its headers and their pieces; of its tensors nothing is read, the digests of pieces
// are made up. Errors name the file: not there, unreadable, malformed, not as long as its header
// says.
Result<std::shared_ptr<const Manifest>> read_checkpoint(const std::filesystem::path& directory);

}  // namespace shardswarm::sim
