// What the uploading side knows of a peer, one model. Private to scheduler/upload.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"
#include "piece/digest.h"
#include "piece/piece_set.h"
#include "scheduler/rate.h"
#include "scheduler/sparse_set.h"

namespace shardswarm {

// Leases that lapsed, less the pieces that were passed on since. More than kLapsesKept do not
// count: who was out of reach for a while makes up for it by what waited meanwhile.
inline constexpr std::uint32_t kLapsesMax = 2;
inline constexpr std::uint32_t kLapsesKept = 8;

struct UploadPeer {
  UploadPeer(std::uint32_t pieces, const NodeId& node)
      : id(node), have(pieces), wants(pieces), given(pieces), pulled(pieces), offered(pieces) {}
  NodeId id;
  PieceSet have;
  PieceSet wants;  // and does not have
  PieceSet given;  // chosen for it, and not announced by it yet
  SparseSet pulled;
  SparseSet offered;
  std::vector<std::uint64_t> connected;  // short ids, sorted
  std::optional<Time> presumed_until;    // counts as connected to all
  std::uint64_t credit = 0;
  std::uint64_t queued = 0;  // bytes chosen and not sent
  std::uint32_t lapses = 0;
  std::optional<Time> held_until;  // first copies wait for others
  RateMeter rate;

  bool lapsed() const { return lapses >= kLapsesMax; }
  bool requests(PieceIndex piece) const {
    return pulled.contains(piece) || offered.contains(piece);
  }
};

}  // namespace shardswarm
