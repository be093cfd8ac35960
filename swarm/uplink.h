// Pieces to peers: whose turn it is, how much is on its way, and what becomes of what was chosen.
// Which piece a peer is sent is chosen by its model's UploadScheduler (scheduler/upload.h).
//
//  - A connection is *busy*, and holds a slot, while more is on its way than its socket soon takes.
//    As many are busy at a time as fill this node's link (scheduler/upload_slots.h), or fewer under
//    a rate limit.
//  - One on which nothing is taken for 200 ms is *stuck*: it holds no slot until something is.
//  - First copies go first, over all connections, and then further ones. Of either kind every
//    second piece goes to the peer that has the most left to fetch, the others in turn.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/flat_map.h"
#include "base/time.h"
#include "scheduler/rate.h"
#include "scheduler/upload.h"
#include "scheduler/upload_slots.h"
#include "swarm/actions.h"
#include "wire/session.h"

namespace shardswarm {

struct Context;
struct Link;
class RateGate;

// Of a connection.
class UplinkRecord {
 public:
  // Whether a piece is on its way, or about to be.
  bool sending() const { return !uploads_.empty(); }
  bool sending(ModelKey model) const;

 private:
  friend class Uplink;
  // A piece on its way to a peer: chosen and claimed, being prepared, or in the session's queue.
  struct Upload {
    ModelKey model;
    Channel channel;
    PieceIndex piece;
    std::uint32_t length = 0;
    std::uint32_t sent = 0;  // of it, taken by the transport
    bool prepared = false;
    bool cancelled = false;  // before it was prepared
  };

  std::deque<Upload> uploads_;
  bool busy_ = false;
  bool stuck_ = false;
  bool checked_ = false;  // it is in Uplink::checks_
  RateMeter rate_{};      // as the transport takes it
  Time progress_{};       // when something was begun or taken
  ModelKey last_model_;   // whose turn was last
};

class Uplink {
 public:
  Uplink(Context& context, const RateGate& gate) : context_(context), gate_(gate) {}

  // Chooses pieces for the connections that may be sent something further.
  void pump(Time now);
  // This connection may be: it asked for more.
  void due(Link& link);

  void cancelled(Link& link, const event::Cancel& e);
  void piece_prepared(Link& link, ModelKey key, PieceIndex piece, bool ok);
  // So much of a piece was taken by the transport.
  void extent_sent(Link& link, const OutputExtent& extent, std::size_t bytes, Time now);
  void piece_sent(Link& link, const event::PieceSent& e, Time now);
  void removed(Link& link);

  // Bytes that the transport should hold and not have sent, at most: that long the choice of the
  // next piece stays open. `link`: may be null.
  static std::uint64_t unsent_max(const Link* link);
  std::optional<Time> next_deadline() const;

 private:
  using Upload = UplinkRecord::Upload;

  std::size_t slots() const;
  std::vector<ConnectionId> in_turn();
  std::vector<ConnectionId> by_need(std::span<const ConnectionId> in_turn);
  bool give(std::span<const ConnectionId> order, UploadScheduler::Copy copy, Time now);
  bool begin(Link& link, UploadScheduler::Copy copy, Time now);
  static std::uint64_t taken_in(const Link& link, Duration time);
  void count_ahead(Link& link);
  void check_progress(Time now);
  void erase(Link& link, const std::deque<Upload>::iterator& upload);

  Context& context_;
  const RateGate& gate_;
  FlatSet<ConnectionId> due_;
  ConnectionId last_;                               // whose turn was last
  bool need_is_next_ = true;                        // who needs most, or whose turn it is
  std::size_t busy_ = 0;                            // connections that are busy
  std::set<std::pair<Time, ConnectionId>> checks_;  // when to see whether these get on
  UploadSlots slots_;
};

}  // namespace shardswarm
