// The index beside sharded weights, `*.safetensors.index.json`: which file holds which tensor; and
// what the names of weights files say. Rules: spec/manifest.md, section "kinds".
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace shardswarm {

inline constexpr std::string_view kTensorsEnding = ".safetensors";

// "model" of "model.safetensors.index.json" and of "model.safetensors.index.fp16.json", the index
// of a variant; nothing of other files. The name is without its folder.
struct IndexName {
  std::string_view base;
  bool variant = false;
};
std::optional<IndexName> index_name(std::string_view name);

// The order in which loaders look for an index, lowest first (MAN-62): transformers and vLLM take
// "model", diffusers "diffusion_pytorch_model", nobody takes those of the authors' own copies and
// of adapters unless told. Of equal rank the one first by its name's bytes is meant.
std::uint32_t index_rank(const IndexName& name);

// What the name of a weights file says of it, without its folder.
struct WeightsName {
  std::string base;          // "model" of "model-00001-of-00002.safetensors"
  std::string variant;       // "fp16" of "model.fp16.safetensors"; empty: none
  std::uint32_t shard = 0;   // 1 of "-00001-of-00002"; 0: not numbered
  std::uint32_t shards = 0;  // 2 of "-00001-of-00002"
  bool rank = false;         // of one tensor-parallel rank: "model-rank-0-part-0", "…-TP-003"
};
WeightsName weights_name(std::string_view name);

// Tensor -> file, the file as a path below the directory (a leading "./" is dropped). kMalformed
// when it is not an object whose weight_map is an object of strings.
using WeightMap = std::map<std::string, std::string>;
Result<WeightMap> read_weight_map(const std::filesystem::path& location, std::string_view folder);

}  // namespace shardswarm
