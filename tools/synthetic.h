// Checkpoints made to measure: the names, shapes, dtypes and file layouts of real families with
// generated content, for tests, demonstrations and benchmarks. Plain values and functions without
// state: any thread may use them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "piece/safetensors.h"

namespace shardswarm {

struct SyntheticTensor {
  std::string name;
  Dtype dtype = Dtype::kBF16;
  std::vector<std::uint64_t> shape;
};

// Order and padding of a writer (design facts: safetensors' reference writer sorts by dtype, the
// widest first, then name, and pads the header to 8; MLX's follows hash-map order and does not
// pad).
enum class WriterOrder : std::uint8_t { kReference, kMlx };

using WeightFiles = std::vector<std::pair<std::string, std::vector<SyntheticTensor>>>;
using PlainFiles = std::vector<std::pair<std::string, std::string>>;  // path, content

struct SyntheticModel {
  WeightFiles weight_files;
  WeightFiles spare_files;  // safetensors files that no index names
  PlainFiles plain_files;
  // Weights of other formats: path, bytes of pseudo-random content.
  std::vector<std::pair<std::string, std::uint64_t>> opaque_files;
  WriterOrder order = WriterOrder::kReference;
  bool index = true;  // write model.safetensors.index.json where there are several weight files
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

// Adds what some repositories hold beside the shards: the same tensors once more in
// consolidated.safetensors, under the names of the authors' own format, and
// original/consolidated.00.pth. kUsage if the model has a single weight file: without an index,
// consolidated.safetensors would be weights like any other.
Result<void> add_consolidated(SyntheticModel& model);

// tokenizer.json and tokenizer_config.json for so many tokens.
PlainFiles tokenizer_files(std::uint64_t vocabulary);

// Bytes of one tensor; of all tensors of the weight files.
std::uint64_t tensor_bytes(const SyntheticTensor& tensor);
std::uint64_t tensor_bytes(const SyntheticModel& model);

struct WriteOptions {
  // Headers and plain files are written, tensors are holes: any size in no space. They read as 0.
  bool sparse = false;
  // Tensors whose name matches one of these globs get other content than the seed alone would give
  // them, as in a fine-tune that trained only some layers.
  std::vector<std::string> change;
};

// Writes the files below `directory` (created), each folder with several weight files with its
// index. Content is pseudo-random, a function of `seed` and the tensor's name: a tensor has the
// same bytes in any file and order. Errors as of the file system.
Result<void> write_checkpoint(const SyntheticModel& model, const std::filesystem::path& directory,
                              std::uint64_t seed, const WriteOptions& options = {});

}  // namespace shardswarm
