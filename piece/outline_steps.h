// The steps of make_outline(). Each fills in what the earlier ones left open; they share no state
// but the outline.
#pragma once

#include <string_view>

#include "piece/outline.h"

namespace shardswarm {

// Finds components, stacks, main stacks, blocks that layers share, and the layer of each tensor.
// Leaves sides, homes and experts open.
void find_stacks(const Manifest& manifest, Outline& outline);

// Finds the experts of layers. REQUIRES: find_stacks() has run.
void find_experts(const Manifest& manifest, Outline& outline);

// Finds the home and the sides of each tensor, what other stacks share of the main stack's edges,
// and the sums of each stack. REQUIRES: find_stacks() has run.
void find_sides(const Manifest& manifest, Outline& outline);

// A stack's name without its component's folder.
inline std::string_view bare_name(const Outline& outline, const Stack& stack) {
  return std::string_view(stack.name).substr(outline.components[stack.component].folder.size());
}

// Of the main stack of a component, without the folder; empty when it has no stack.
inline std::string_view main_name(const Outline& outline, std::uint32_t component) {
  const std::uint32_t main = outline.components[component].main;
  return main == kNoStack ? std::string_view() : bare_name(outline, outline.stacks[main]);
}

// Where the words within the layer begin in the name of a layer's tensor.
std::size_t inside_layer(std::string_view name, std::size_t stack_name_bytes);

}  // namespace shardswarm
