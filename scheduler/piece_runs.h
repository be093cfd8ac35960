// Runs of pieces, as messages name them: built one by one, and gone through.
#pragma once

#include <span>
#include <vector>

#include "base/ids.h"

namespace shardswarm {

// REQUIRES: pieces come in ascending order.
inline void append(std::vector<PieceRun>& runs, PieceIndex piece) {
  if (!runs.empty() && runs.back().first.value + runs.back().count == piece.value) {
    ++runs.back().count;
  } else {
    runs.push_back({piece, 1});
  }
}

template <class F>
void for_pieces(std::span<const PieceRun> runs, F&& f) {
  for (const PieceRun& run : runs) {
    for (std::uint32_t i = 0; i < run.count; ++i) f(PieceIndex(run.first.value + i));
  }
}

}  // namespace shardswarm
