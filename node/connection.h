// One socket under the core: waits for readiness, moves bytes between transport and session.
// Network thread only, but for move().
#pragma once

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>

#include "node/prepared_pieces.h"
#include "node/transfer.h"
#include "swarm/actions.h"
#include "transport/transport.h"

namespace shardswarm {

class Network;
struct ShellContext;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // `address` as dialed, or as observed.
  Connection(Network& network, ConnectionId id, asio::ip::tcp::socket socket, std::string address,
             bool dialed);

  void start();                            // handshake, then tells the core
  void finish();                           // flush, then close
  void abort(std::optional<Error> error);  // close now

  // A pass: what several connections can receive, or send, at the same time. It begins for each; a
  // begin then asks the core, and says whether there is something to move; move() and the same
  // way's end must follow, which tells the core, and says whether to begin again.
  void begin_pass();
  bool begin_receive();
  bool end_receive();
  bool had_its_part() const;  // of the pass: it has received so much that others come first
  bool begin_send();          // what is no piece's is sent at once
  bool end_send();
  void move() { transfer_.move(*transport_, prepared_); }        // any thread
  std::size_t expected() const { return transfer_.expected(); }  // of move(): bytes, most likely
  void resume_receive();  // after sending, if receiving was blocked

  ConnectionId id() const { return id_; }
  bool up() const { return up_; }
  bool can_send_file() const { return transport_->can_send_file(); }
  PreparedPieces& prepared() { return prepared_; }

 private:
  void handshake();
  bool sent(const Result<Moved>& moved);
  void drain();
  void bound_unsent();
  void wait_for(Wait what);
  void closed(std::optional<Error> error);

  ShellContext& context();

  Network& network_;
  ConnectionId id_;
  asio::ip::tcp::socket socket_;
  asio::steady_timer deadline_;
  std::string address_;
  bool dialed_;
  std::unique_ptr<Transport> transport_;
  PreparedPieces prepared_;
  Transfer transfer_;
  std::optional<Error> error_;  // of the handshake, while draining
  int unsent_max_ = 0;          // as the kernel knows it
  bool up_ = false;             // handshake done, known to the core
  bool waiting_read_ = false;
  bool waiting_write_ = false;
  bool receive_blocked_ = false;  // by the core (no buffer, no turn), or TLS has to send first
  bool finishing_ = false;        // the core asked to close after what is queued
  bool draining_ = false;         // all is sent; waiting for the other side to close
  bool said_end_ = false;         // and that it is all, too
  bool closed_ = false;
};

}  // namespace shardswarm
