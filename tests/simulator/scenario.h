// What is simulated: nodes with their links, what they hold and want, when they come and go.
// Read from a JSON file; the format and an example stand in tests/simulator/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "piece/load_order.h"
#include "piece/manifest.h"
#include "piece/selection.h"
#include "swarm/core.h"

namespace shardswarm::sim {

// Layers of equal tensors, an embedding and a head; cut by the real tiling. Or a checkpoint's.
struct ModelShape {
  std::uint32_t pieces = 2000;           // about: whole tensors of eight pieces
  std::uint32_t piece_bytes = 1U << 20;  // of every piece
  std::uint32_t layers = 32;
  std::shared_ptr<const Manifest> checkpoint;  // instead of the above
};

enum class Behaviour : std::uint8_t {
  kOrdinary,
  kHoards,  // fetches and announces, claims what is asked of it, and never sends a piece
};

struct NodeSpec {
  std::string name;
  double up = 125e6;  // bytes a second
  double down = 125e6;
  Duration latency = std::chrono::microseconds(100);  // its own link, one way: two make a path
  double disk = 2e9;    // bytes a second written, one piece after the other
  double hash = 1.8e9;  // bytes a second hashed
  std::string rack;     // of a RackSpec, or empty: directly at the core
  std::string site;     // told to the peers (CoreOptions::hello); empty: none
  bool seed = false;    // holds everything from its start
  Selection selection;  // of a fetcher
  Duration joins{};
  std::optional<Duration> leaves;  // at this time it is gone, whatever it was doing
  Behaviour behaviour = Behaviour::kOrdinary;
  std::vector<std::string> peers;  // names it is given at its start; empty: all seeds
};

struct RackSpec {  // the link of a rack's switch to the core of the network
  std::string name;
  double up = 1.25e9;
  double down = 1.25e9;
};

struct Scenario {
  std::string name;
  ModelShape model;
  std::vector<NodeSpec> nodes;
  std::vector<RackSpec> racks;
  bool learn = false;  // fetchers learn the manifest from their peers; else they know it already
  // Rules of every node; hello, seed and listening port are set by the simulator.
  CoreOptions core;
  FetchOrder order = FetchOrder::kRarest;
  // The transport: what the kernel takes from a node beyond what the other side has received, a
  // connection and direction (TCP_NOTSENT_LOWAT and the congestion window together).
  std::uint32_t socket_bytes = 256U << 10;
  // What a link serves of one flow before the next has its turn.
  std::uint32_t quantum_bytes = 16U << 10;
  // The least time between two turns of a node's event loop: what comes meanwhile is handled
  // together. Nothing is the most exact; with many nodes a run takes as many times longer.
  Duration turn{};
  Duration limit = std::chrono::hours(1);  // virtual time after which the run is given up
};

// kUsage says where and what; also for values that make no sense (rates of zero, unknown racks,
// nobody who seeds). Each of `set` puts one member over what the JSON has: "rules.leases=false",
// "nodes.1.count=63" (elements by number), "model.piece=256KiB" (text needs no quotes).
Result<Scenario> parse_scenario(std::string_view json, std::span<const std::string> set = {});
Result<Scenario> read_scenario(const std::filesystem::path& file,
                               std::span<const std::string> set = {});

}  // namespace shardswarm::sim
