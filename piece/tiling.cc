#include "piece/tiling.h"

#include <algorithm>
#include <cassert>
#include <numeric>

#include "base/limits.h"

namespace shardswarm {
namespace {

// Stacked experts: entries of dim 0 from this size on are blocks of their own.
constexpr std::uint64_t kEntryBytesMin = 32 * limits::kKiB;
constexpr std::uint64_t kRowBlocks = 8;

}  // namespace

std::uint64_t Tiling::pieces_per_block() const {
  return (block_bytes + limits::kPieceBytesMax - 1) / limits::kPieceBytesMax;
}

std::uint64_t Tiling::piece_offset(std::uint64_t i) const {
  assert(i < pieces());
  const std::uint64_t per_block = pieces_per_block();
  return (i / per_block) * block_bytes + (i % per_block) * limits::kPieceBytesMax;
}

std::uint32_t Tiling::piece_bytes(std::uint64_t i) const {
  assert(i < pieces());
  const std::uint64_t within = (i % pieces_per_block()) * limits::kPieceBytesMax;
  return static_cast<std::uint32_t>(std::min(limits::kPieceBytesMax, block_bytes - within));
}

Tiling tile_tensor(Dtype dtype, std::span<const std::uint64_t> shape) {
  std::uint64_t elements = 1;
  for (const std::uint64_t dim : shape) elements *= dim;
  const std::uint64_t bytes =
      elements / 8 * dtype_bits(dtype) + elements % 8 * dtype_bits(dtype) / 8;
  if (bytes == 0) return {};
  if (bytes <= limits::kPieceBytesMax) return {.blocks = 1, .block_bytes = bytes};
  const std::uint64_t rows = shape.empty() ? 1 : shape[0];
  // More than 1 MiB: `bytes` times 8 is at most 2^56 for any file that a root may name.
  const std::uint64_t row_bits = elements / rows * dtype_bits(dtype);
  if (shape.size() >= 3 && row_bits % 8 == 0 && row_bits / 8 >= kEntryBytesMin) {
    return {.blocks = rows, .block_bytes = row_bits / 8};
  }
  std::uint64_t blocks = std::gcd(rows, kRowBlocks);
  while (bytes % blocks != 0 || rows / blocks * row_bits % 8 != 0) blocks /= 2;
  return {.blocks = blocks, .block_bytes = bytes / blocks};
}

Tiling tile_bytes(std::uint64_t bytes) {
  return bytes == 0 ? Tiling{} : Tiling{.blocks = 1, .block_bytes = bytes};
}

}  // namespace shardswarm
