// Rate limits: which connection may go on when.
//
//  - Payload waits for its turn, in rounds over the connections, so that none starves: a turn is
//    one DATA frame, or so many bytes to be read, and is paid from the node's and the connection's
//    buckets when it is given. A frame begun goes out whole.
//  - Control frames and blobs of manifests pass at once and are paid afterwards, by payload that
//    waits longer. What was not read yet may be either: it is read at once while HELLO or blobs are
//    awaited, else in turns too.
//  - Fewer pieces are on their way at once, so that each of them gets on (upload_slots()).
//  - Who waits for a turn of ours is neither dead nor stalled (swarm/liveness.h).
//
// Without limits nothing waits. Not thread-safe. Time is handed in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/time.h"
#include "scheduler/rate_limit.h"
#include "swarm/actions.h"

namespace shardswarm {

struct Context;
struct Link;

// Of a connection.
class GateRecord {
 public:
  // Nothing is read from it before its next turn.
  bool turn_awaited() const { return turn_awaited_; }

 private:
  friend class RateGate;
  TokenBucket up_{0};
  TokenBucket down_{0};
  std::uint64_t paid_up_ = 0;    // bytes taken from the buckets and not yet sent
  std::uint64_t paid_down_ = 0;  // or not yet read
  bool turn_awaited_ = false;
};

class RateGate {
 public:
  explicit RateGate(Context& context);

  // A new connection.
  void add(Link& link) const;
  // What of these spans may be received now.
  std::array<std::span<std::byte>, 2> allowed(Link& link,
                                              std::array<std::span<std::byte>, 2> spans);
  void received(Link& link, std::size_t bytes, Time now);
  void sent(Link& link, std::size_t bytes, Time now);
  void give_turns(Time now);
  std::optional<Time> next_deadline() const;

  // Connections that are sent pieces at a time, at most.
  std::size_t upload_slots() const { return upload_slots_; }
  // Whether more may be read than was.
  bool reads(Time now) const { return down_.bucket.open(now); }

 private:
  struct Flow {  // of one direction
    bool on = false;
    TokenBucket bucket;   // the node's
    ConnectionId last{};  // who had the last turn

    void charge(TokenBucket& own, std::uint64_t& paid, std::uint64_t bytes, Time now);
  };

  bool reads_at_once(const Link& link) const;
  // Gives a turn to the next link after `turn` whose bucket is open and for which `give` returns a
  // number above 0, the bytes that it then takes. Returns them; 0 if there is no such link.
  template <class Give>
  std::uint64_t give_turn(Flow& flow, TokenBucket GateRecord::* own, ConnectionId& turn, Time now,
                          Give give);
  void give_upload_turns(std::uint32_t frame, Time now);
  void give_download_turns(Time now);

  Context& context_;
  RateLimits rates_;
  Flow up_;
  Flow down_;
  ConnectionId last_blob_{};            // whose blob had the last turn of `up_`; up_.last: piece
  std::int64_t piece_bytes_ahead_ = 0;  // sent, of pieces beyond those of blobs, while both wait
  std::size_t upload_slots_;
};

}  // namespace shardswarm
