#include "storage/piece_check.h"

#include <algorithm>

#include "storage/file.h"
#include "storage/parallel.h"

namespace shardswarm {

std::vector<CheckedPiece> check_pieces(const Manifest& manifest,
                                       const std::vector<PieceCheck>& checks, Workers& workers,
                                       const std::atomic<bool>* cancel) {
  std::vector<CheckedPiece> results(checks.size());
  parallel_for(workers, checks.size(), [&](std::size_t i) {
    if (cancel != nullptr && cancel->load()) return;
    thread_local std::vector<std::byte> buffer;
    const PieceCheck& check = checks[i];
    buffer.resize(check.extent.length);
    if (!read_exactly(check.fd, check.extent.offset, buffer, "")) return;
    results[i].xxh3 = xxh3_64(buffer);
    results[i].ok = check.xxh3 ? results[i].xxh3 == *check.xxh3
                               : sha256(buffer) == manifest.digest(check.piece);
  });
  return results;
}

std::string describe_piece(const Manifest& manifest, PieceIndex piece) {
  const PieceExtent extent = manifest.extent(piece);
  const FileEntry& file = manifest.file(extent.file);
  std::string text = file.path + ": ";
  const auto tensors = manifest.tensors(extent.file);
  const auto next = std::ranges::upper_bound(tensors, piece, {}, &TensorEntry::first_piece);
  if (next != tensors.begin()) text += "tensor '" + std::prev(next)->info.name + "', ";
  return text + "piece " + std::to_string(piece.value) + " (bytes " +
         std::to_string(extent.offset) + "-" + std::to_string(extent.offset + extent.length - 1) +
         ")";
}

}  // namespace shardswarm
