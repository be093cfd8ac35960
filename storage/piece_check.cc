#include "storage/piece_check.h"

#include "base/file.h"
#include "storage/parallel.h"
#include "storage/read_buffer.h"

namespace shardswarm {

std::vector<CheckedPiece> check_pieces(const Manifest& manifest,
                                       const std::vector<PieceCheck>& checks, Workers& workers,
                                       const std::atomic<bool>* cancel) {
  std::vector<CheckedPiece> results(checks.size());
  parallel_for(workers, checks.size(), [&](std::size_t i) {
    if (cancel != nullptr && cancel->load()) return;
    thread_local ReadBuffer buffer;
    const PieceCheck& check = checks[i];
    const auto bytes = buffer.room(check.place.offset, check.place.length);
    if (!read_exactly(check.fd, check.place.offset, bytes, "")) return;
    results[i].xxh3 = xxh3_64(bytes);
    results[i].ok =
        check.xxh3 ? results[i].xxh3 == *check.xxh3 : sha256(bytes) == manifest.digest(check.piece);
  });
  return results;
}

std::string describe_piece(const Manifest& manifest, const Placement& placement, PieceIndex piece) {
  const Place place = *placement.home(piece);
  std::string text = placement.file(place.file).path + ": ";
  if (const auto tensor = manifest.tensor_of(piece)) {
    text += "tensor '" + manifest.tensors(manifest.file_of(piece))[tensor->value].info.name + "', ";
  }
  return text + "piece " + std::to_string(piece.value) + " (bytes " + std::to_string(place.offset) +
         "-" + std::to_string(place.offset + place.length - 1) + ")";
}

}  // namespace shardswarm
