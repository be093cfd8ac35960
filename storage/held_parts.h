// Which layers and tensors of a model are held: what people and programs are told of a part.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "piece/manifest.h"
#include "piece/outline.h"
#include "piece/tensor_set.h"

namespace shardswarm {

// Layers of one stack, as "0-7,9"; empty when there are none.
struct HeldLayers {
  std::string stack;
  std::string whole;        // every tensor of the layer is held
  std::string in_part;      // something of the layer is held, but not all
  std::uint32_t of = 0;     // layers that the stack has, MTP layers among them
  bool main_stack = false;  // the one that --layers means
};

struct HeldParts {
  std::vector<HeldLayers> layers;    // of stacks of which something is held, the main one first
  std::vector<std::string> outside;  // names of the tensors outside the layers, whole or in part
  std::uint32_t outside_of = 0;      // how many of them the model has
  std::vector<std::string> files;    // paths of the complete files that are no tensors files
  std::uint32_t files_of = 0;        // how many of them the model has
};

// REQUIRES: the headers of all kTensors files are there.
// `files` says of each file of the model whether it is here complete.
HeldParts held_parts(const TensorSet& held, const std::vector<bool>& files,
                     const Manifest& manifest, const Outline& outline);

}  // namespace shardswarm
