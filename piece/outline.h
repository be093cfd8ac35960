// The outline of a model: which stacks of layers it has, and where each tensor stands to them. It
// is derived from paths, tensor names, shapes and sizes alone. It serves selections only and never
// changes pieces.
//
// Terms. A *stack* is a row of numbered layers ("model.layers"). Each component (a folder with
// safetensors files) has a *main* stack: the one that --layers and --stage mean without --stack. It
// is the largest stack of the component. There is one exception: when the component reads tokens,
// its largest stack may be a vision tower (PaddleOCR-VL) or a speaking model. No engine splits
// those over pipeline stages, so the largest stack of the language model is the main one.
//
// Each other stack has a *scope* of its own: the tensors whose names begin with more of its words
// than of the main stack's. To the main stack a tower's layers are "input" as a whole; within its
// own scope the tower has layers, an input side (patch embedding) and an output side (projector).
//
// A component that turns vectors into tokens has a *writer*: the stack that the head belongs to. It
// is the main stack, unless that is the encoder of an encoder-decoder model: Whisper
// large-v3-turbo's encoder is the larger, and its head and its tied embedding belong to the
// decoder.
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
  kLayer,      // part of one of its layers; OutlineTensor::layer says which
  kInput,      // needed by the first layer's stage: embeddings, towers, encoders
  kOutput,     // needed by the last layer's stage: head, final norm, MTP layers, decoders, speakers
  kBoth,       // needed by both: the embedding when it is the head, too, or when MTP layers read it
  kEverybody,  // unknown, or a block that several layers share: comes with every part of the stack
};

// What a stack of layers, or a module of the model, is for. piece/outline_words.cc has the names.
enum class Module : std::uint8_t {
  kModel,      // the language model, or the only model that there is
  kTower,      // turns pictures, sounds or other texts into vectors that the language model reads
  kProjector,  // joins a tower to the language model; its numbers are steps, not layers
  kMtp,        // predicts further tokens (multi-token prediction)
  kSpeaker,    // speaks or draws what the language model has said
};

// The experts that a tensor is made of, in MoE layers.
struct Experts {
  std::uint32_t first = 0;  // the expert that it is of; 0 for stacked ones
  std::uint32_t count = 0;  // 1: of one expert; more: stacked along dim 0; 0: of none
  // Stacked: rows of dim 0 per expert (1 for rank 3, more where experts are rows of a matrix).
  std::uint64_t rows = 0;
};

inline constexpr std::uint32_t kNoStack = ~std::uint32_t{0};
// At most this many layers of all stacks together are numbered. The smallest stacks beyond it do
// not count as stacks, so that no hostile name makes a table of billions of layers.
inline constexpr std::uint32_t kNumberedLayersMax = 1U << 20;
// At most this many stacks, the largest ones, count as stacks. Real models have a few dozen.
inline constexpr std::uint32_t kStacksMax = 4096;

// What a tensor at the edge of a component's main stack is to other stacks that read or write the
// same tokens.
enum class Edge : std::uint8_t {
  kNone,
  kEmbedding,  // T5's "shared": both stacks read it
  kHead,       // "lm_head": the writer's, and that of MTP stacks
  kOutput,     // behind the last layer, but no head: the writer's
};

struct OutlineTensor {
  FileIndex file;
  TensorIndex tensor;
  std::uint32_t stack = kNoStack;  // whose layer it is part of; kNoStack: outside all layers
  std::uint32_t layer = 0;
  std::uint32_t component = 0;  // index into Outline::components
  // Outside all layers: the stack in whose scope it stands; kNoStack: the main one's.
  std::uint32_t home = kNoStack;
  Side side = Side::kEverybody;       // to `stack`, else to `home`, else to the main stack
  Side main_side = Side::kEverybody;  // to the component's main stack
  Edge edge = Edge::kNone;
  std::uint32_t edge_words = 0;  // words that its name and the main stack's begin with alike
  // It is stored inside one layer, but other layers of the same stack use it, too (Zamba2's shared
  // block). It counts as outside all layers, on the side kEverybody.
  bool shared_block = false;
  Experts experts;
};

inline const TensorInfo& info_of(const Manifest& manifest, const OutlineTensor& tensor) {
  return manifest.tensors(tensor.file)[tensor.tensor.value].info;
}

struct Stack {
  std::string name;  // "model.layers"; in a component's folder "transformer/blocks"
  std::uint32_t component = 0;
  std::uint32_t layers = 0;      // that stages are made of
  std::uint32_t numbered = 0;    // highest index + 1: MTP layers stand behind the others
  std::uint64_t bytes = 0;       // of all numbered layers
  std::uint32_t tensors = 0;     // of all numbered layers
  std::uint32_t main_words = 0;  // words that its name and the main stack's begin with alike
  Module module = Module::kModel;
  std::uint32_t experts = 0;               // of each MoE layer; 0: dense
  std::vector<std::uint64_t> layer_bytes;  // by number, `numbered` of them
  // The sums of the tensors on a side of it; kBoth counts as input and as output.
  std::uint64_t input_bytes = 0;
  std::uint64_t output_bytes = 0;
  std::uint64_t everybody_bytes = 0;
  // The stack in whose scope it stands, when that is not the main one and it runs before or behind
  // that stack: Qwen3-Omni's code predictor runs behind the talker.
  std::uint32_t parent = kNoStack;
  Side parent_side = Side::kInput;  // of all its tensors to `parent`
};

// A folder with safetensors files: the model itself (""), or a part of a pipeline ("vae/").
struct Component {
  std::string folder;                // with its '/'; "" for the directory itself
  std::uint32_t main = kNoStack;     // the stack that layer ranges mean
  std::uint32_t writer = kNoStack;   // the stack that heads belong to
  bool tied = false;                 // it has no head: the writer uses the token embedding for it
  bool mtp_reads_embedding = false;  // it has MTP layers, but no token embedding inside them
};

struct Outline {
  // stacks[0] is what layer ranges mean without --stack. By bytes, largest first; stacks that
  // cannot be a main stack because their component reads tokens (see above) stand behind the
  // others.
  std::vector<Stack> stacks;
  std::vector<Component> components;   // by folder
  std::vector<OutlineTensor> tensors;  // of kTensors files but for copies, by file and tensor

  std::optional<std::uint32_t> find_stack(std::string_view name) const;
  // How the tensor stands to the stack; nothing when it has nothing to do with it. kOutput with
  // tensor.stack == stack means an MTP layer of that stack.
  std::optional<Side> side(const OutlineTensor& tensor, std::uint32_t stack) const;
  // How tensors with these OutlineTensor::edge and edge_words stand to a stack that is not its
  // component's main one.
  std::optional<Side> edge_side(std::uint32_t stack, Edge edge, std::uint32_t words) const;
  // As globs see it: with its component's folder before it, "vae/decoder.conv_in.weight".
  std::string full_name(const OutlineTensor& tensor, const Manifest& manifest) const;
};

// Numbers below an embedding, a head or a projector ("lm_head.0", "visual.merger.mlp.0") make no
// stack. REQUIRES: the headers of all FileKind::kTensors files are there.
Outline make_outline(const Manifest& manifest);

// Whether engines that split this tensor over tensor-parallel ranks split it along another
// dimension than dim 0, so that a slice along dim 0 does not help them and each rank needs it
// whole. By its name and shape: outputs are dim 0 of a plain linear layer ([out, in]) and dim 1 of
// GPTQ's and AWQ's (qweight, qzeros and scales are [in, out]). Never of vectors.
bool split_by_columns(const TensorInfo& tensor);

}  // namespace shardswarm
