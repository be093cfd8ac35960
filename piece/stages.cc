// Pipeline stages: how the layers of a stack are shared out.
#include <optional>
#include <string>
#include <vector>

#include "piece/selection.h"
#include "piece/selection_parts.h"

namespace shardswarm {
namespace {

// Bytes of layers [first, last] with the sides that come along at the ends.
std::uint64_t stage_bytes(const Stack& stack, std::uint32_t first, std::uint32_t end) {
  std::uint64_t bytes = 0;
  for (std::uint32_t layer = first; layer < end; ++layer) bytes += stack.layer_bytes[layer];
  if (first == 0) bytes += stack.input_bytes;
  if (end == stack.layers) bytes += stack.output_bytes;
  return bytes;
}

// Stages under `most` bytes each, every stage as long as it may be while each later one keeps a
// layer; nothing if it cannot be done with `count` stages.
std::optional<std::vector<LayerRange>> pack(const Stack& stack, std::uint32_t count,
                                            std::uint64_t most) {
  std::vector<LayerRange> stages;
  const std::uint32_t layers = stack.layers;
  std::uint32_t first = 0;
  for (std::uint32_t stage = 0; stage < count; ++stage) {
    const std::uint32_t later = count - stage - 1;
    std::uint32_t end = first + 1;
    if (stage_bytes(stack, first, end) > most) return std::nullopt;
    std::uint64_t bytes = stage_bytes(stack, first, end);
    while (end + later < layers) {
      std::uint64_t more = stack.layer_bytes[end];
      if (end + 1 == layers) more += stack.output_bytes;
      if (bytes + more > most) break;
      bytes += more;
      ++end;
    }
    stages.push_back({first, end - 1});
    first = end;
  }
  if (first != layers) return std::nullopt;
  return stages;
}

}  // namespace

Result<std::vector<LayerRange>> split_stages(const Stack& stack, std::uint32_t count) {
  const std::uint32_t layers = stack.layers;
  if (count == 0 || count > layers) {
    return usage(std::to_string(count) + " stages of the " + std::to_string(layers) +
                 " layers of " + stack.name + ": at most " + std::to_string(layers) +
                 " are possible");
  }
  std::uint64_t low = 0;
  std::uint64_t high = stage_bytes(stack, 0, layers);
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (pack(stack, count, middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return *pack(stack, count, low);
}

}  // namespace shardswarm
