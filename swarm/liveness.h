// Whether the other end of a connection is alive: PING, silence, and peers that take nothing or
// send a piece so slowly that it only keeps something busy.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "base/flat_map.h"
#include "base/time.h"
#include "swarm/actions.h"

namespace shardswarm {

struct Context;
struct Link;

inline constexpr Duration kHelloTimeout = std::chrono::seconds(10);
inline constexpr Duration kPingEvery = std::chrono::seconds(10);
inline constexpr Duration kDeadAfter = std::chrono::seconds(30);

// Of a connection.
class LivenessRecord {
 public:
  void begins(Time now) { since_ = last_received_ = last_sent_ = now; }
  void received(Time now) { last_received_ = now; }
  // `more`: something is queued for it.
  void sent(bool more, Time now) {
    last_sent_ = now;
    if (!more) idle_ = true;
  }

 private:
  friend class Liveness;
  Time since_{};
  Time last_received_{};
  Time last_sent_{};         // or when there was nothing to send before
  bool idle_ = true;         // there was nothing to send at the last look
  std::optional<Time> due_;  // in Liveness::dues_; not after the time when it is due
  Time ping_sent_{};
  bool ping_pending_ = false;
  std::uint64_t ping_token_ = 0;
};

class Liveness {
 public:
  explicit Liveness(Context& context) : context_(context) {}

  void ping(Link& link, Time now);
  // The round trip, if this answers the last PING for the first time.
  static std::optional<Duration> pong(Link& link, std::uint64_t token, Time now);
  // These may have something to send or to be received: they are looked at with the next
  // take_due().
  void touch(const FlatSet<ConnectionId>& links) { touched_.insert(links.begin(), links.end()); }
  // Connections to call check() and then schedule() for: those whose time has come, that were
  // touched since the last call or have output, and `waiting`, which wait for us to take a piece.
  FlatSet<ConnectionId> take_due(const FlatSet<ConnectionId>& waiting, Time now);
  // Pings a peer that has been silent for a while, and closes the connection to one that is dead.
  void check(Link& link, Time now);
  // Notes when it is to be looked at next, unless it is touched before.
  void schedule(Link& link);
  void removed(Link& link);
  std::optional<Time> next_deadline() const;

 private:
  void forgive_waiting(Link& link, Time now);
  void close_dead(Link& link, std::string_view error, std::string_view told);

  Context& context_;
  FlatSet<ConnectionId> touched_;
  std::set<std::pair<Time, ConnectionId>> dues_;
};

}  // namespace shardswarm
