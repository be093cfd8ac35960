// The outline of a model: which stacks of layers it has and where each tensor stands. Derived from
// tensor names and sizes alone (units are for selection only; they never change pieces).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "piece/manifest.h"

namespace shardswarm {

// The first all-digit component of a dotted tensor name, with the words before it:
// "model.layers.7.mlp.w" -> {"model.layers", 7}.
struct Unit {
  std::string stack;
  std::uint32_t index = 0;
};
std::optional<Unit> unit_of(std::string_view tensor_name);

// Side of the model that a tensor outside the main stack belongs to.
enum class Side : std::uint8_t {
  kLayer,      // in the main stack: layer() says which
  kInput,      // embeddings and what stands before the first layer
  kOutput,     // head, final norm and what stands after the last layer
  kBoth,       // tied embedding: no head tensor in the model
  kEverybody,  // unknown: comes with every shard
};

struct OutlineTensor {
  FileIndex file;
  TensorIndex tensor;
  Side side = Side::kEverybody;
  std::uint32_t layer = 0;  // for kLayer
  std::uint32_t stack = 0;  // index into Outline::stacks; kNoStack when in none
  static constexpr std::uint32_t kNoStack = ~std::uint32_t{0};
};

struct Stack {
  std::string name;          // "model.layers"
  std::uint32_t layers = 0;  // highest index + 1
  std::uint64_t bytes = 0;
  std::uint32_t tensors = 0;
};

struct Outline {
  std::vector<Stack> stacks;  // by bytes, largest first: stacks[0] is what layer ranges mean
  std::vector<OutlineTensor> tensors;
  std::vector<std::uint64_t> layer_bytes;  // of stacks[0]
  std::uint64_t input_bytes = 0;           // Side::kInput and kBoth
  std::uint64_t output_bytes = 0;          // Side::kOutput and kBoth
  std::uint64_t everybody_bytes = 0;
  bool tied = false;

  std::uint32_t layers() const { return static_cast<std::uint32_t>(layer_bytes.size()); }
};

// REQUIRES: the headers of all FileKind::kTensors files are there.
Outline make_outline(const Manifest& manifest);

}  // namespace shardswarm
