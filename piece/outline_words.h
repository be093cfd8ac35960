// The tables of words behind the outline: what the words of tensor names mean, one row for a word,
// with the families of models that use it. The rules that read the tables are in outline_roles.h.
//
// How to add a family whose names are not known yet:
// 1. Write its names and what its first and last stage need into tests/piece/families/NAME.json
//    (the README there describes the format), and run the tests Families*.
// 2. For each tensor that the test names, add a row to outline_words.cc, or add the family to the
//    row that is there. Rows of kRoles are tried from the first to the last, and the first row that
//    matches decides: a row for "lm_head.bias" stands before the row for "lm_head".
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "piece/outline.h"

namespace shardswarm {

// What a tensor outside all layers is to the layers that it stands beside.
enum class Role : std::uint8_t {
  kTokenEmbedding,  // turns tokens into vectors; without a head it is the head, too
  kInput,           // used before the first layer: positions, norms of embeddings, patches
  kHead,            // turns the last layer's vectors into logits: a model that has one is not tied
  kHeadPart,        // of a head whose matrix is the token embedding, unless there is a kHead, too
  kOutput,          // used behind the last layer, but no head: final norms, poolers
  kUnknown,         // every part gets it
};

// In all tables `words` are one or more whole words of a dotted name, side by side. A '*' at the
// end stands for any further letters of the last word. `families` says who uses them.
struct RoleRow {
  std::string_view words;
  Role role;
  std::string_view families;
};

// A part of a model that is not the language model itself.
struct ModuleRow {
  std::string_view words;
  Module module;
  std::string_view families;
};

// A block that layers share, although the checkpoint stores it inside one of them. A layer that has
// the words `user` uses the block. When such a layer does not store the block itself, the tensors
// of the block come with every part of the stack.
struct SharedBlockRow {
  std::string_view words;
  std::string_view user;
  std::string_view families;
};

// A linear layer that tensor-parallel engines split, with the side that they split.
enum class Split : std::uint8_t {
  kOutputs,  // Megatron's "column-parallel": every rank computes some of the outputs
  kInputs,   // Megatron's "row-parallel": every rank reads some of the inputs
};
struct SplitRow {
  std::string_view words;
  Split split;
  std::string_view families;
};

std::span<const RoleRow> role_rows();
std::span<const ModuleRow> module_rows();
std::span<const SharedBlockRow> shared_block_rows();
std::span<const SplitRow> split_rows();
// A tensor with one of these words is part of an MTP layer that is numbered like the model's
// layers.
std::span<const std::string_view> mtp_marks();

}  // namespace shardswarm
