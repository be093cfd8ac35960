// The core of a node: joins sessions, schedulers and storage events. A state machine without I/O:
// it is told what happened (bytes came, a piece was verified, time passed) and answers with
// actions.
//
// Drive it so: call the event functions; then settle(now); then carry out take_actions(), move
// bytes for the connections in take_output_ready(), and call settle() again at next_deadline().
//
// What it does is the work of its parts (swarm/parts.h). The core itself tells them what happened,
// keeps the order in which they decide, and knows when the next of them has something to do.
//
// Not thread-safe: one network thread (or a simulator) drives it. Time and randomness are handed
// in; the buffer pool is shared with the storage that writes from it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "base/time.h"
#include "swarm/actions.h"
#include "swarm/core_options.h"
#include "swarm/parts.h"
#include "swarm/peer_events.h"
#include "wire/session.h"

namespace shardswarm {

class Core {
 public:
  Core(CoreOptions options, BufferPool& buffers);

  // Before the first connection. `advertised`: empty when peers are to take the address that they
  // see.
  void set_listening(std::uint16_t port, std::vector<std::string> advertised);

  // --- models ---
  // kBusy if this model is here already.
  Result<ModelKey> add_seed(std::shared_ptr<const Manifest> manifest, const PieceSet& have,
                            Time now);
  // kBusy if this model is here already; kUsage if `kept` tells that the selection does not fit.
  Result<ModelKey> add_fetch(FetchRequest request, Time now);
  // Addresses to dial, all of one node: where one of them is refused and the others do not answer,
  // that node is given up.
  void add_node(const std::vector<std::string>& addresses, Time now);
  // `wanted`: pieces that the store needs beside the selection's. `kept_back`: pieces of the
  // selection that it does not take, since somebody changed their files.
  void store_opened(ModelKey model, const PieceSet& have, const PieceSet& wanted,
                    const PieceSet& kept_back, Time now);
  void fetch_failed(ModelKey model, Error error);
  void store_finished(ModelKey model, Time now);
  // `have`: all that was found of it so far.
  void shared_found(ModelKey model, const PieceSet& have, Time now);
  void remove_model(ModelKey model);
  std::shared_ptr<const Manifest> manifest(ModelKey model) const;  // null before the root
  const ResolvedSelection& resolved(ModelKey model) const;         // REQUIRES: ManifestReady
  ModelStatus status(ModelKey model) const;
  const std::map<NodeId, PeerTally>& tallies(ModelKey model) const;
  // Nothing is being sent, and no connected peer wants a piece that only this node holds.
  bool may_leave(ModelKey model) const;
  std::uint64_t control_bytes() const { return parts_.context.control_bytes; }
  // Connections that stand, without visitors: at most 1.5 x CoreOptions::degree.
  std::uint32_t neighbours() const { return parts_.context.links.neighbours(); }

  // --- storage ---
  void piece_stored(ModelKey model, PieceIndex piece, ConnectionId from, std::uint32_t length,
                    const Result<void>& result, Time now);
  void piece_prepared(ConnectionId connection, ModelKey model, PieceIndex piece, bool ok);
  // Some could not be read any more: `have` are left.
  void pieces_lost(ModelKey model, const PieceSet& have);
  // Received and not durable yet; reading pauses above limits::kUndurableBytesMax.
  void undurable(ModelKey model, std::uint64_t bytes, Time now);

  // --- connections ---
  void add_connection(ConnectionId connection, std::string address, bool dialed,
                      std::optional<NodeId> authenticated, Time now);
  // The error's message names the address.
  void dial_failed(const std::string& address, Error error, Time now);
  // Returns why the connection ended if that was before the peer's HELLO.
  std::optional<Error> remove_connection(ConnectionId connection, std::optional<Error> error,
                                         Time now);
  // Of several connections: first receive_spans() of all, without another call between them; then
  // fill them; then received() of all. One may close another, whose bytes are then ignored.
  std::array<std::span<std::byte>, 2> receive_spans(ConnectionId connection);
  void received(ConnectionId connection, std::size_t bytes, Time now);
  // Stands until sent(), whatever is called for others meanwhile.
  Output next_output(ConnectionId connection);
  void sent(ConnectionId connection, std::size_t bytes, Time now);
  // True as well if there is no such connection.
  bool closing(ConnectionId connection) const;
  // Bytes that the transport should hold and not have sent, at most.
  std::uint64_t unsent_max(ConnectionId connection) const;
  ModelKey model_of(ConnectionId connection, Channel channel) const;
  void close_all(CloseReason reason);

  // --- answers ---
  void settle(Time now);
  std::vector<Action> take_actions() { return parts_.context.out.take(); }
  FlatSet<ConnectionId> take_output_ready();  // may have something to send, or room to receive
  std::optional<Time> next_deadline() const;

 private:
  Result<void> make_room_for(const ModelId& id, Time now);
  void accept_waiting(Time now);
  void settle(Model& model, Time now);
  void watch_links(Time now);
  std::optional<Time> next_deadline(const Model& model) const;

  Parts parts_;
  PeerEvents events_;
};

}  // namespace shardswarm
