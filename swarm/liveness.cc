#include "swarm/liveness.h"

#include <algorithm>
#include <string>
#include <utility>

#include "swarm/context.h"

namespace shardswarm {
namespace {

// Who waits for us to read is forgiven its silence, before the scheduler calls it stalled (5 s).
constexpr Duration kForgiveEvery = std::chrono::seconds(2);

// Bytes that come to keep something of ours busy, rather than to arrive: under 4 KiB/s.
constexpr bool drips(std::uint64_t bytes, Duration elapsed) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(elapsed).count();
  return elapsed >= kDeadAfter && bytes < 4 * limits::kKiB * static_cast<std::uint64_t>(seconds);
}

}  // namespace

void Liveness::ping(Link& link, Time now) {
  LivenessRecord& record = link.liveness;
  link.session.ping(++record.ping_token_);
  record.ping_sent_ = now;
  record.ping_pending_ = true;
  context_.links.mark_ready(link);
}

std::optional<Duration> Liveness::pong(Link& link, std::uint64_t token, Time now) {
  LivenessRecord& record = link.liveness;
  if (!record.ping_pending_ || token != record.ping_token_) return std::nullopt;
  record.ping_pending_ = false;
  return now - record.ping_sent_;
}

FlatSet<ConnectionId> Liveness::take_due(const FlatSet<ConnectionId>& waiting, Time now) {
  FlatSet<ConnectionId> due = std::exchange(touched_, {});
  due.insert(waiting.begin(), waiting.end());
  due.insert(context_.links.ready().begin(), context_.links.ready().end());
  while (!dues_.empty() && dues_.begin()->first <= now) {
    const ConnectionId id = dues_.begin()->second;
    dues_.erase(dues_.begin());
    Link* link = context_.links.find(id);
    if (link == nullptr) continue;
    link->liveness.due_.reset();
    due.insert(id);
  }
  return due;
}

void Liveness::close_dead(Link& link, std::string_view error, std::string_view told) {
  link.error = Error{link.hello ? Errc::kStalled : Errc::kUnreachable, std::string(error)};
  context_.links.close(link, CloseReason::kTimeout, told);
}

void Liveness::check(Link& link, Time now) {
  if (link.closing) return;
  LivenessRecord& record = link.liveness;
  if (!link.hello) {
    if (now - record.since_ >= kHelloTimeout) {
      close_dead(link, "it did not say HELLO: not a shardswarm peer", "no HELLO");
    }
    return;
  }
  const bool was_idle = std::exchange(record.idle_, !link.session.queue().has_output());
  if (was_idle || record.idle_) {
    record.last_sent_ = now;
  } else if (now - record.last_sent_ >= kDeadAfter) {
    // Else it would keep the buffers of what it asked for.
    close_dead(link, "it takes nothing that is sent to it", "nothing was taken for 30 s");
    return;
  }
  if (link.gate.turn_awaited()) {
    forgive_waiting(link, now);
    return;
  }
  const auto& arriving = link.downlink.arriving();
  if (arriving && !arriving->waiting && !arriving->discard &&
      drips(arriving->got, now - arriving->since)) {
    close_dead(link, "it sends a piece too slowly", "a piece came too slowly");
    return;
  }
  // While we do not read, silence says nothing about the peer.
  if (arriving && arriving->waiting) {
    record.last_received_ = now;
    return;
  }
  if (now - record.last_received_ >= kDeadAfter) {
    close_dead(link, "nothing heard from it for 30 s", "nothing heard for 30 s");
  } else if (!record.ping_pending_ && now - record.ping_sent_ >= kPingEvery) {
    ping(link, now);
  }
}

// While it waits for us: its silence is ours, and ours must not be taken for death, although its
// PONG, behind its payload, is late.
void Liveness::forgive_waiting(Link& link, Time now) {
  link.liveness.last_received_ = now;
  link.downlink.forgive(now);
  for (auto& [key, at] : link.models) {
    const Model* model = context_.models.find(key);
    if (model == nullptr || !at.introduced) continue;
    if (const Fetching* fetch = model->live_fetch()) fetch->download->forgive(link.id, now);
  }
  if (now - link.liveness.ping_sent_ >= kPingEvery) ping(link, now);
}

void Liveness::schedule(Link& link) {
  LivenessRecord& record = link.liveness;
  std::optional<Time> due;
  if (link.closing || link.downlink.waiting()) {
    due.reset();
  } else if (!link.hello) {
    due = record.since_ + kHelloTimeout;
  } else if (link.neighbour.visiting()) {
    due = link.neighbour.visit_ends();
  } else {
    due = record.last_received_ + kDeadAfter;
    if (!record.ping_pending_) due = std::min(*due, record.ping_sent_ + kPingEvery);
    if (link.gate.turn_awaited()) due = record.last_received_ + kForgiveEvery;
  }
  // A due time that moved away stands until it is reached: bytes come more often than that.
  if (due && record.due_ && *record.due_ <= *due) return;
  if (record.due_) dues_.erase({*record.due_, link.id});
  if (due) dues_.emplace(*due, link.id);
  record.due_ = due;
}

void Liveness::removed(Link& link) {
  if (link.liveness.due_) dues_.erase({*link.liveness.due_, link.id});
  touched_.erase(link.id);
}

std::optional<Time> Liveness::next_deadline() const {
  return dues_.empty() ? std::nullopt : std::optional(dues_.begin()->first);
}

}  // namespace shardswarm
