// A node's sockets: listening, dialing, connections that come and go. Network thread only.
#pragma once

#include <asio/ip/tcp.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "node/refusal_log.h"
#include "swarm/actions.h"
#include "transport/congestion.h"
#include "transport/dial.h"
#include "transport/listener.h"

namespace shardswarm {

struct ShellContext;
class Turns;

class Network {
 public:
  using PieceLost = std::function<void(ModelKey, PieceIndex)>;

  // `piece_lost`: the file of a piece ended while it was sent. `closed`: a connection is gone.
  Network(ShellContext& context, Turns& turns, PieceLost piece_lost, std::function<void()> closed)
      : context_(context),
        turns_(turns),
        piece_lost_(std::move(piece_lost)),
        closed_(std::move(closed)) {}

  Result<void> listen();  // before start()
  void start();           // accepts from now on
  void stop_listening() { listener_->close(); }
  const Listener& listener() const { return *listener_; }  // after listen()
  void dial(const std::string& address);
  // Sends what is queued, then closes.
  void finish(ConnectionId id) const;
  void abort_all();

  // --- for Connection ---
  ShellContext& context() { return context_; }
  Turns& turns() { return turns_; }
  void piece_lost(ModelKey model, PieceIndex piece) const { piece_lost_(model, piece); }
  // `up`: the core knows of it.
  void connection_closed(ConnectionId id, const std::string& address, bool dialed, bool up,
                         std::optional<Error> error);

 private:
  void accept(asio::ip::tcp::acceptor& acceptor);
  void drop_stranger();
  void adopt(asio::ip::tcp::socket socket, std::string address, std::shared_ptr<Dial> dial);
  void log_refusal(const std::string& address, const Error& error);

  ShellContext& context_;
  Turns& turns_;
  PieceLost piece_lost_;
  std::function<void()> closed_;
  Congestion congestion_;
  std::optional<Listener> listener_;
  std::map<ConnectionId, std::shared_ptr<Dial>> dials_;  // what dialed connections came from
  RefusalLog refusals_;
  std::uint64_t next_connection_ = 1;
};

}  // namespace shardswarm
