#include "simulator/swarm.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "piece/outline.h"
#include "simulator/host.h"
#include "simulator/model.h"

namespace shardswarm::sim {
namespace {

// Fetchers start so much later than their scenario says, at most: runs of other seeds differ by it
// even where the rules leave nothing to chance.
constexpr Duration kStartSpread = std::chrono::milliseconds(1);

// SplitMix64's step: seeds of hosts that have nothing in common.
std::uint64_t mix(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

std::vector<std::uint32_t> lengths_of(const Manifest& manifest) {
  std::vector<std::uint32_t> lengths(manifest.piece_count());
  for (std::uint32_t i = 0; i < lengths.size(); ++i) {
    lengths[i] = manifest.extent(PieceIndex(i)).length;
  }
  return lengths;
}

std::vector<std::uint32_t> layers_of(const Manifest& manifest) {
  std::vector<std::uint32_t> layers(manifest.piece_count(), kNoLayer);
  for (const OutlineTensor& place : make_outline(manifest).tensors) {
    if (place.stack == kNoStack) continue;
    const TensorEntry& tensor = manifest.tensors(place.file)[place.tensor.value];
    std::fill_n(layers.begin() + tensor.first_piece.value, tensor.pieces, place.layer);
  }
  return layers;
}

class Run {
 public:
  Run(const Scenario& scenario, std::uint64_t seed)
      : scenario_(scenario),
        wants_(resolve_wants(scenario)),
        piece_bytes_(lengths_of(*wants_.manifest)),
        piece_layer_(layers_of(*wants_.manifest)),
        network_({.quantum_bytes = scenario.quantum_bytes, .window_bytes = scenario.socket_bytes}),
        agenda_(scenario.nodes.size(), scenario.turn),
        connections_(network_, agenda_, scenario.socket_bytes, piece_bytes_),
        world_{.agenda = agenda_,
               .connections = connections_,
               .manifest = wants_.manifest,
               .piece_bytes = piece_bytes_,
               .piece_layer = piece_layer_,
               .host_by_address = host_by_address_,
               .order = scenario.order,
               .latencies = {}} {
    add_network();
    add_hosts(seed);
  }

  Outcome run() {
    while (!pending_.empty()) {
      const auto network = network_.next();
      const bool jobs = !agenda_.queue().empty();
      if (!network && !jobs) break;
      // What arrives at a time is there before the hosts settle it.
      const bool arrives = network && (!jobs || *network <= agenda_.queue().top().at);
      const Time next = arrives ? *network : agenda_.queue().top().at;
      if (next > scenario_.limit) {
        agenda_.now = scenario_.limit;
        break;
      }
      if (arrives) {
        advance_network(next);
      } else {
        ++jobs_;
        handle(agenda_.pop());
      }
    }
    return outcome();
  }

 private:
  void add_network();
  void add_hosts(std::uint64_t seed);
  void advance_network(Time now);
  void handle(Job job);
  void handle_present(Host& host, Job job);
  void join(Host& host, std::uint32_t index);
  Outcome outcome() const;

  const Scenario& scenario_;
  const Wants wants_;
  const std::vector<std::uint32_t> piece_bytes_;
  const std::vector<std::uint32_t> piece_layer_;
  std::map<std::string, std::uint32_t> host_by_address_;
  std::vector<Duration> latencies_;
  std::vector<std::string> seeds_;  // their addresses
  Network network_;
  Agenda agenda_;
  Connections connections_;
  World world_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::set<std::uint32_t> pending_;  // fetchers that the run waits for
  std::vector<Network::Change> changes_;
  std::uint64_t jobs_ = 0;
};

void Run::add_network() {
  std::map<std::string, std::uint32_t> racks;
  for (const RackSpec& rack : scenario_.racks) {
    racks[rack.name] = network_.add_rack({.up = rack.up, .down = rack.down});
  }
  for (const NodeSpec& node : scenario_.nodes) {
    const auto rack = node.rack.empty() ? std::nullopt : std::optional(racks.at(node.rack));
    network_.add_host({.up = node.up, .down = node.down}, node.latency, rack);
    latencies_.push_back(node.latency);
  }
  world_.latencies = latencies_;
}

void Run::add_hosts(std::uint64_t seed) {
  for (std::uint32_t i = 0; i < scenario_.nodes.size(); ++i) {
    const NodeSpec& node = scenario_.nodes[i];
    const std::string address = address_of(i);
    CoreOptions options = scenario_.core;
    options.hello.node_id = sha256(std::as_bytes(std::span(node.name)));
    options.hello.agent = "simulator";
    options.hello.advertised = {address};
    options.hello.features = kFeatures;
    options.hello.site = node.site;
    const std::uint64_t random = mix(seed, i);
    options.seed = random;
    host_by_address_[address] = i;
    if (node.seed) seeds_.push_back(address);
    hosts_.push_back(std::make_unique<Host>(node, i, std::move(options), world_));
    const Duration late =
        node.seed ? Duration(0) : kStartSpread * static_cast<std::int64_t>(random % 1024) / 1024;
    agenda_.at(node.joins + late, {What::kJoin, i});
    if (node.leaves) agenda_.at(*node.leaves, {What::kLeave, i});
    if (!node.seed && !node.leaves && node.behaviour == Behaviour::kOrdinary) pending_.insert(i);
  }
}

void Run::advance_network(Time now) {
  agenda_.now = now;
  changes_.clear();
  network_.advance(changes_);
  for (const Network::Change& change : changes_) connections_.changed(change);
}

void Run::handle(Job job) {
  Host& host = *hosts_[job.host];
  if (job.what == What::kJoin) {
    join(host, job.host);
  } else if (host.present()) {
    handle_present(host, job);
    if (host.ended()) pending_.erase(job.host);
  }
}

void Run::join(Host& host, std::uint32_t index) {
  std::vector<std::string> addresses;
  for (const std::string& name : host.spec().peers) {
    const auto found = std::ranges::find(scenario_.nodes, name, &NodeSpec::name);
    addresses.push_back(address_of(static_cast<std::uint32_t>(found - scenario_.nodes.begin())));
  }
  host.join(wants_.pieces[index], scenario_.learn ? nullptr : wants_.manifest,
            addresses.empty() ? seeds_ : addresses);
}

void Run::handle_present(Host& host, Job job) {
  switch (job.what) {
    case What::kJoin:
      return;
    case What::kLeave:
      host.leave();
      return;
    case What::kSettle:
      host.settle();
      return;
    case What::kTimer:
      host.timer(agenda_.now);
      return;
    case What::kStored:
      host.stored();
      break;
    case What::kPrepared:
      host.prepared();
      break;
    case What::kOpened:
      host.opened();
      break;
    case What::kShared:
      host.shared(ModelKey(job.value));
      break;
    case What::kFinished:
      host.finished();
      break;
    case What::kDialed:
      host.dialed(*hosts_[job.value]);
      break;
    case What::kEnd:
      connections_.hear_end(job.value);
      break;
  }
  agenda_.wake(job.host);
}

Outcome Run::outcome() const {
  Outcome outcome;
  outcome.pieces = wants_.manifest->piece_count();
  for (const std::uint32_t bytes : piece_bytes_) outcome.model_bytes += bytes;
  outcome.complete = true;
  std::uint64_t by_seeds = 0;
  PieceSet wanted(outcome.pieces);
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    const NodeSpec& node = scenario_.nodes[i];
    NodeOutcome result = hosts_[i]->outcome();
    outcome.duplicate_bytes += result.duplicate_bytes;
    if (node.seed) {
      by_seeds += result.sent_bytes;
    } else {
      wanted |= wants_.pieces[i];
      if (!node.leaves && node.behaviour == Behaviour::kOrdinary) {
        outcome.complete = outcome.complete && result.finished.has_value();
        outcome.makespan = std::max(outcome.makespan, result.finished.value_or(agenda_.now));
      }
    }
    outcome.nodes.push_back(std::move(result));
  }
  std::uint64_t wanted_bytes = 0;
  wanted.for_each([&](PieceIndex piece) { wanted_bytes += piece_bytes_[piece.value]; });
  if (wanted_bytes > 0) {
    outcome.source_copies = static_cast<double>(by_seeds) / static_cast<double>(wanted_bytes);
  }
  outcome.control_messages = connections_.traffic().control_messages;
  outcome.control_bytes = connections_.traffic().control_bytes;
  outcome.events = network_.events() + jobs_;
  return outcome;
}

}  // namespace

Outcome run(const Scenario& scenario, std::uint64_t seed) { return Run(scenario, seed).run(); }

Wants resolve_wants(const Scenario& scenario) {
  Wants wants;
  wants.manifest = make_manifest(scenario.model);
  const Outline outline = make_outline(*wants.manifest);
  std::vector<std::pair<const Selection*, PieceSet>> known;  // most nodes want what others want
  for (const NodeSpec& node : scenario.nodes) {
    if (node.seed) {
      wants.pieces.emplace_back(wants.manifest->piece_count());
      continue;
    }
    const auto same = [&node](const auto& entry) { return *entry.first == node.selection; };
    auto found = std::ranges::find_if(known, same);
    if (found == known.end()) {
      auto resolved = resolve(node.selection, *wants.manifest, outline).value();
      known.emplace_back(&node.selection, std::move(resolved.pieces));
      found = std::prev(known.end());
    }
    wants.pieces.push_back(found->second);
  }
  return wants;
}

}  // namespace shardswarm::sim
