// The time that no schedule can beat on links of these rates. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace shardswarm::bench {

// One node, as far as the links are concerned.
struct BoundNode {
  bool source = false;             // has everything from the start
  std::optional<double> up, down;  // bits a second of its host; none: not known
  std::uint64_t wanted_bytes = 0;
  double start_seconds = 0;  // when it joined, after the first fetcher
};

struct Bound {
  double seconds = 0;
  std::string which;  // "source uplink", "downlink", "all uplinks"
};

// The largest of: the union of what is wanted, once over the sources' uplinks; each fetcher's bytes
// over its downlink, after it joined; all that is wanted over all uplinks. At the raw rates: of
// these, headers take 4.4 % of frames of 1514 bytes. nullopt if a rate is not known.
std::optional<Bound> lower_bound(std::span<const BoundNode> nodes, std::uint64_t union_bytes);

}  // namespace shardswarm::bench
