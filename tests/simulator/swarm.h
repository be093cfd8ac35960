// Runs a scenario: the real cores of all nodes on a virtual clock, network and disk, in one thread.
// The same scenario and seed give the same outcome, bit for bit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "simulator/scenario.h"

namespace shardswarm::sim {

struct NodeOutcome {
  std::string name;
  std::uint64_t wanted_bytes = 0;     // of a fetcher's pieces
  std::optional<Time> finished;       // last piece written and the store finished
  std::optional<Time> first_layer;    // every piece of some layer of its selection written
  std::uint64_t fetched_bytes = 0;    // piece payload
  std::uint64_t duplicate_bytes = 0;  // of these, for nothing
  std::uint64_t sent_bytes = 0;       // piece payload
  std::string error;                  // of a failed fetch
};

struct Outcome {
  std::vector<NodeOutcome> nodes;  // as in the scenario
  std::uint32_t pieces = 0;        // of the model
  std::uint64_t model_bytes = 0;
  Time makespan{};           // the last ordinary fetcher that stays has finished
  bool complete = false;     // each of them has
  double source_copies = 0;  // payload sent by seeds / bytes of pieces anyone wants
  std::uint64_t duplicate_bytes = 0;
  std::uint64_t control_messages = 0;  // frames other than DATA, received by all
  std::uint64_t control_bytes = 0;     // all bytes sent but payload
  std::uint64_t events = 0;            // handled by the simulator
};

// `pieces_wanted` of each node is resolved by the real selection. REQUIRES: a scenario that
// parse_scenario() accepted.
Outcome run(const Scenario& scenario, std::uint64_t seed);

// What each node wants, in the order of the scenario; empty for seeds. The manifest is made as
// run() makes it.
struct Wants {
  std::shared_ptr<const Manifest> manifest;
  std::vector<PieceSet> pieces;
};
Wants resolve_wants(const Scenario& scenario);

}  // namespace shardswarm::sim
