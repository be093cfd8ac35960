#include "piece/load_order.h"

#include <algorithm>

namespace shardswarm {

std::vector<std::uint32_t> load_ranks(const Manifest& manifest, const Outline& outline) {
  std::uint32_t behind = 1;
  for (const Stack& stack : outline.stacks) behind = std::max(behind, stack.numbered + 1);
  std::vector<std::uint32_t> ranks(manifest.piece_count(), 0);
  for (std::uint32_t f = 0; f < manifest.file_count(); ++f) {
    const FileIndex file(f);
    if (manifest.file(file).kind != FileKind::kSpareTensors) continue;
    const auto first = ranks.begin() + manifest.first_piece(file).value;
    std::fill_n(first, manifest.file(file).pieces, behind);
  }
  for (const OutlineTensor& tensor : outline.tensors) {
    const TensorEntry& entry = manifest.tensors(tensor.file)[tensor.tensor.value];
    std::uint32_t rank = 0;
    if (tensor.stack != kNoStack) {
      rank = 1 + tensor.layer;
    } else if (tensor.side == Side::kOutput) {
      rank = behind;
    }
    std::fill_n(ranks.begin() + entry.first_piece.value, entry.pieces, rank);
  }
  return ranks;
}

}  // namespace shardswarm
