#include "bench/lan/bound.h"

#include <algorithm>

namespace shardswarm::bench {

std::optional<Bound> lower_bound(std::span<const BoundNode> nodes, std::uint64_t union_bytes) {
  double source_up = 0;
  double all_up = 0;
  double wanted_bits = 0;
  Bound downlink{.seconds = 0, .which = "downlink"};
  for (const BoundNode& node : nodes) {
    if (!node.up || !node.down) return std::nullopt;
    all_up += *node.up;
    if (node.source) {
      source_up += *node.up;
      continue;
    }
    const double bits = 8 * static_cast<double>(node.wanted_bytes);
    wanted_bits += bits;
    downlink.seconds = std::max(downlink.seconds, node.start_seconds + bits / *node.down);
  }
  if (source_up <= 0) return std::nullopt;
  const Bound uplink{.seconds = 8 * static_cast<double>(union_bytes) / source_up,
                     .which = "source uplink"};
  const Bound all{.seconds = wanted_bits / all_up, .which = "all uplinks"};
  return std::max({uplink, downlink, all},
                  [](const Bound& a, const Bound& b) { return a.seconds < b.seconds; });
}

}  // namespace shardswarm::bench
