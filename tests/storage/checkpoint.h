// Small checkpoints by hand: safetensors files byte by byte, and their manifest made with piece/
// alone, so that the indexer has something to be compared with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "piece/digest.h"
#include "piece/manifest.h"
#include "piece/selection.h"
#include "tests/support/bytes.h"
#include "tests/support/temp_dir.h"

namespace shardswarm::test {

// Path -> content.
using Files = std::map<std::string, Bytes>;

// splitmix64: no piece looks like another, none is all zeros.
inline Bytes noise(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  std::uint64_t state = seed;
  for (std::size_t i = 0; i < size; ++i) {
    if (i % 8 == 0) state += 0x9e3779b97f4a7c15U;
    std::uint64_t z = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    bytes[i] = static_cast<std::byte>(z >> (8 * (i % 8)));
  }
  return bytes;
}

// A safetensors file of U8 tensors, in this order.
inline Bytes safetensors(const std::vector<std::pair<std::string, std::size_t>>& tensors,
                         std::uint64_t seed) {
  std::string json = "{";
  std::size_t at = 0;
  for (const auto& [name, size] : tensors) {
    if (at > 0) json += ",";
    json += "\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[" + std::to_string(size) +
            "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + size) + "]}";
    at += size;
  }
  json += "}";
  Bytes file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<std::byte>(json.size() >> (8 * i)));
  const Bytes text = bytes_of(json);
  file.insert(file.end(), text.begin(), text.end());
  const Bytes data = noise(at, seed);
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

// Two weight files (one below a folder), pieces of 1 MiB and of a few bytes, a plain file of two
// pieces and an empty one: about 8 MiB.
inline Files small_checkpoint(std::uint64_t seed = 1) {
  Files files;
  files["config.json"] =
      bytes_of("{\"model_type\":\"test\",\"seed\":" + std::to_string(seed) + "}");
  files["empty.txt"] = {};
  files["a.safetensors"] = safetensors({{"model.layers.0.w", 3 << 20},
                                        {"model.layers.0.scale", 3500},
                                        {"model.layers.1.w", (1 << 20) + 17}},
                                       seed * 100 + 1);
  files["part/b.safetensors"] =
      safetensors({{"model.layers.2.w", 2 << 20}, {"model.norm", 256}}, seed * 100 + 2);
  files["notes.txt"] = noise((1 << 20) + 5, seed * 100 + 3);
  return files;
}

inline void write_tree(const std::filesystem::path& directory, const Files& files) {
  for (const auto& [path, bytes] : files) write_file(directory / path, bytes);
}

namespace detail {
inline Bytes piece_list(const Bytes& file,
                        std::span<const std::pair<std::uint64_t, std::uint64_t>> cuts) {
  Bytes list;
  for (const auto& [offset, length] : cuts) {
    const Digest digest = sha256(std::span(file).subspan(offset, length));
    list.insert(list.end(), digest.bytes.begin(), digest.bytes.end());
  }
  return list;
}

inline std::vector<std::pair<std::uint64_t, std::uint64_t>> cuts_of(const Tiling& tiling,
                                                                    std::uint64_t base) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> cuts;
  for (std::uint64_t i = 0; i < tiling.pieces(); ++i) {
    cuts.emplace_back(base + tiling.piece_offset(i), tiling.piece_bytes(i));
  }
  return cuts;
}
}  // namespace detail

// With headers and piece lists.
inline std::shared_ptr<const Manifest> manifest_of(const Files& files) {
  ManifestRoot root;
  std::vector<std::pair<Bytes, Bytes>> blobs;  // header, piece list
  for (const auto& [path, bytes] : files) {
    FileEntry entry{.path = path, .size = bytes.size()};
    Bytes header;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> cuts;
    if (path.ends_with(".safetensors")) {
      entry.kind = FileKind::kTensors;
      entry.header_bytes = must(safetensors_header_bytes(bytes));
      header.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(entry.header_bytes));
      entry.header_digest = sha256(header);
      for (const TensorInfo& tensor : must(parse_safetensors_header(header)).tensors) {
        const auto more = detail::cuts_of(tile_tensor(tensor.dtype, tensor.shape),
                                          entry.header_bytes + tensor.begin);
        cuts.insert(cuts.end(), more.begin(), more.end());
      }
    } else {
      cuts = detail::cuts_of(tile_bytes(bytes.size()), 0);
    }
    Bytes list = detail::piece_list(bytes, cuts);
    entry.pieces = static_cast<std::uint32_t>(cuts.size());
    entry.piece_list_digest = sha256(list);
    blobs.emplace_back(std::move(header), std::move(list));
    root.files.push_back(std::move(entry));
  }
  auto manifest = std::make_shared<Manifest>(must(Manifest::from_root(must(encode_root(root)))));
  for (std::uint32_t i = 0; i < manifest->file_count(); ++i) {
    const FileIndex file(i);
    if (manifest->needs_header(file)) {
      must(manifest->add_header(file, std::make_shared<const Bytes>(blobs[i].first)));
    }
    if (manifest->needs_piece_list(file)) {
      must(manifest->add_piece_list(file, std::make_shared<const Bytes>(blobs[i].second)));
    }
  }
  return manifest;
}

inline std::span<const std::byte> piece_of(const Files& files, const Manifest& manifest,
                                           PieceIndex piece) {
  const PieceExtent extent = manifest.extent(piece);
  return std::span(files.at(manifest.file(extent.file).path)).subspan(extent.offset, extent.length);
}

inline ResolvedSelection everything(const Manifest& manifest) {
  return {.pieces = PieceSet::full(manifest.piece_count()),
          .files = std::vector<bool>(manifest.file_count(), true),
          .bytes = manifest.total_bytes(),
          .everything = true};
}

// The pieces of these tensors, and the files that hold them.
inline ResolvedSelection only_tensors(const Manifest& manifest,
                                      const std::vector<std::string>& names) {
  ResolvedSelection selection{.pieces = PieceSet(manifest.piece_count()),
                              .files = std::vector<bool>(manifest.file_count())};
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    for (const TensorEntry& tensor : manifest.tensors(FileIndex(i))) {
      for (const std::string& name : names) {
        if (tensor.info.name != name) continue;
        selection.pieces.insert(PieceRun{tensor.first_piece, tensor.pieces});
        selection.files[i] = true;
        selection.bytes += tensor.info.bytes();
      }
    }
  }
  return selection;
}

inline FileIndex file_named(const Manifest& manifest, std::string_view path) {
  return must(manifest.find_file(path)
                  ? Result<FileIndex>(*manifest.find_file(path))
                  : Result<FileIndex>(fail(Errc::kNotFound, "no such file in the test's model")));
}

// XORs one byte, keeping the file's size.
inline void flip_byte(const std::filesystem::path& file, std::size_t offset) {
  Bytes bytes = read_file(file);
  bytes.at(offset) ^= std::byte{0xff};
  write_file(file, bytes);
}

}  // namespace shardswarm::test
