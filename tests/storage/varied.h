// Random checkpoints of many shapes and dtypes, and a look at what a compact directory really has,
// by means of the safetensors reader alone.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <random>
#include <string>
#include <vector>

#include "piece/outline.h"
#include "piece/selection.h"
#include "piece/tensor_set.h"
#include "tests/storage/rig.h"

namespace shardswarm::test {

using Random = std::mt19937_64;

inline std::uint64_t below(Random& random, std::uint64_t end) { return random() % end; }

struct VariedTensor {
  std::string name;
  Dtype dtype = Dtype::kU8;
  std::vector<std::uint64_t> shape;

  std::uint64_t bytes() const {
    std::uint64_t bits = dtype_bits(dtype);
    for (const std::uint64_t dim : shape) bits *= dim;
    return bits / 8;
  }
};

Bytes safetensors_of(const std::vector<VariedTensor>& tensors, std::uint64_t seed,
                     const std::map<std::string, std::string>& metadata = {});

std::vector<std::uint64_t> varied_shape(Random& random);

// Two stacks at least, several files, a second component now and then, an index, plain files.
Files varied_checkpoint(Random& random);

// A selection that the model can satisfy, or none.
Selection varied_selection(Random& random);

struct SeenTensor {
  Dtype dtype = Dtype::kU8;
  std::vector<std::uint64_t> shape;
  Bytes bytes;
  std::string file;
  friend bool operator==(const SeenTensor&, const SeenTensor&) = default;
};
using SeenTensors = std::map<std::string, SeenTensor>;  // by folder and name

inline std::string folder_of_path(const std::string& path) {
  return path.substr(0, path.rfind('/') + 1);
}

// The safetensors files that stand in a directory under their names.
std::vector<std::string> tensors_files(const std::filesystem::path& directory);

// What a loader finds in these files; each must be well formed, and no tensor twice.
SeenTensors look_into(const std::filesystem::path& directory,
                      const std::vector<std::string>& paths);

nlohmann::json json_in(const std::filesystem::path& file);

// The rows as the original has them; without the file's name.
SeenTensors originals(const TensorSet& set, const Manifest& manifest, const Files& files);

// The tensors found are just these, byte for byte.
void expect_tensors(SeenTensors seen, const SeenTensors& expected);

// Indexes name each tensor's file, shard.json names the files, and nothing else.
void expect_index_and_shard(const std::filesystem::path& directory, const SeenTensors& seen);

// What tells whether a file was written again.
std::pair<std::uint64_t, std::int64_t> mark_of(const std::filesystem::path& file);

}  // namespace shardswarm::test
