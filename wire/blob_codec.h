// Blobs as they go over the wire when both sides can zstd (WIRE-45 .. WIRE-47): safetensors headers
// are a tenth as long. Pure functions; safe on any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"

namespace shardswarm {

// One zstd frame of the blob; nothing if that would not be shorter than the blob, or if the blob is
// longer than kCompressedBlobBytesMax (16 MiB, about 20 ms: the caller's thread moves everybody's
// bytes).
std::optional<std::vector<std::byte>> compress_blob(std::span<const std::byte> blob);

// The content of exactly one zstd frame. kLimit if it is longer than `bytes_max` or
// kCompressedBlobBytesMax, or its window larger than that; kMalformed if it is damaged, cut short,
// empty or followed by anything. What the frame says of its own length is not believed: memory
// grows with what is there.
Result<std::vector<std::byte>> decompress_blob(std::span<const std::byte> frame,
                                               std::uint64_t bytes_max);

}  // namespace shardswarm
