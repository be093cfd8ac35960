// Pieces from peers: what comes on a connection goes into a buffer of the pool, or is thrown away
// if it is not welcome. While there is no buffer, or too much is not durable yet, the connection is
// not read and its piece *waits*.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstdint>
#include <optional>

#include "base/buffer_pool.h"
#include "base/flat_map.h"
#include "base/time.h"
#include "swarm/actions.h"
#include "wire/session.h"

namespace shardswarm {

struct Context;
struct Link;
struct Model;

// Of a connection.
class DownlinkRecord {
 public:
  struct Arriving {
    ModelKey model;
    PieceIndex piece;
    std::uint32_t length = 0;
    std::uint32_t got = 0;
    Time since{};  // when it was accepted
    PieceBuffer buffer;
    bool waiting = false;  // for a buffer, or for the disk
    bool discard = false;  // it is thrown away as it comes
  };
  // The piece under way.
  const std::optional<Arriving>& arriving() const { return arriving_; }
  bool waiting() const { return arriving_ && arriving_->waiting; }
  // The time so far does not count against the peer.
  void forgive(Time now) {
    if (arriving_) arriving_->since = now;
  }

 private:
  friend class Downlink;
  std::optional<Arriving> arriving_;
};

class Downlink {
 public:
  explicit Downlink(Context& context) : context_(context) {}

  // --- what a peer said; of an active fetch, or one that was active ---
  void begins(Link& link, Model& model, const event::PieceBegin& e, Time now);
  void came(Link& link, Model& model, const event::PieceBytes& e, Time now);
  void ended(Link& link, Model& model, const event::PieceEnd& e);
  // CLAIM; false: it claims what was not asked for.
  static bool claimed(Link& link, Model& model, const event::Claim& e, Time now);
  // REJECT; the pieces lie within the model.
  void rejected(Link& link, Model& model, const event::Reject& e, Time now);

  // Asks and withdraws what the model's scheduler decides.
  void ask(Model& model, Time now);
  // Connections whose piece waits; accept() for each when there may be room.
  const FlatSet<ConnectionId>& waiting() const { return waiting_; }
  // Whether there is room for its piece: then it is received.
  bool accept(Link& link, Time now);
  // The connection ends.
  void removed(Link& link) { end(link); }

 private:
  void set_waiting(Link& link, bool waiting);
  void end(Link& link);
  void give_up(Link& link);

  Context& context_;
  FlatSet<ConnectionId> waiting_;
};

}  // namespace shardswarm
