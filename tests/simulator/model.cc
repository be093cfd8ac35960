#include "simulator/model.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/limits.h"

namespace shardswarm::sim {
namespace {

constexpr std::uint32_t kRows = 8;

// Writes the header of a safetensors file.
class Header {
 public:
  Header(std::uint32_t rows, std::uint32_t row_bytes) : rows_(rows), row_bytes_(row_bytes) {}

  void add(const std::string& name) {
    const std::uint64_t begin = data_bytes_;
    data_bytes_ += std::uint64_t{rows_} * row_bytes_;
    if (!json_.empty()) json_ += ",";
    json_ += "\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[" + std::to_string(rows_) + "," +
             std::to_string(row_bytes_) + "],\"data_offsets\":[" + std::to_string(begin) + "," +
             std::to_string(data_bytes_) + "]}";
  }
  std::uint64_t data_bytes() const { return data_bytes_; }

  Blob blob() const {
    const std::string json = "{" + json_ + "}";
    const std::uint64_t length = json.size();
    std::vector<std::byte> bytes(8 + json.size());
    std::memcpy(bytes.data(), &length, 8);
    std::memcpy(bytes.data() + 8, json.data(), json.size());
    return std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  }

 private:
  std::uint32_t rows_;
  std::uint32_t row_bytes_;
  std::uint64_t data_bytes_ = 0;
  std::string json_;
};

Header make_header(const ModelShape& shape) {
  const std::uint32_t rows =
      std::uint64_t{kRows} * shape.piece_bytes > limits::kPieceBytesMax ? kRows : 1;
  const std::uint32_t all = std::max(shape.pieces / rows, 2U);
  const std::uint64_t inner = std::max(all - 2, shape.layers);
  Header header(rows, shape.piece_bytes);
  header.add("model.embed_tokens.weight");
  for (std::uint64_t layer = 0; layer < shape.layers; ++layer) {
    const std::uint64_t tensors = inner * (layer + 1) / shape.layers - inner * layer / shape.layers;
    for (std::uint64_t i = 0; i < tensors; ++i) {
      header.add("model.layers." + std::to_string(layer) + ".w" + std::to_string(i));
    }
  }
  header.add("lm_head.weight");
  return header;
}

Blob make_piece_list(std::uint64_t pieces, std::uint32_t file) {
  std::vector<std::byte> list;
  list.reserve(pieces * sizeof(Digest));
  for (std::uint32_t i = 0; i < pieces; ++i) {
    const std::uint32_t number[] = {file, i};
    const Digest digest = sha256(std::as_bytes(std::span(number)));
    list.insert(list.end(), digest.bytes.begin(), digest.bytes.end());
  }
  return std::make_shared<const std::vector<std::byte>>(std::move(list));
}

}  // namespace

Result<std::shared_ptr<const Manifest>> make_manifest(std::span<const FileShape> files) {
  ManifestRoot root;
  std::vector<Blob> lists;
  for (const FileShape& file : files) {
    const auto number = static_cast<std::uint32_t>(lists.size());
    const Blob& list = lists.emplace_back(make_piece_list(file.pieces, number));
    FileEntry& entry = root.files.emplace_back();
    entry = {.path = file.path, .size = file.bytes, .kind = file.kind};
    entry.pieces = static_cast<std::uint32_t>(file.pieces);
    entry.piece_list_digest = sha256(*list);
    if (file.header == nullptr) continue;
    entry.header_bytes = file.header->size();
    entry.header_digest = sha256(*file.header);
  }
  const auto encoded = encode_root(root);
  if (!encoded) return std::unexpected(encoded.error());
  auto made = Manifest::from_root(*encoded);
  if (!made) return std::unexpected(made.error());
  auto manifest = std::make_shared<Manifest>(std::move(*made));
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    if (files[i].header != nullptr) {
      auto added = manifest->add_header(FileIndex(i), files[i].header);
      if (!added) return std::unexpected(added.error());
    }
    auto added = manifest->add_piece_list(FileIndex(i), lists[i]);
    if (!added) return std::unexpected(added.error());
  }
  return manifest;
}

std::shared_ptr<const Manifest> make_manifest(const ModelShape& shape) {
  if (shape.checkpoint) return shape.checkpoint;
  const Header header = make_header(shape);
  const Blob blob = header.blob();
  const std::string config = "{\"num_hidden_layers\":" + std::to_string(shape.layers) + "}";
  const FileShape files[] = {{.path = "config.json", .bytes = config.size(), .pieces = 1},
                             {.path = "model.safetensors",
                              .bytes = blob->size() + header.data_bytes(),
                              .kind = FileKind::kTensors,
                              .header = blob,
                              .pieces = header.data_bytes() / shape.piece_bytes}};
  return make_manifest(files).value();
}

}  // namespace shardswarm::sim
