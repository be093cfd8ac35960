// A peer of a core that says what a test has it say: its session alone, without schedulers.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "swarm/core.h"

namespace shardswarm::test {

// Exchanges control frames and blobs with the core; pieces are not asked for.
class RawPeer {
 public:
  // `dialed`: by the core, at this address.
  RawPeer(Core& core, ConnectionId id, std::string address, bool dialed, Time now)
      : session({.node_id = sha256(std::as_bytes(std::span(address))),
                 .agent = "raw",
                 .advertised = {}},
                std::nullopt),
        core_(core),
        id_(id) {
    core_.add_connection(id_, std::move(address), dialed, std::nullopt, now);
  }

  // Until neither has anything to say to the other.
  void run(Time now) {
    do {
      core_.settle(now);
      (void)core_.take_output_ready();
      while (auto event = session.next_event()) events.push_back(std::move(*event));
    } while (to_peer(now) || to_core(now));
  }
  template <class E>
  const E* heard() const {
    for (const SessionEvent& event : events) {
      if (const auto* found = std::get_if<E>(&event)) return found;
    }
    return nullptr;
  }

  Session session;
  std::vector<SessionEvent> events;

 private:
  static std::size_t copy(std::span<const std::byte> from,
                          std::array<std::span<std::byte>, 2> spans) {
    std::size_t moved = 0;
    for (const auto& span : spans) {
      const std::size_t n = std::min(span.size(), from.size() - moved);
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(moved), n, span.begin());
      moved += n;
    }
    return moved;
  }
  bool to_peer(Time now) {
    const Output output = core_.next_output(id_);
    const auto* bytes = std::get_if<OutputBytes>(&output);
    if (bytes == nullptr) return false;
    const std::size_t n = copy(bytes->bytes, session.receive_spans());
    if (n == 0) return false;
    session.received(n);
    core_.sent(id_, n, now);
    return true;
  }
  bool to_core(Time now) {
    const Output output = session.next_output();
    const auto* bytes = std::get_if<OutputBytes>(&output);
    if (bytes == nullptr) return false;
    const std::size_t n = copy(bytes->bytes, core_.receive_spans(id_));
    if (n == 0) return false;
    core_.received(id_, n, now);
    session.sent(n);
    return true;
  }

  Core& core_;
  ConnectionId id_;
};

}  // namespace shardswarm::test
