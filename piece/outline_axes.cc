// Along which dimension tensor-parallel engines split a tensor.
#include <algorithm>
#include <array>
#include <optional>

#include "piece/outline.h"
#include "piece/outline_roles.h"

namespace shardswarm {
namespace {

// The last word of a tensor of a linear layer: its weight, or what quantisation and adapters put
// beside it. The dimensions are [out, in] (in groups or packed, some of them), as for a plain
// weight.
constexpr auto kSuffixes = std::to_array<std::string_view>({
    "weight", "bias",
    "scale",              // deepseek-v4
    "scales",             // MLX; GPTQ's and AWQ's are told apart by their shape
    "biases",             // MLX
    "weight_scale",       // compressed-tensors, modelopt: FP8, NVFP4
    "weight_scale_inv",   // deepseek-v3
    "weight_packed",      // compressed-tensors
    "weight_zero_point",  // compressed-tensors
});
// GPTQ and AWQ: [in, out], one of the two in groups or packed.
constexpr auto kTransposed = std::to_array<std::string_view>({"qweight", "qzeros"});
// Stacked experts have their suffix behind a '_': gpt-oss's "down_proj_blocks".
constexpr auto kStackedSuffixes =
    std::to_array<std::string_view>({"_blocks", "_scales", "_bias", "_weight"});
// GPT-2 keeps these as [in, out], so that their outputs are the columns; starcoder does not. Both
// have more outputs than inputs.
constexpr auto kTransposedIfWide = std::to_array<std::string_view>({"c_attn", "c_fc"});

template <std::size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::ranges::find(words, word) != words.end();
}

std::string_view last_word(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

std::string_view without_last(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
}

bool ends_with_words(std::string_view name, std::string_view words) {
  if (!name.ends_with(words)) return false;
  return name.size() == words.size() || name[name.size() - words.size() - 1] == '.';
}

// Which side of this linear layer engines split.
std::optional<Split> split_of(std::string_view layer) {
  const auto rows = split_rows();
  const auto row = std::ranges::find_if(
      rows, [&](const SplitRow& each) { return ends_with_words(layer, each.words); });
  if (row == rows.end()) return std::nullopt;
  return row->split;
}

// A LoRA's A reads the layer's inputs ([rank, in]) and is split with them; its B writes the outputs
// ([out, rank]). The other one of the two comes whole to every rank, but is split along neither.
bool splits_lora_by_columns(std::string_view layer, std::string_view word) {
  return word == "lora_A" && split_of(layer) == Split::kInputs;
}

bool has_stacked_experts(std::string_view layer) {
  return has_words(layer, "experts") || has_words(layer, "switch_mlp");
}

}  // namespace

bool split_by_columns(const TensorInfo& tensor) {
  if (tensor.shape.size() < 2) return false;
  std::string_view layer = tensor.name;
  const std::string_view suffix = last_word(layer);
  bool transposed = is_one_of(suffix, kTransposed);
  // GPTQ and AWQ have [groups, out], MLX has [out, groups]: outputs are more than groups of inputs.
  if (suffix == "scales") transposed = tensor.shape[0] < tensor.shape[1];
  if (transposed || is_one_of(suffix, kSuffixes)) {
    layer = without_last(layer);
    const std::string_view adapter = last_word(layer);
    if (adapter.starts_with("lora_")) {
      return splits_lora_by_columns(without_last(layer), adapter);
    }
  } else {
    // DBRX: rows are the inputs of all its experts.
    if (layer.ends_with("experts.mlp.w2")) return false;
    for (const std::string_view ending : kStackedSuffixes) {
      if (layer.ends_with(ending)) layer.remove_suffix(ending.size());
    }
  }
  const auto split = split_of(layer);
  if (!split) return false;
  // Experts are dim 0 of what is stacked: inputs and outputs come behind.
  if (tensor.shape.size() > 2 && has_stacked_experts(layer)) return true;
  if (is_one_of(last_word(layer), kTransposedIfWide)) {
    transposed |= tensor.shape.size() == 2 && tensor.shape[0] < tensor.shape[1];
  }
  return transposed ? split == Split::kOutputs : split == Split::kInputs;
}

}  // namespace shardswarm
