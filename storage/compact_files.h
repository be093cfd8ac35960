// The files that a compact directory has beside tensors' bytes: headers of its safetensors files,
// the index of each component, shard.json.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "piece/manifest.h"
#include "piece/outline.h"
#include "storage/holding.h"

namespace shardswarm {

inline constexpr std::string_view kShardFileName = "shard.json";

// By folder (with its '/', or "") that holds tensors files: what its index and unit files are named
// after, see CPT-2 of spec/compact.md.
using ComponentBases = std::map<std::string, std::string, std::less<>>;
// Of a longer name further names could not be made: a file's name has at most 255 bytes.
inline constexpr std::size_t kBaseNameMax = 100;
ComponentBases component_bases(const Manifest& manifest);
// The index of such a folder.
std::string index_path(std::string_view folder, const ComponentBases& bases);

// Whether a compact directory has a file of its own under this path of the root: shard.json, and an
// index beside safetensors files. The original is kept below .shardswarm/original/ and served from
// there.
bool replaced_by_ours(std::string_view path, const ComponentBases& bases);

// The header of a safetensors file with these tensors in this order: metadata of the files that
// they come from, rows of a slice as the tensor's own shape, padded so that the data begins at a
// multiple of 4096. kLimit beyond the format's 100,000,000 bytes.
Result<Blob> compact_header(const Manifest& manifest, const std::vector<TensorRows>& tensors);

// Sorted as writers do: widest dtype first, then by name. So every tensor is aligned to its dtype.
void sort_for_writing(std::vector<TensorRows>& tensors, const Manifest& manifest);

// Path and text of each component's index over `files`; components without files have none.
struct TextFile {
  std::string path;
  std::string text;
};
std::vector<TextFile> compact_indexes(const Manifest& manifest,
                                      const std::vector<CompactFile>& files);

// The text of shard.json: model id, what the steps were, which layers are here whole, slices, the
// files. Format: spec/compact.md, section "shard.json".
std::string shard_text(const Manifest& manifest, const Outline& outline,
                       const std::vector<HoldingStep>& steps, const std::vector<CompactFile>& parts,
                       bool complete);

}  // namespace shardswarm
