// Checkpoints made to measure: the names, shapes, dtypes and file layouts of real families with
// generated content, for tests, demonstrations and benchmarks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "piece/error.h"
#include "piece/safetensors.h"

namespace shardswarm {

struct SyntheticTensor {
  std::string name;
  Dtype dtype = Dtype::kBF16;
  std::vector<std::uint64_t> shape;
};

// Order and padding of a writer (design facts: safetensors' reference writer sorts by dtype width,
// then name, and pads the header to 8; MLX's follows hash-map order and does not pad).
enum class WriterOrder : std::uint8_t { kReference, kMlx };

struct SyntheticModel {
  std::vector<std::pair<std::string, std::vector<SyntheticTensor>>> weight_files;
  std::vector<std::pair<std::string, std::string>> plain_files;  // path, content
  WriterOrder order = WriterOrder::kReference;
  bool index = true;  // write model.safetensors.index.json when there are several weight files
};

struct TransformerShape {
  std::uint32_t layers = 16;
  std::uint64_t hidden = 256;
  std::uint64_t intermediate = 704;
  std::uint64_t vocabulary = 2048;
  std::uint64_t heads = 8;
  std::uint64_t kv_heads = 2;
  std::uint32_t experts = 0;  // mixtral and deepseek
  bool tied = false;          // no lm_head
  std::uint32_t files = 1;    // tensors spread over model-0000i-of-0000n.safetensors
  Dtype dtype = Dtype::kBF16;
};

SyntheticModel llama_model(const TransformerShape& shape);
SyntheticModel mixtral_model(const TransformerShape& shape);
// Layer 0 dense, then experts with FP8 weights and F32 `.weight_scale_inv` (one scale per 128 x 128
// block), shared experts, and an MTP layer numbered `layers`.
SyntheticModel deepseek_model(const TransformerShape& shape);

// Bytes of all tensors.
std::uint64_t tensor_bytes(const SyntheticModel& model);

// Writes the files below `directory` (created). Content is pseudo-random, a function of `seed` and
// the tensor's name. Errors as of the file system.
Result<void> write_checkpoint(const SyntheticModel& model, const std::filesystem::path& directory,
                              std::uint64_t seed);

}  // namespace shardswarm
