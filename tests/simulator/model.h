// The model of a scenario: a real manifest of content that does not exist.
#pragma once

#include <filesystem>
#include <memory>

#include "piece/manifest.h"
#include "simulator/scenario.h"

namespace shardswarm::sim {

// "config.json" and one tensors file: an embedding, a head, and the other tensors spread evenly
// over the layers ("model.layers.N.wK"). A tensor is eight rows, each a piece (one row if eight
// would fit into one piece). Headers and root are real; the digests of pieces are derived from
// their number, nothing has them. Of a shape with a checkpoint, that.
std::shared_ptr<const Manifest> make_manifest(const ModelShape& shape);

// The same of a real directory: its files, its headers and their pieces; of its tensors nothing is
// read. Errors name the file: not there, unreadable, malformed or shorter than its header says.
Result<std::shared_ptr<const Manifest>> read_checkpoint(const std::filesystem::path& directory);

}  // namespace shardswarm::sim
