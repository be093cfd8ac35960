// The network thread's turns: what is readable is received, the core settles, what it asks for is
// carried out, what it has to say is sent.
//
// Moving bytes between sockets and memory or files is where a network thread's time goes, the
// core's part of it is small: so when several connections move much in a turn, further threads help
// with that alone, and the core stays on this one.
#pragma once

#include <asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "base/flat_map.h"
#include "node/fork_join.h"
#include "swarm/actions.h"

namespace shardswarm {

class Connection;
struct ShellContext;

class Turns {
 public:
  using CarryOut = std::function<void(Action&&)>;

  Turns(ShellContext& context, CarryOut carry_out, std::function<void()> after_turn);

  void schedule();                   // soon; any number of calls until then make one turn
  void to_receive(ConnectionId id);  // soon: in this turn, if one is under way
  void to_send(ConnectionId id);
  void stop() { timer_.cancel(); }
  unsigned threads() const { return moving_.threads(); }

 private:
  using Connections = std::vector<std::shared_ptr<Connection>>;

  void turn();
  FlatSet<ConnectionId> receive();
  bool send();
  Connections connections_of(const FlatSet<ConnectionId>& ids) const;
  void pass(Connections connections, bool (Connection::*begin)(), bool (Connection::*end)());
  void move(const Connections& connections);
  void arm_timer();

  ShellContext& context_;
  CarryOut carry_out_;
  std::function<void()> after_turn_;
  asio::steady_timer timer_;          // the core's next deadline
  ForkJoin moving_;                   // the connections' bytes
  FlatSet<ConnectionId> to_receive_;  // may be readable
  FlatSet<ConnectionId> to_send_;     // may have room for bytes
  bool posted_ = false;
};

}  // namespace shardswarm
