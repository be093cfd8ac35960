#include "storage/compact_files.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/text.h"
#include "piece/selection_text.h"
#include "storage/held_parts.h"
#include "storage/weight_index.h"

namespace shardswarm {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kDataAlignment = 4096;
constexpr std::size_t kMetadataBytesMax = 64 * limits::kKiB;
constexpr std::string_view kIndexEnding = ".safetensors.index.json";

std::uint64_t bytes_of(const Manifest& manifest, const std::vector<TensorRows>& tensors) {
  std::uint64_t bytes = 0;
  for (const TensorRows& rows : tensors) bytes += shardswarm::bytes_of({rows}, manifest);
  return bytes;
}

// "\"__metadata__\":{...}," of these files: of entries of one name the first file's. Too many of
// them would be repeated for every layer: then only the one that loaders look for.
std::string metadata_text(const Manifest& manifest, const std::set<FileIndex>& files) {
  std::string text;
  for (const bool all : {true, false}) {
    text.clear();
    std::set<std::string_view> keys;
    for (const FileIndex file : files) {
      for (const auto& [key, value] : manifest.metadata(file)) {
        if ((!all && key != "format") || !keys.insert(key).second) continue;
        text += (text.empty() ? "" : ",") + Json(key).dump() + ":" + Json(value).dump();
        if (text.size() > kMetadataBytesMax) break;
      }
    }
    if (text.size() <= kMetadataBytesMax) break;
  }
  if (text.empty() || text.size() > kMetadataBytesMax) return "";
  return "\"__metadata__\":{" + text + "},";
}

Json layers_json(const Manifest& manifest, const Outline& outline, const TensorSet& held) {
  Json stacks = Json::array();
  const std::vector<bool> no_files(manifest.file_count());
  for (const HeldLayers& layers : held_parts(held, no_files, manifest, outline).layers) {
    if (layers.whole.empty()) continue;
    stacks.push_back({{"name", layers.stack}, {"layers", layers.whole}, {"of", layers.of}});
  }
  return stacks;
}

}  // namespace

bool replaced_by_ours(std::string_view path, const ComponentBases& bases) {
  if (path == kShardFileName) return true;
  const std::string_view folder = folder_of(path);
  return index_name(path.substr(folder.size())) && bases.contains(folder);
}

void sort_for_writing(std::vector<TensorRows>& tensors, const Manifest& manifest) {
  std::ranges::sort(tensors, [&](const TensorRows& a, const TensorRows& b) {
    const TensorInfo& left = info_of(manifest, a);
    const TensorInfo& right = info_of(manifest, b);
    const auto left_bits = dtype_bits(left.dtype);
    const auto right_bits = dtype_bits(right.dtype);
    return left_bits != right_bits ? left_bits > right_bits : left.name < right.name;
  });
}

