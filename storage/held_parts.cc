#include "storage/held_parts.h"

#include <algorithm>

namespace shardswarm {
namespace {

// Tensors of one layer.
struct Count {
  std::uint64_t all = 0;
  std::uint64_t whole = 0;
  std::uint64_t any = 0;
};

template <class Wanted>
std::string ranges_text(const std::vector<Count>& layers, Wanted wanted) {
  std::string text;
  for (std::size_t first = 0; first < layers.size(); ++first) {
    if (!wanted(layers[first])) continue;
    std::size_t last = first;
    while (last + 1 < layers.size() && wanted(layers[last + 1])) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(first);
    if (last > first) text += '-' + std::to_string(last);
    first = last;
  }
  return text;
}

bool is_whole(const Count& layer) { return layer.all > 0 && layer.whole == layer.all; }
bool is_in_part(const Count& layer) { return layer.any > 0 && layer.whole < layer.all; }

}  // namespace

HeldParts held_parts(const TensorSet& held, const std::vector<bool>& files,
                     const Manifest& manifest, const Outline& outline) {
  HeldParts parts;
  std::vector<std::vector<Count>> stacks;
  stacks.reserve(outline.stacks.size());
  for (const Stack& stack : outline.stacks) stacks.emplace_back(stack.numbered);
  for (const OutlineTensor& tensor : outline.tensors) {
    const auto rows = std::ranges::lower_bound(held, TensorRows{tensor.file, tensor.tensor, {}});
    const bool any =
        rows != held.end() && rows->file == tensor.file && rows->tensor == tensor.tensor;
    if (tensor.stack == kNoStack) {
      ++parts.outside_of;
      if (any) parts.outside.push_back(outline.full_name(tensor, manifest));
      continue;
    }
    Count& layer = stacks[tensor.stack][tensor.layer];
    ++layer.all;
    if (!any) continue;
    ++layer.any;
    if (rows->rows == Rows{0, row_count(info_of(manifest, tensor))}) ++layer.whole;
  }
  for (std::size_t i = 0; i < stacks.size(); ++i) {
    HeldLayers layers{.stack = outline.stacks[i].name,
                      .whole = ranges_text(stacks[i], is_whole),
                      .in_part = ranges_text(stacks[i], is_in_part),
                      .of = outline.stacks[i].numbered,
                      .main_stack = i == 0};
    if (!layers.whole.empty() || !layers.in_part.empty()) parts.layers.push_back(std::move(layers));
  }
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const FileEntry& file = manifest.file(FileIndex(i));
    if (file.kind == FileKind::kTensors) continue;
    ++parts.files_of;
    if (files[i]) parts.files.push_back(file.path);
  }
  return parts;
}

}  // namespace shardswarm
