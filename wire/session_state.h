// What a session's receiving and sending have in common. Private to wire/session*.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wire/channels.h"
#include "wire/events.h"
#include "wire/frame.h"
#include "wire/send_queue.h"

namespace shardswarm {

// Not thread-safe. Bounded memory: 8 MiB of control frames queued, 8 MiB of a WANT being put
// together, and 1024 models of each side.
struct SessionState {
  // A blob that we asked for, on its way in.
  struct AskedBlob {
    std::uint32_t next = 0;   // the offset expected
    bool compressed = false;  // as its first frame said
  };

  SessionState(Hello s, std::optional<NodeId> a) : self(std::move(s)), authenticated(a) {}

  // A piece on its way in.
  struct Incoming {
    Channel channel;
    PieceIndex piece;
    std::uint32_t length = 0;
    std::uint32_t got = 0;
    std::span<std::byte> buffer;  // empty: its bytes are thrown away
  };

  // Receives no more, and sends no more payload than the frame under way: what was being received
  // is let go.
  void stop();
  // Stops, and sends CLOSE behind the control frames that are queued.
  void close(CloseReason reason, std::string_view text);
  // Stops, and sends CLOSE in place of the control frames that are queued.
  void fail(Errc code, CloseReason reason, std::string message);
  void protocol_error(std::string message) {
    fail(Errc::kProtocol, CloseReason::kProtocolError, std::move(message));
  }
  // After something was queued: fails for a peer that does not read.
  void bound_queue();
  void ping(FrameType ping_or_pong, std::uint64_t token);
  void refuse_blob(BlobRequestKey key);

  Hello self;
  std::optional<NodeId> authenticated;
  bool ready = false;
  std::uint64_t features_in_use = 0;
  bool closing = false;
  Channels channels;
  SendQueue queue;
  std::optional<Incoming> incoming;
  std::optional<std::pair<Channel, std::vector<PieceRun>>> want;  // parts of it came
  std::map<BlobRequestKey, AskedBlob> blobs_asked;
  std::deque<SessionEvent> events;
};

}  // namespace shardswarm
