// The connections between hosts: moves bytes between their cores and the network, and closes as
// sockets do: what was sent before is still read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "simulator/agenda.h"
#include "simulator/network.h"
#include "simulator/stream.h"
#include "swarm/core.h"

namespace shardswarm::sim {

struct Traffic {
  std::uint64_t control_messages = 0;  // frames other than DATA, received
  std::uint64_t control_bytes = 0;     // sent; all but payload
};

class Connections {
 public:
  struct Party {
    std::uint32_t host = 0;
    Core* core = nullptr;
    std::string address;
    Duration latency{};  // of its own link
  };

  // `piece_bytes`: by piece. All must outlive it.
  Connections(Network& network, Agenda& agenda, std::uint32_t window_bytes,
              std::span<const std::uint32_t> piece_bytes);

  void open(const Party& dialer, const Party& listener);
  void write(ConnectionId id);  // what the core has to send
  void read(ConnectionId id);   // what has arrived
  void close(ConnectionId id);  // once all is written
  void changed(const Network::Change& change);
  void hear_end(std::uint32_t end);  // What::kEnd
  void drop_all_of(std::uint32_t host);
  const Traffic& traffic() const { return traffic_; }

 private:
  struct End {
    Core* core = nullptr;
    std::uint32_t host = 0;
    FlowIndex out;
    Duration latency{};  // of the path
    Stream sent;         // and not read by the other end
    bool full = false;   // waits for room on the network
    bool closing = false;
    bool finished = false;  // the core knows it no more
    bool cut = false;       // nor does the network
  };

  static ConnectionId id_of(std::uint32_t end) { return ConnectionId(end + 1); }
  static std::uint32_t end_of(ConnectionId id) { return static_cast<std::uint32_t>(id.value - 1); }
  std::uint32_t take(End& end, ConnectionId id, std::uint32_t room);
  void add_end(const Party& party, FlowIndex out, Duration latency);
  void finish(std::uint32_t end);
  void cut(std::uint32_t end);

  Network& network_;
  Agenda& agenda_;
  std::uint32_t wake_bytes_;  // with so much room or so much readable a node goes to work
  std::span<const std::uint32_t> piece_bytes_;
  std::vector<End> ends_;  // the two of a connection are neighbours
  std::vector<std::uint32_t> end_of_flow_;
  Traffic traffic_;
};

}  // namespace shardswarm::sim
