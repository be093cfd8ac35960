// One socket under the core: waits for readiness, moves bytes between transport and session.
// Network thread only, but for move().
#pragma once

#include <array>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "storage/store.h"
#include "swarm/core.h"
#include "transport/transport.h"

namespace shardswarm {

class Shell;

// A piece ready to be sent: a range of a file (sendfile), or its bytes.
struct PreparedPiece {
  FileRange range;
  PieceBuffer buffer;
  std::shared_ptr<Store> store;  // whose file the range is in: it stays open
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // `address` as dialed, or as observed. `identity` null: plaintext.
  Connection(Shell& shell, ConnectionId id, asio::ip::tcp::socket socket, std::string address,
             bool dialed, const Identity* identity);

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
  void move();                   // any thread
  std::size_t expected() const;  // of move(): how many bytes, most likely
  void resume_receive();         // after sending, if receiving was blocked

  ConnectionId id() const { return id_; }
  bool up() const { return up_; }
  bool can_send_file() const { return transport_->can_send_file(); }
  void prepared(ModelKey model, PieceIndex piece, std::shared_ptr<PreparedPiece> source);
  void release(ModelKey model, PieceIndex piece);

 private:
  void handshake();
  std::size_t asked() const;
  void note_moved();
  bool find_source(const OutputExtent& extent);
  bool sent(const Result<Moved>& moved);
  void drain();
  void bound_unsent();
  void wait_for(Wait what);
  void closed(std::optional<Error> error);

  Shell& shell_;
  ConnectionId id_;
  asio::ip::tcp::socket socket_;
  asio::steady_timer deadline_;
  std::string address_;
  bool dialed_;
  std::unique_ptr<Transport> transport_;
  std::map<std::pair<ModelKey, PieceIndex>, std::shared_ptr<PreparedPiece>> prepared_;
  // The source of the extent under way: kept although the core may have released the piece.
  std::pair<ModelKey, PieceIndex> current_{};
  std::shared_ptr<PreparedPiece> current_source_;
  // Between a begin and its end; without an extent it receives.
  std::array<std::span<std::byte>, 2> into_;
  std::optional<OutputExtent> extent_;
  Result<Moved> moved_;
  std::size_t last_received_ = 0;  // by one move() that moved anything
  std::size_t last_sent_ = 0;
  bool dry_ = false;  // in this pass it moved less than it was asked to
  std::size_t received_in_pass_ = 0;
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
