// The shortest time in which a scenario can be done, whatever the rules: the largest of the lower
// bounds that can be proven, in the fluid model (bytes divide without end, no latency).
#pragma once

#include <string>

#include "simulator/swarm.h"

namespace shardswarm::sim {

struct Bound {
  Time time{};
  std::string which;  // "source uplink", "downlink of NAME", "uplinks of all", "uplinks for ..."
};

// The largest of
//  (a) one copy of all pieces that are wanted, over the uplinks of the seeds;
//  (b) for each node its join + wanted bytes / its downlink;
//  (c) for each set of demand classes (pieces wanted by the same nodes): all deliveries of these
//      pieces over the uplinks of the nodes that hold or want any of them. Sets of up to 12 classes
//      are tried out, of more each class alone and all together;
//  (d) for each rack: what must come in (one copy of the union of its wants, unless a seed stands
//      in it) over its downlink from the core, and what must leave it (the same of the others'
//      wants if all seeds stand in it).
// Nodes count from their join to their leaving, and nothing moves before the first of those that
// want it has joined. Nodes that leave are no demand, but may serve while they are there; those
// that hoard do neither. Time::max() if the seeds leave too early.
Bound lower_bound(const Scenario& scenario, const Wants& wants);

}  // namespace shardswarm::sim
