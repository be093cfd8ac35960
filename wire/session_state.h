// What a session's receiving and sending have in common. Private to wire/session*.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "wire/channels.h"
#include "wire/events.h"
#include "wire/frame.h"
#include "wire/send_queue.h"

namespace shardswarm {

// What a REQUEST, CANCEL or REJECT says besides its pieces.
struct PieceListFields {
  std::uint64_t credit_bytes = 0;  // REQUEST, CANCEL; goes with the first of several frames
  bool any = false;                // REQUEST
  bool unclaimed = false;          // CANCEL
  RejectReason reason{};           // REJECT
};

// Not thread-safe. Bounded memory: 8 MiB of control frames queued, and 1024 models of each side.
struct SessionState {
  // A blob that we asked for, on its way in.
  struct AskedBlob {
    std::uint32_t next = 0;   // the offset expected
    bool compressed = false;  // as its first frame said
  };

  SessionState(Hello s, std::optional<NodeId> a) : self(std::move(s)), authenticated(a) {}

  // Each of these receives no more, and sends no more than the frame under way and a CLOSE.
  void close(CloseReason reason, std::string_view text);
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
  std::map<BlobRequestKey, AskedBlob> blobs_asked;
  std::deque<SessionEvent> events;
};

}  // namespace shardswarm
