// The connections of a node, and how they end.
//
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/flat_map.h"
#include "swarm/actions.h"
#include "swarm/link.h"

namespace shardswarm {

class Links {
 public:
  using Table = FlatMap<ConnectionId, Link>;

  explicit Links(Outbox& out) : out_(out) {}

  // `authenticated`: what TLS proved of the peer.
  Link& add(ConnectionId connection, const Hello& self, std::optional<NodeId> authenticated);
  std::unique_ptr<Table::Entry> extract(ConnectionId connection);  // null if there is none
  Link* find(ConnectionId connection);
  const Link* find(ConnectionId connection) const;
  std::size_t size() const { return table_.size(); }
  bool empty() const { return table_.empty(); }

  // In the order of their ids, which is that of their coming.
  Table::iterator begin() { return table_.begin(); }
  Table::iterator end() { return table_.end(); }
  Table::const_iterator begin() const { return table_.begin(); }
  Table::const_iterator end() const { return table_.end(); }
  Table::iterator after(ConnectionId connection) { return table_.upper_bound(connection); }

  // Queues CLOSE. The connection stands until it is extracted; a second close does nothing.
  void close(Link& link, CloseReason reason, std::string_view text);
  // It broke a rule of the protocol.
  void protocol_error(Link& link, std::string_view text);
  // What has to hold of this connection does not: a fault of this program. Only the connection ends
  // by it, in release builds too.
  void our_bug(Link& link, std::string_view text);

  // A *neighbour* has said HELLO, is not closing and is no visitor. To be called after each change
  // of what makes a neighbour, but for closing.
  void count_neighbour(Link& link);
  std::uint32_t neighbours() const { return neighbours_; }
  std::uint32_t near_neighbours() const { return near_neighbours_; }
  // Whether any came or went since this was last asked.
  bool take_neighbours_changed() { return std::exchange(neighbours_changed_, false); }

  // It may have something to send, or room to receive.
  void mark_ready(const Link& link) { ready_.insert(link.id); }
  const FlatSet<ConnectionId>& ready() const { return ready_; }
  FlatSet<ConnectionId> take_ready() { return std::exchange(ready_, {}); }

 private:
  Outbox& out_;
  Table table_;
  Link* last_found_ = nullptr;  // by find(): many calls are for the same link as the last
  FlatSet<ConnectionId> ready_;
  std::uint32_t neighbours_ = 0;
  std::uint32_t near_neighbours_ = 0;
  bool neighbours_changed_ = true;
};

}  // namespace shardswarm
