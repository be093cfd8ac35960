// Sets of pieces on the wire: as runs or as a bitmap, whichever is smaller, cut into messages.
// Format: spec/protocol.md, "Sets of pieces".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/ids.h"

namespace shardswarm {

// The set of one message. At most one of `runs` and `bitmap` is not empty; neither: no pieces.
struct PieceChunk {
  std::vector<std::uint32_t> runs;  // gap, length, gap, length, ...
  std::uint32_t bitmap_first = 0;
  std::vector<std::byte> bitmap;
};

// Whether runs are ascending, disjoint, not empty and below kPiecesMax.
bool valid_runs(std::span<const PieceRun> runs);

// Cuts a set into chunks that each fit a control frame. An empty set gives one empty chunk.
// REQUIRES: valid_runs(runs); they outlive the cutter. Not thread-safe.
class PieceCutter {
 public:
  explicit PieceCutter(std::span<const PieceRun> runs) : runs_(runs) {}
  bool done() const { return started_ && at_ == runs_.size(); }
  PieceChunk next();  // REQUIRES: !done()

 private:
  // The next stretch that a bitmap could cover, and what each form would cost for it.
  struct Window {
    std::uint64_t end = 0;  // one past its last piece
    std::size_t bitmap_bytes = 0;
    std::size_t run_bytes = 0;
    bool whole = false;  // nothing is left after it
  };
  PieceRun run(std::size_t index) const;
  Window window() const;
  PieceChunk take_bitmap(const Window& window);
  PieceChunk take_runs();

  std::span<const PieceRun> runs_;
  std::size_t at_ = 0;       // the first run not taken whole
  std::uint32_t taken_ = 0;  // pieces of it that are
  bool started_ = false;
};

// Checks and unfolds a received chunk. kProtocol: what is wrong with it.
Result<std::vector<PieceRun>> decode_pieces(std::span<const std::uint32_t> runs,
                                            std::uint32_t bitmap_first,
                                            std::span<const std::byte> bitmap);

}  // namespace shardswarm
