// The common state of a core with connections whose sessions have exchanged HELLO: for tests of one
// part, without the others.
#pragma once

#include <algorithm>
#include <array>
#include <list>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "swarm/parts.h"

namespace shardswarm::test {

inline Hello hello_of(const std::string& name) {
  return {.node_id = sha256(std::as_bytes(std::span(name))), .agent = name, .advertised = {}};
}

// A connection of the parts, and the session at its other end.
class GreetedLink {
 public:
  GreetedLink(Parts& parts, ConnectionId id, const std::string& name, Time now, bool dialed = false)
      : far(hello_of(name), std::nullopt),
        link(parts.context.links.add(id, parts.context.options.hello, std::nullopt)) {
    link.address = name + ":1";
    link.dialed = dialed;
    link.liveness.begins(now);
    parts.neighbourhood.added(link);
    exchange();
    while (auto event = link.session.next_event()) {
      if (auto* ready = std::get_if<event::Ready>(&*event)) {
        parts.neighbourhood.greeted(link, std::move(ready->hello), now);
      }
    }
    heard<event::Ready>();
  }

  // Moves all that either side has to say and the other takes.
  void exchange() {
    while (move(link.session, far) || move(far, link.session)) {
    }
  }
  // How many such events the far end has had since it was last asked.
  template <class E>
  std::size_t heard() {
    exchange();
    std::size_t count = 0;
    while (auto event = far.next_event()) count += std::holds_alternative<E>(*event) ? 1U : 0U;
    return count;
  }

  Session far;
  Link& link;

 private:
  static bool move(Session& from, Session& to) {
    const Output output = from.next_output();
    std::vector<std::byte> content;  // of a piece: zeros
    if (const auto* extent = std::get_if<OutputExtent>(&output)) content.resize(extent->length);
    if (const auto* bytes = std::get_if<OutputBytes>(&output)) {
      content.assign(bytes->bytes.begin(), bytes->bytes.end());
    }
    std::size_t moved = 0;
    for (const auto& span : to.receive_spans()) {
      const std::size_t n = std::min(span.size(), content.size() - moved);
      std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(moved), n, span.begin());
      moved += n;
    }
    if (moved == 0) return false;
    to.received(moved);
    from.sent(moved);
    return true;
  }
};

}  // namespace shardswarm::test
