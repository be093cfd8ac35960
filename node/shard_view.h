// The public API for reading a shard: its tensors by name, mapped from the files.
//
// Threads: open() blocks; a view is a value, const access from several threads is fine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "piece/safetensors.h"

namespace shardswarm {

struct TensorView {
  Dtype dtype = Dtype::kU8;
  std::vector<std::uint64_t> shape;  // of a slice: its own
  std::span<const std::byte> bytes;  // read-only, row-major, little-endian; valid as the view is
  std::filesystem::path file;        // that it lies in
};

// The tensors of a directory that are here whole (of a slice: the slice), never what a hole would
// read as. The files are mapped: a program that cuts them off while they are mapped takes the
// reader down with a signal, so only directories that nobody writes to should be viewed (shardswarm
// itself replaces files and never cuts them).
class ShardView {
 public:
  // - a compact directory: what shard.json promises; kNotFound while it promises nothing complete;
  // - another fetched directory: the tensors of which every piece is verified;
  // - any other: all tensors of its safetensors files, as `index` would take them.
  // In a component's folder tensors are called "folder/name". kMalformed names file and tensor.
  static Result<ShardView> open(const std::filesystem::path& directory);

  // Null if there is no such tensor.
  const TensorView* find(std::string_view name) const;
  const std::map<std::string, TensorView, std::less<>>& tensors() const { return tensors_; }

 private:
  class Mapping;
  class Opener;

  std::map<std::string, TensorView, std::less<>> tensors_;
  std::vector<std::shared_ptr<const Mapping>> mappings_;
};

}  // namespace shardswarm
