// Two sessions joined by byte pipes, with pieces of random size moved at a time.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <variant>
#include <vector>

#include "wire/messages.h"
#include "wire/session.h"

namespace shardswarm::test {

using Bytes = std::vector<std::byte>;

inline constexpr std::uint32_t kFull = limits::kPieceBytesMax;  // bytes of the longest piece

inline Digest digest_of(std::uint8_t first) {
  Digest digest;
  for (auto& byte : digest.bytes) byte = std::byte{first++};
  return digest;
}

inline Hello hello_of(std::uint8_t id, std::uint64_t features = 0) {
  return {.node_id = digest_of(id), .agent = "test/1", .advertised = {}, .features = features};
}

// The byte at `offset` of a piece, as every sender here makes it.
inline std::byte piece_byte(PieceIndex piece, std::size_t offset) {
  return static_cast<std::byte>((piece.value * 131 + offset * 7 + offset / 256) & 0xff);
}

// One end: its session, the events it had, and a receive buffer for each accepted piece.
struct End {
  explicit End(Hello hello, std::optional<NodeId> authenticated = {})
      : session(std::move(hello), authenticated) {}

  void drain() {
    while (auto event = session.next_event()) {
      const auto* begin = std::get_if<event::PieceBegin>(&*event);
      const std::optional<event::PieceBegin> asked =
          begin != nullptr ? std::optional(*begin) : std::nullopt;
      events.push_back(std::move(*event));
      if (asked && on_piece) on_piece(*asked);
    }
  }

  // Takes up to `max` bytes of what the session wants to send.
  std::size_t take_output(Bytes& into, std::size_t max) {
    const Output output = session.next_output();
    std::size_t n = 0;
    if (const auto* bytes = std::get_if<OutputBytes>(&output)) {
      n = std::min(max, bytes->bytes.size());
      into.insert(into.end(), bytes->bytes.begin(),
                  bytes->bytes.begin() + static_cast<std::ptrdiff_t>(n));
    } else if (const auto* extent = std::get_if<OutputExtent>(&output)) {
      n = std::min<std::size_t>(max, extent->length);
      for (std::size_t i = 0; i < n; ++i) {
        into.push_back(piece_byte(extent->piece, extent->offset + i));
      }
    }
    if (n > 0) session.sent(n);
    return n;
  }

  // Hands over up to `max` bytes from `from`; how many the session took.
  std::size_t give_input(std::span<const std::byte> from, std::size_t max) {
    std::size_t n = 0;
    for (const auto& span : session.receive_spans()) {
      const std::size_t part = std::min({span.size(), from.size() - n, max - n});
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(n), part, span.begin());
      n += part;
    }
    if (n > 0) session.received(n);
    drain();
    return n;
  }

  // Gives all of `from`, or as much as the session takes.
  std::size_t give_all(std::span<const std::byte> from) {
    std::size_t done = 0;
    while (done < from.size()) {
      const std::size_t n = give_input(from.subspan(done), from.size());
      if (n == 0) break;
      done += n;
    }
    return done;
  }

  Bytes take_all_output() {
    Bytes out;
    while (take_output(out, SIZE_MAX) > 0) {
    }
    drain();
    return out;
  }

  template <class T>
  std::vector<T> all() const {
    std::vector<T> found;
    for (const SessionEvent& event : events) {
      if (const auto* match = std::get_if<T>(&event)) found.push_back(*match);
    }
    return found;
  }

  Session session;
  std::vector<SessionEvent> events;
  std::function<void(const event::PieceBegin&)> on_piece;
};

// Payload that came, of all pieces.
inline std::uint64_t bytes_arrived(const End& end) {
  std::uint64_t bytes = 0;
  for (const auto& event : end.all<event::PieceBytes>()) bytes += event.bytes;
  return bytes;
}

class Pair {
 public:
  explicit Pair(std::uint32_t seed = 1, std::size_t step_max = 5000)
      : a(hello_of(1)), b(hello_of(2)), random_(seed), step_max_(step_max) {}
  Pair(Hello hello_a, Hello hello_b)
      : a(std::move(hello_a)), b(std::move(hello_b)), random_(1), step_max_(5000) {}

  // Moves bytes until nothing moves.
  void run() {
    while (step()) {
    }
  }

  bool step() {
    const bool out_a = a.take_output(to_b_, chance()) > 0;
    const bool out_b = b.take_output(to_a_, chance()) > 0;
    const bool in_b = deliver(to_b_, b);
    const bool in_a = deliver(to_a_, a);
    a.drain();
    b.drain();
    return out_a || out_b || in_a || in_b;
  }

  // Handshakes, and both open the model of digest_of(100): channel 1 on both sides.
  Channel open_model() {
    run();
    const Channel channel = a.session.open(digest_of(100));
    b.session.open(digest_of(100));
    run();
    return channel;
  }

  End a;
  End b;

 private:
  std::size_t chance() { return 1 + random_() % step_max_; }

  bool deliver(Bytes& pipe, End& to) {
    const std::size_t n = to.give_input(pipe, chance());
    pipe.erase(pipe.begin(), pipe.begin() + static_cast<std::ptrdiff_t>(n));
    return n > 0;
  }

  std::mt19937 random_;
  std::size_t step_max_;
  Bytes to_a_;
  Bytes to_b_;
};

// Buffers for pieces that an End accepts, all of one length.
class Acceptor {
 public:
  Acceptor(End& end, std::uint32_t length) {
    end.on_piece = [this, &end, length](const event::PieceBegin& begin) {
      auto& buffer = buffers[begin.piece];
      buffer.assign(length, std::byte{0xee});
      end.session.accept_piece(buffer);
    };
  }
  bool holds(PieceIndex piece) const {
    const auto it = buffers.find(piece);
    if (it == buffers.end()) return false;
    for (std::size_t i = 0; i < it->second.size(); ++i) {
      if (it->second[i] != piece_byte(piece, i)) return false;
    }
    return true;
  }
  std::map<PieceIndex, Bytes> buffers;
};

inline PieceRun run_of(std::uint32_t first, std::uint32_t count) {
  return {PieceIndex(first), count};
}

}  // namespace shardswarm::test
