// Reading pieces back and checking them, many at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "piece/manifest.h"
#include "storage/placement.h"
#include "storage/workers.h"

namespace shardswarm {

// One piece to be read back. With `xxh3` it is compared with that, else with its SHA-256.
struct PieceCheck {
  PieceIndex piece;
  int fd = -1;
  Place place;  // of the whole piece in that file
  std::optional<std::uint64_t> xxh3;
};

struct CheckedPiece {
  bool ok = false;
  std::uint64_t xxh3 = 0;  // of what was read, if it could be read
};

// Blocks; reads and hashes on all workers, one piece's buffer each. Answers in the order of
// `checks`; once `cancel` is set the rest is not looked at.
std::vector<CheckedPiece> check_pieces(const Manifest& manifest,
                                       const std::vector<PieceCheck>& checks, Workers& workers,
                                       const std::atomic<bool>* cancel = nullptr);

// "model.safetensors: tensor 'x', piece 7 (bytes 100-199)" for messages.
// REQUIRES: the piece has a place.
std::string describe_piece(const Manifest& manifest, const Placement& placement, PieceIndex piece);

}  // namespace shardswarm
