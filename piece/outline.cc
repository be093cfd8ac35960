#include "piece/outline.h"

#include <algorithm>
#include <charconv>

#include "piece/outline_steps.h"

namespace shardswarm {
namespace {

// A layer number beyond this is no layer number.
constexpr std::uint32_t kLayerMax = 100'000;

}  // namespace

std::optional<Unit> unit_of(std::string_view name) {
  std::size_t from = 0;
  while (from < name.size()) {
    const std::size_t dot = std::min(name.find('.', from), name.size());
    const std::string_view word = name.substr(from, dot - from);
    std::uint32_t index = 0;
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), index);
    const bool digits =
        !word.empty() && parsed.ec == std::errc{} && parsed.ptr == word.data() + word.size();
    if (digits && from > 0 && index <= kLayerMax) {
      return Unit{.stack = std::string(name.substr(0, from - 1)), .index = index};
    }
    from = dot + 1;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Outline::find_stack(std::string_view name) const {
  const auto it = std::ranges::find(stacks, name, &Stack::name);
  if (it == stacks.end()) return std::nullopt;
  return static_cast<std::uint32_t>(it - stacks.begin());
}

std::optional<Side> Outline::edge_side(std::uint32_t index, Edge edge, std::uint32_t words) const {
  const Stack& stack = stacks[index];
  const Component& component = components[stack.component];
  // A tensor that shares more words with the main stack than this stack does is the main stack's
  // own, as an encoder's final norm. If it shared more words with this stack, it would stand in its
  // scope.
  const bool near = stack.main_words >= words;
  const bool writes = index == component.writer && near;
  const bool predicts = stack.module == Module::kMtp;
  switch (edge) {
    case Edge::kNone:
      return std::nullopt;
    case Edge::kHead:
      return writes || predicts ? std::optional(Side::kOutput) : std::nullopt;
    case Edge::kOutput:
      return writes ? std::optional(Side::kOutput) : std::nullopt;
    case Edge::kEmbedding:
      break;
  }
  if (predicts && component.mtp_reads_embedding) {
    return component.tied ? Side::kBoth : Side::kInput;
  }
  if (stack.module != Module::kModel || !near) return std::nullopt;
  return writes && component.tied ? Side::kBoth : Side::kInput;
}

std::optional<Side> Outline::side(const OutlineTensor& tensor, std::uint32_t stack) const {
  if (tensor.component != stacks[stack].component) return std::nullopt;
  if (stack == components[tensor.component].main) return tensor.main_side;
  const std::uint32_t own = tensor.stack != kNoStack ? tensor.stack : tensor.home;
  if (own == stack) return tensor.side;
  if (own == kNoStack) return edge_side(stack, tensor.edge, tensor.edge_words);
  if (stacks[own].parent == stack) return stacks[own].parent_side;
  return std::nullopt;
}

std::string Outline::full_name(const OutlineTensor& tensor, const Manifest& manifest) const {
  return components[tensor.component].folder + info_of(manifest, tensor).name;
}

Outline make_outline(const Manifest& manifest) {
  Outline outline;
  find_stacks(manifest, outline);
  find_experts(manifest, outline);
  find_sides(manifest, outline);
  return outline;
}

}  // namespace shardswarm
