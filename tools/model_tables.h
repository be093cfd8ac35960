// Real models as compact tables: sizes, tensors and config.json of each, derived from the published
// configurations. tools/real_model.h expands them. Constant data: any thread may read it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "piece/safetensors.h"
#include "tools/sharding.h"

namespace shardswarm {

inline constexpr std::uint64_t kGB = 1'000'000'000;  // the hub's limits are decimal

// `sizes`: words NAME=VALUE. A '/' behind the value says that a smaller copy divides it. Names with
// a meaning of their own: L layers, M layers of a second stack, K layers before the first with
// experts, E experts, v vocabulary.
//
// `rows`, one a line, in the order in which the model's modules register their tensors (which
// decides the split into files):
//   NAME DTYPE DIM...   the tensor NAME; DTYPE '.' is the model's own
//   NAME w DIM...       NAME.weight
//   NAME wb DIM...      NAME.weight and NAME.bias [first DIM]
//   NAME bnb8 OUT IN    bitsandbytes' int8: weight I8, SCB F32 per row, weight_format (a scalar)
//   NAME fp8 OUT IN     DeepSeek's: weight F8_E4M3, weight_scale_inv F32 per 128 x 128 block
//   NAME mlx4 DIM...    MLX's 4 bits: weight U32 (8 to a word), scales and biases per group of 64
//   repeat FIRST END PREFIX   what follows up to `end` for each number, behind PREFIX with the
//   number
//                             for its '#'
//   cut [N]             the next tensor begins a file; in a repeat: if N divides the number
// A DIM is a sum of products of numbers and sizes, as a*n+a*r.
//
// `config`, words: a JSON pointer (without its first '/') = a DIM, true, false or 'text'.
struct ModelTable {
  std::string_view name;
  Dtype dtype = Dtype::kBF16;
  SplitRule split;
  std::string_view sizes;
  std::string_view rows;
  std::string_view config;
  // The files were cut before the weights were made FP8: these count double, their scales nothing.
  bool cut_before_fp8 = false;
  WriterOrder order = WriterOrder::kReference;
};

std::span<const ModelTable> decoder_tables();  // decoders whose layers are all alike
std::span<const ModelTable> other_tables();    // with experts, of several stacks, quantised by MLX

}  // namespace shardswarm
