// How a tensor or file is cut into pieces: a function of dtype and shape alone, version 1.
// The rule and a worked example: spec/manifest.md, section "tiling".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "piece/safetensors.h"

namespace shardswarm {

inline constexpr std::uint32_t kTilingVersion = 1;

// A tensor is `blocks` equal blocks of `block_bytes`, each cut at multiples of 1 MiB from its
// start. Zero bytes: no blocks.
struct Tiling {
  std::uint64_t blocks = 0;
  std::uint64_t block_bytes = 0;

  std::uint64_t pieces_per_block() const;
  std::uint64_t pieces() const { return blocks * pieces_per_block(); }
  // Offset within the tensor and length of piece i. REQUIRES: i < pieces().
  std::uint64_t piece_offset(std::uint64_t i) const;
  std::uint32_t piece_bytes(std::uint64_t i) const;
};

// REQUIRES: dtype x shape is a whole number of bytes (a parsed header guarantees it).
Tiling tile_tensor(Dtype dtype, std::span<const std::uint64_t> shape);
// Bytes outside tensors: one block.
Tiling tile_bytes(std::uint64_t bytes);

}  // namespace shardswarm
