// The outline of a model: which stacks of layers it has and where each tensor stands. Derived from
// paths, tensor names, shapes and sizes alone (units are for selection only; they never change
// pieces).
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

// How a tensor stands to a stack of layers.
enum class Side : std::uint8_t {
  kLayer,      // one of its layers: OutlineTensor::layer says which
  kInput,      // embeddings, towers and encoders: what stands before the first layer
  kOutput,     // head, final norm, MTP layers: what stands after the last layer
  kBoth,       // tied embedding: no head tensor in the model
  kEverybody,  // unknown: comes with every part of the stack
};

// The experts that a tensor is made of, in MoE layers.
struct Experts {
  std::uint32_t first = 0;  // the expert that it is of; 0 for stacked ones
  std::uint32_t count = 0;  // 1: of one expert; more: stacked along dim 0; 0: of none
  // Stacked: rows of dim 0 per expert (1 for rank 3, more where experts are rows of a matrix).
  std::uint64_t rows = 0;
};

inline constexpr std::uint32_t kNoStack = ~std::uint32_t{0};
// Layers of all stacks together: the smallest stacks beyond are none, so that no hostile name makes
// a table of billions of layers.
inline constexpr std::uint32_t kNumberedLayersMax = 1U << 20;
// So many stacks, the largest, are some: real models have a few dozen at most.
inline constexpr std::uint32_t kStacksMax = 4096;

struct OutlineTensor {
  FileIndex file;
  TensorIndex tensor;
  std::uint32_t stack = kNoStack;  // whose layer it is part of; kNoStack: outside all layers
  std::uint32_t layer = 0;
  std::uint32_t component = 0;  // index into Outline::components
  // Outside all layers: the stack that it stands beside (its own name says so, as a tower's norms);
  // kNoStack: the component's main one.
  std::uint32_t home = kNoStack;
  Side side = Side::kEverybody;       // to `stack`, else to `home`, else to the main one
  Side main_side = Side::kEverybody;  // to the component's main stack
  // Of a token embedding: how many words its name begins with alike with the main stack's. It is
  // the input of other stacks, too, that are as near to it (T5's "shared").
  std::optional<std::uint32_t> embedding_words;
  Experts experts;
};

struct Stack {
  std::string name;  // "model.layers"; in a component's folder "transformer/blocks"
  std::uint32_t component = 0;
  std::uint32_t layers = 0;    // that stages are made of
  std::uint32_t numbered = 0;  // highest index + 1: MTP layers stand behind the others
  std::uint64_t bytes = 0;     // of all numbered layers
  std::uint32_t tensors = 0;
  std::uint32_t main_words =
      0;                      // that its name begins with alike with its component's main stack's
  bool tower = false;         // of another sense than text
  std::uint32_t experts = 0;  // of each MoE layer; 0: dense
  std::vector<std::uint64_t> layer_bytes;  // by number, `numbered` of them
  // Of tensors that stand to it so (kBoth counts as input and as output).
  std::uint64_t input_bytes = 0;
  std::uint64_t output_bytes = 0;
  std::uint64_t everybody_bytes = 0;
};

// A folder with safetensors files: the model itself (""), or a part of a pipeline ("vae/").
struct Component {
  std::string folder;             // with its '/'; "" for the directory itself
  std::uint32_t main = kNoStack;  // its largest stack
  bool tied = false;
};

struct Outline {
  std::vector<Stack> stacks;  // by bytes, largest first: stacks[0] is what layer ranges mean
  std::vector<Component> components;   // by folder
  std::vector<OutlineTensor> tensors;  // of kTensors files, by file and tensor

  std::optional<std::uint32_t> find_stack(std::string_view name) const;
  // Nothing: the tensor has nothing to do with that stack. kOutput with tensor.stack == stack: an
  // MTP layer of it.
  std::optional<Side> side(const OutlineTensor& tensor, std::uint32_t stack) const;
  // Whether a token embedding with these OutlineTensor::embedding_words is the input of a stack
  // that is not its component's main one.
  bool reads_embedding(std::uint32_t stack, std::uint32_t words) const;
  // As globs see it: with its component's folder before it, "vae/decoder.conv_in.weight".
  std::string full_name(const OutlineTensor& tensor, const Manifest& manifest) const;
};

// Numbers inside a projector ("visual.merger.mlp.0") are its steps: they make no stack.
// REQUIRES: the headers of all FileKind::kTensors files are there.
Outline make_outline(const Manifest& manifest);

// Whether engines that split this tensor over tensor-parallel ranks split it by columns (dim 1 of
// [out, in]): a slice along dim 0 does not help them, each rank needs it whole. By its name, as
// "self_attn.o_proj" and "mlp.down_proj", where that says too little by its shape; the table is in
// outline_roles.cc. Never of vectors.
bool split_by_columns(const TensorInfo& tensor);

}  // namespace shardswarm
