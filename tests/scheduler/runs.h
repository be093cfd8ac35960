// Pieces, one by one.
#pragma once

#include <vector>

#include "piece/piece_set.h"

namespace shardswarm::test {

using Runs = std::vector<PieceRun>;

template <class F>
void for_pieces(const Runs& runs, F&& f) {
  for (const PieceRun& run : runs) {
    for (std::uint32_t i = 0; i < run.count; ++i) f(PieceIndex(run.first.value + i));
  }
}

}  // namespace shardswarm::test
