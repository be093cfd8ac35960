// Groups of nodes in a scenario: one entry of "nodes" stands for one node, for `count` like nodes,
// or for the ranks of a model split by stages, slices or both.
#pragma once

#include <vector>

#include "simulator/members.h"
#include "simulator/scenario.h"

namespace shardswarm::sim {

// Sets what every node has unless its group says otherwise.
Result<void> read_defaults(NodeSpec& defaults, const Value& value);
// Appends the nodes of the group: NAME of a single one, else NAME-STAGE-SLICE-NUMBER with only the
// numbers that the group has; slices are counted from 0, the others from 1.
Result<void> read_group(std::vector<NodeSpec>& nodes, const NodeSpec& defaults, const Value& value);

}  // namespace shardswarm::sim
