// How far a fetch is, made of samples of the core's state.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "node/shardswarm.h"
#include "swarm/core.h"

namespace shardswarm {

// Turns what the core says of a fetch, about ten times a second, into FetchProgress and
// FetchEvents. Pure: time is an argument. Not thread-safe.
class ProgressMeter {
 public:
  // `root_known`: the root of the manifest has come.
  FetchProgress sample(const ModelStatus& status, bool root_known, Time now);

  // Peers that came and went since the last call, by node id.
  std::vector<FetchEvent> peer_events(const std::map<NodeId, PeerTally>& tallies);

  // From now on the phase is this one: kDone or kFailed.
  void end(FetchPhase phase) { phase_ = phase; }

 private:
  void find_phase(const ModelStatus& status, bool root_known);
  double rate(std::uint64_t fetched_bytes, Time now);

  FetchPhase phase_ = FetchPhase::kConnecting;
  std::deque<std::pair<Time, std::uint64_t>> samples_;  // payload received until then
  std::set<NodeId> connected_;
};

}  // namespace shardswarm
