// The virtual network: hosts with an uplink and a downlink, racks behind an oversubscribed core,
// flows of bytes between hosts. Links serve their flows in turn, `quantum` bytes each (small
// messages of flows that have nothing else waiting go first, as under fair queueing); a flow has at
// most its window on the way, and none while the receiver does not read. Knows nothing of sessions.
// Deterministic; not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace shardswarm::sim {

using HostIndex = StrongIndex<struct HostIndexTag>;
using FlowIndex = StrongIndex<struct FlowIndexTag>;

struct LinkRates {
  double up = 0;  // bytes a second
  double down = 0;
};

class Network {
 public:
  struct Options {
    std::uint32_t quantum_bytes = 16U << 10;
    std::uint32_t window_bytes = 256U << 10;  // of a flow: taken from the sender, not yet read
  };
  explicit Network(Options options);
  ~Network();

  std::uint32_t add_rack(LinkRates rates);
  HostIndex add_host(LinkRates rates, Duration latency, std::optional<std::uint32_t> rack);
  // One direction of a connection. Reused once closed.
  FlowIndex open(HostIndex from, HostIndex to);
  void close(FlowIndex flow);  // what is on the way is lost

  // Bytes that the sender's kernel would take now.
  std::uint32_t room(FlowIndex flow) const;
  void send(FlowIndex flow, std::uint32_t bytes, Time now);  // REQUIRES: bytes <= room(flow)
  std::uint32_t readable(FlowIndex flow) const;              // arrived and not read
  void read(FlowIndex flow, std::uint32_t bytes, Time now);  // opens the window after the way back

  // The next thing that happens on the network.
  std::optional<Time> next() const;
  struct Change {
    FlowIndex flow;
    bool arrived = false;  // more is readable at the receiver; else the sender has room again
  };
  // Handles what happens at next(), which is then `now`; appends what hosts may notice.
  void advance(std::vector<Change>& changes);
  std::uint64_t events() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardswarm::sim