Result<Blob> compact_header(const Manifest& manifest, const std::vector<TensorRows>& tensors) {
  std::set<FileIndex> sources;
  for (const TensorRows& rows : tensors) sources.insert(rows.file);
  // Member by member: an object that keeps its order looks every key up again, 10^10 steps for 10^5
  // members.
  std::string text = "{" + metadata_text(manifest, sources);
  std::uint64_t at = 0;
  for (const TensorRows& rows : tensors) {
    const TensorInfo& info = info_of(manifest, rows);
    std::vector<std::uint64_t> shape = info.shape;
    if (!shape.empty()) shape[0] = rows.rows.end - rows.rows.begin;
    const std::uint64_t end = at + shardswarm::bytes_of({rows}, manifest);
    const Json entry = {
        {"dtype", dtype_name(info.dtype)}, {"shape", shape}, {"data_offsets", {at, end}}};
    text += Json(info.name).dump() + ":" + entry.dump() + ",";
    at = end;
  }
  if (text.back() == ',') text.pop_back();
  text += '}';
  constexpr std::size_t kPrefix = 8;
  const std::size_t padded =
      (kPrefix + text.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
  text.resize(padded - kPrefix, ' ');
  if (text.size() > limits::kHeaderJsonBytesMax) {
    return fail(Errc::kLimit, "the header of a compact file would exceed 100000000 bytes");
  }
  std::vector<std::byte> bytes;
  bytes.reserve(padded);
  append_little_endian(bytes, std::uint64_t{text.size()});
  std::ranges::copy(std::as_bytes(std::span(text)), std::back_inserter(bytes));
  return std::make_shared<const std::vector<std::byte>>(std::move(bytes));
}

namespace {

// The indexes and shard.json, which name files, are JSON: that holds no other bytes than UTF-8.
bool is_base(std::string_view base) {
  return !base.empty() && base.size() <= kBaseNameMax && base == printable(base);
}

}  // namespace

ComponentBases component_bases(const Manifest& manifest) {
  struct Found {
    std::optional<IndexName> index;  // the one that loaders look for first
    std::string_view only;
    std::size_t tensors_files = 0;
  };
  std::map<std::string_view, Found> folders;
  for (const FileEntry& file : manifest.root().files) {
    const std::string_view folder = folder_of(file.path);
    const std::string_view name = std::string_view(file.path).substr(folder.size());
    Found& found = folders[folder];
    if (const auto index = index_name(name)) {
      if (!found.index || index_rank(*index) < index_rank(*found.index)) found.index = index;
    } else if (file.kind == FileKind::kTensors) {
      ++found.tensors_files;
      found.only = name.substr(0, name.size() - kTensorsEnding.size());
    }
  }
  ComponentBases bases;
  for (const auto& [folder, found] : folders) {
    if (found.tensors_files == 0) continue;
    std::string_view base;
    if (found.index) base = found.index->base;
    if (base.empty() && found.tensors_files == 1) base = found.only;
    bases.emplace(folder, is_base(base) ? base : "model");
  }
  return bases;
}

std::string index_path(std::string_view folder, const ComponentBases& bases) {
  return std::string(folder) + bases.find(folder)->second + std::string(kIndexEnding);
}

std::vector<TextFile> compact_indexes(const Manifest& manifest,
                                      const std::vector<CompactFile>& files) {
  struct Index {
    std::map<std::string, std::string> weights;
    std::uint64_t bytes = 0;
  };
  std::map<std::string, Index, std::less<>> by_folder;
  for (const CompactFile& file : files) {
    const std::string_view folder = folder_of(file.path);
    Index& index = by_folder[std::string(folder)];
    for (const TensorRows& rows : file.tensors) {
      index.weights[info_of(manifest, rows).name] = file.path.substr(folder.size());
    }
    index.bytes += bytes_of(manifest, file.tensors);
  }
  const ComponentBases bases = component_bases(manifest);
  std::vector<TextFile> texts;
  for (const auto& [folder, index] : by_folder) {
    const Json json = {{"metadata", {{"total_size", index.bytes}}}, {"weight_map", index.weights}};
    texts.push_back({.path = index_path(folder, bases), .text = json.dump(2) + "\n"});
  }
  return texts;
}

std::string shard_text(const Manifest& manifest, const Outline& outline,
                       const std::vector<HoldingStep>& steps, const std::vector<CompactFile>& parts,
                       bool complete) {
  std::vector<TensorRows> rows;
  Json files = Json::array();
  for (const CompactFile& file : parts) {
    rows.insert(rows.end(), file.tensors.begin(), file.tensors.end());
    files.push_back({{"path", file.path}, {"tensor_bytes", bytes_of(manifest, file.tensors)}});
  }
  const TensorSet held = normalized(std::move(rows));
  Json selection = Json::array();
  for (const HoldingStep& step : steps) {
    selection.push_back({{step.drop ? "drop" : "fetch", describe(step.selection)}});
  }
  Json slices = Json::array();
  for (const TensorRows& part : held) {
    const TensorInfo& info = info_of(manifest, part);
    const std::uint64_t all = row_count(info);
    if (part.rows == Rows{0, all}) continue;
    slices.push_back(
        {{"tensor", info.name}, {"rows", {part.rows.begin, part.rows.end}}, {"of", all}});
  }
  const Json json = {{"format", "shardswarm shard"},
                     {"version", 1},
                     {"model", to_hex(manifest.id())},
                     {"complete", complete},
                     {"selection", selection},
                     {"tensors", held.size()},
                     {"tensor_bytes", shardswarm::bytes_of(held, manifest)},
                     {"layers", layers_json(manifest, outline, held)},
                     {"slices", slices},
                     {"files", files}};
  return json.dump(2) + "\n";
}

}  // namespace shardswarm
