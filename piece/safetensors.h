// The strict reader of safetensors headers. Format: spec/manifest.md, section "safetensors".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace shardswarm {

// clang-format off
enum class Dtype : std::uint8_t {
  kBool, kF4, kF6E2M3, kF6E3M2, kU8, kI8, kF8E5M2, kF8E4M3, kF8E8M0, kF8E4M3FNUZ, kF8E5M2FNUZ,
  kI16, kU16, kF16, kBF16, kI32, kU32, kF32, kC64, kF64, kI64, kU64,
};
// clang-format on

std::string_view dtype_name(Dtype dtype);  // as in the header: "BF16"
std::optional<Dtype> dtype_from_name(std::string_view name);
std::uint32_t dtype_bits(Dtype dtype);  // bits of one element

struct TensorInfo {
  std::string name;
  Dtype dtype = Dtype::kU8;
  std::vector<std::uint64_t> shape;  // rank 0 is a scalar
  std::uint64_t begin = 0;           // bytes from the end of the header
  std::uint64_t end = 0;

  std::uint64_t bytes() const { return end - begin; }
};

struct SafetensorsHeader {
  std::uint64_t header_bytes = 0;   // the 8 length bytes and the JSON with its padding
  std::uint64_t data_bytes = 0;     // bytes of all tensors: what follows the header
  std::vector<TensorInfo> tensors;  // by offset; zero-size ones before others, then by name
  std::vector<std::pair<std::string, std::string>> metadata;  // of __metadata__, as it stands there
};

// The length of the header, 8 bytes included, told by the first 8 bytes of a file.
// kMalformed if `prefix` is shorter, kLimit if over 100,000,000 + 8.
Result<std::uint64_t> safetensors_header_bytes(std::span<const std::byte> prefix);

// Parses a whole header (8 length bytes + JSON) by the rules of spec/manifest.md: one JSON object
// in strict UTF-8 with white space before and after it, no tensor and no metadata named twice,
// known dtypes, dtype x shape = offsets, no hole, no overlap, from 0. Fields of a tensor that the
// format does not know are passed over, and metadata may be null, as the reference reader has it.
// Errors name the tensor, not the file.
Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> header);

}  // namespace shardswarm
