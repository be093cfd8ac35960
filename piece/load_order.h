// In which order a loader that goes through the layers needs the pieces of a model.
#pragma once

#include <cstdint>
#include <vector>

#include "piece/outline.h"

namespace shardswarm {

enum class FetchOrder : std::uint8_t {
  kRarest,  // what is rare among the peers first: all nodes are done soonest
  kLayers,  // layer after layer: a loader can begin while the rest comes
};

// A rank for each piece, by PieceIndex: 0 for plain files and what stands before the first layer or
// goes with every part, 1 + its index for a layer (of any stack), one more than the last layer's
// for what stands behind. Spare tensors files rank with what stands behind.
// REQUIRES: the headers of all FileKind::kTensors files are there; `outline` is of this manifest.
std::vector<std::uint32_t> load_ranks(const Manifest& manifest, const Outline& outline);

}  // namespace shardswarm
