// Headers and manifests by hand. No file contents: a model's pieces here have made-up digests, so a
// checkpoint of terabytes costs only its header.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "piece/digest.h"
#include "piece/manifest.h"
#include "piece/safetensors.h"
#include "tests/support/bytes.h"

namespace shardswarm::test {

inline Blob blob_of(Bytes bytes) { return std::make_shared<const Bytes>(std::move(bytes)); }

// A header: these 8 bytes of length, then the JSON.
inline Bytes header_of(std::string_view json, std::uint64_t length) {
  Bytes bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>(length >> (8 * i)));
  const Bytes text = bytes_of(json);
  bytes.insert(bytes.end(), text.begin(), text.end());
  return bytes;
}
inline Bytes header_of(std::string_view json) { return header_of(json, json.size()); }

struct TensorSpec {
  std::string name;
  std::vector<std::uint64_t> shape;
  Dtype dtype = Dtype::kU8;

  std::uint64_t bytes() const {
    std::uint64_t bits = dtype_bits(dtype);
    for (const std::uint64_t dim : shape) bits *= dim;
    return bits / 8;
  }
};

// One entry of a header.
inline std::string json_of(const TensorSpec& tensor, std::uint64_t begin) {
  std::string dims;
  for (const std::uint64_t dim : tensor.shape) {
    dims += (dims.empty() ? "" : ",") + std::to_string(dim);
  }
  return "\"" + tensor.name + "\":{\"dtype\":\"" + std::string(dtype_name(tensor.dtype)) +
         "\",\"shape\":[" + dims + "],\"data_offsets\":[" + std::to_string(begin) + "," +
         std::to_string(begin + tensor.bytes()) + "]}";
}

// Tensors one after the other, in this order.
inline std::string json_of(const std::vector<TensorSpec>& tensors) {
  std::string json = "{";
  std::uint64_t at = 0;
  for (const TensorSpec& tensor : tensors) {
    if (json.size() > 1) json += ",";
    json += json_of(tensor, at);
    at += tensor.bytes();
  }
  return json + "}";
}

// A model file by file, and its manifest with all blobs.
class ModelBuilder {
 public:
  ModelBuilder& plain(std::string path, std::uint64_t size) {
    add({.path = std::move(path), .size = size}, {},
        static_cast<std::uint32_t>(tile_bytes(size).pieces()));
    return *this;
  }

  ModelBuilder& tensors(std::string path, const std::vector<TensorSpec>& tensors,
                        FileKind kind = FileKind::kTensors) {
    Bytes header = header_of(json_of(tensors));
    FileEntry entry{.path = std::move(path), .size = header.size(), .kind = kind};
    entry.header_bytes = header.size();
    entry.header_digest = sha256(header);
    std::uint64_t pieces = 0;
    for (const TensorSpec& tensor : tensors) {
      entry.size += tensor.bytes();
      pieces += tile_tensor(tensor.dtype, tensor.shape).pieces();
    }
    add(std::move(entry), std::move(header), static_cast<std::uint32_t>(pieces));
    return *this;
  }

  ManifestRoot root() const {
    ManifestRoot root;
    for (const auto& [path, file] : files_) root.files.push_back(file.entry);
    return root;
  }

  Manifest bare() const { return must(Manifest::from_root(must(encode_root(root())))); }

  Manifest build() const {
    Manifest manifest = bare();
    for (const auto& [path, file] : files_) {
      const FileIndex index = manifest.find_file(path).value();
      if (manifest.needs_header(index)) must(manifest.add_header(index, blob_of(file.header)));
      must(manifest.add_piece_list(index, blob_of(file.piece_list)));
    }
    return manifest;
  }

  const Bytes& header(const std::string& path) const { return files_.at(path).header; }
  const Bytes& piece_list(const std::string& path) const { return files_.at(path).piece_list; }

 private:
  struct File {
    FileEntry entry;
    Bytes header;
    Bytes piece_list;
  };

  void add(FileEntry entry, Bytes header, std::uint32_t pieces) {
    Bytes list;
    for (std::uint32_t i = 0; i < pieces; ++i) {
      const Digest digest = sha256(bytes_of(entry.path + "#" + std::to_string(i)));
      list.insert(list.end(), digest.bytes.begin(), digest.bytes.end());
    }
    entry.pieces = pieces;
    entry.piece_list_digest = sha256(list);
    std::string path = entry.path;
    files_.insert_or_assign(std::move(path),
                            File{std::move(entry), std::move(header), std::move(list)});
  }

  std::map<std::string, File> files_;
};

}  // namespace shardswarm::test
