// How a directory holds a model.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace shardswarm {

enum class Layout : std::uint8_t {
  kOriginal = 1,  // the files as they were, bit for bit; each gets its name when it is complete
  kMirror = 2,    // original names and offsets, sparse: only the selected ranges hold data
  kCompact = 3,   // one safetensors file per unit with just the selected tensors, and their index
};
std::string_view layout_name(Layout layout);
std::optional<Layout> layout_from_name(std::string_view name);

}  // namespace shardswarm
