// The model of a scenario: a real manifest of content that does not exist.
#pragma once

#include <cstdint>
#include <memory>

#include "piece/manifest.h"
#include "simulator/scenario.h"

namespace shardswarm::sim {

// "config.json" and one tensors file: an embedding, a head, and the other tensors spread evenly
// over the layers ("model.layers.N.wK"). A tensor is eight rows, each a piece (one row if eight
// would fit into one piece). Headers and root are real; the digests of pieces are derived from
// their number, nothing has them.
std::shared_ptr<const Manifest> make_manifest(const ModelShape& shape);

}  // namespace shardswarm::sim
