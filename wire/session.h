// One connection between two peers as a state machine without I/O: bytes in, events out; calls in,
// bytes out. Rules and message formats: spec/protocol.md.
//
// Drive it so:
//   receive: spans = receive_spans(); read up to their sizes into them; received(n); then take
//            next_event() until it is empty. Empty spans mean: an event waits for your answer
//            (accept_piece / discard_piece), or the session is closed.
//   send:    output = next_output(); give its bytes to the transport; sent(n); until monostate.
//            When it is empty and closing(), close the transport.
// Not thread-safe; holds no clock, socket or thread. It knows nothing of manifests: whether a piece
// was asked for, how long it is and whom to answer what is the caller's part.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "piece/manifest.h"
#include "piece/piece_set.h"
#include "wire/events.h"
#include "wire/send_queue.h"
#include "wire/session_reader.h"
#include "wire/session_state.h"

namespace shardswarm {

namespace message {
struct PieceListFields;
}

class Session {
 public:
  // Queues the preamble and HELLO at once. `authenticated` is the node id that TLS proved: a HELLO
  // that claims another is refused.
  Session(Hello self, std::optional<NodeId> authenticated);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // --- receiving ---
  // Up to two spans: the rest of what is under way, then room for the next header. To be filled
  // before the next call that is not const.
  std::array<std::span<std::byte>, 2> receive_spans() { return reader_.receive_spans(); }
  // REQUIRES: n <= total size of the last receive_spans(), and no answer to an event since. Ignored
  // once the session is closing; of a piece dropped since, the bytes count and are thrown away.
  void received(std::size_t n) { reader_.received(n); }
  std::optional<SessionEvent> next_event();
  // Answers to PieceBegin, the only event that waits for one. `piece` is the whole piece's buffer,
  // its size the piece's length (1 .. kPieceBytesMax); bytes land there until PieceEnd. It must
  // stay valid until PieceEnd, a Reject that names the piece, Failed or Closed comes, or
  // drop_receive() or close() is called. If the frame that waits is longer than the piece, Failed
  // follows.
  void accept_piece(std::span<std::byte> piece) {
    reader_.answer_piece(piece, static_cast<std::uint32_t>(piece.size()));
  }
  // Reads `length` bytes and throws them away.
  void discard_piece(std::uint32_t length) { reader_.answer_piece({}, length); }
  // Stops using the buffer of the piece under way; its other bytes are thrown away (PieceBytes and
  // PieceEnd go on). Nothing happens if none is under way. REQUIRES: PieceBegin was answered.
  void drop_receive() { reader_.drop_receive(); }

  // --- sending; all of these queue. REQUIRES: Ready was seen, but for close(); runs of pieces are
  // ascending, disjoint and below kPiecesMax; the channel was open()ed, but for unknown_model().
  // Once the session is closing they do nothing. ---
  // Idempotent, but after unknown_model() it announces the model again.
  // REQUIRES: may_open(model).
  Channel open(const ModelId& model);
  // At most kModelsPerConnectionMax models are opened on a connection, those given up included.
  bool may_open(const ModelId& model) const { return state_.channels.may_open(model); }
  // We do not have this model: the answer to Opened, or after our own open() not any more.
  void unknown_model(Channel channel);
  void have(Channel channel, std::span<const PieceRun> pieces);
  void lost(Channel channel, std::span<const PieceRun> pieces);
  // Of more than kWantRunsMax runs (limits, wire/frame.h) the first so many are sent.
  void want(Channel channel, std::span<const PieceRun> pieces);
  // A set too large for one frame arrives as several events, the credit with the first of them;
  // the same holds for have(), lost(), cancel() and reject(). REQUIRES: credit <= kCreditBytesMax.
  void request(Channel channel, std::span<const PieceRun> pieces, std::uint64_t credit_bytes,
               bool any);
  void claim(Channel channel, PieceIndex piece);
  // `unclaimed`: not what the peer has claimed by then.
  void cancel(Channel channel, std::span<const PieceRun> pieces, std::uint64_t credit_bytes,
              bool unclaimed = false);
  void reject(Channel channel, std::span<const PieceRun> pieces, RejectReason reason);
  // `request` is answered by BlobChunks up to one with `last`, or by BlobReject; it names no other
  // request of this channel before. The peer refuses more than kBlobRequestsPerPeerMax at a time.
  void request_blob(Channel channel, std::uint32_t request, const Digest& digest);
  // Answers to BlobRequest. REQUIRES: not answered yet. Frames are made when they can be sent.
  // `compressed`: what is sent is one zstd frame of the blob (compress_blob() of
  // wire/blob_codec.h). REQUIRES: then, that kFeatureZstdBlobs is in use.
  void send_blob(Channel channel, std::uint32_t request, Blob blob, bool compressed = false);
  void reject_blob(Channel channel, std::uint32_t request);
  // Replaces what was said before. At most kPeerAddressesMax are sent.
  void peers(Channel channel, std::span<const PeerAddress> peers);
  void ping(std::uint64_t token) { state_.ping(FrameType::kPing, token); }
  // Queues CLOSE, after the frames queued so far; pieces and blobs end with the frame under way.
  // Nothing else is received or queued afterwards, and events not yet taken are dropped.
  void close(CloseReason reason, std::string_view text);

  // Data: pieces are sent one at a time, in the order of these calls, `length` bytes each, cut into
  // DATA frames; control and blob frames go between the frames. REQUIRES: 1 <= length <=
  // kPieceBytesMax.
  void send_piece(Channel channel, PieceIndex piece, std::uint32_t length);
  // Stops sending a piece after the frame under way, or before its first; queues REJECT(cancelled).
  // PieceSent{aborted} comes when its bytes are not needed any more. False if it was not queued, or
  // if its last frame is under way already (PieceSent comes for it as usual).
  bool abort_piece(Channel channel, PieceIndex piece);
  // Bytes of a piece in the frames begun from now on, at most; kShortFrameBytes until then. Control
  // waits for a frame under way: longer ones are for links that are quick. Without
  // kFeatureLongData in use it is kShortFrameBytes all the same. REQUIRES: 1 <= bytes <=
  // kDataBytesMax.
  void data_frames_up_to(std::uint32_t bytes);

  // --- pace: as of SendQueue ---
  void pace_payload() { state_.queue.pace(); }
  std::uint32_t begin_piece_frame(std::uint32_t body_max) {
    return state_.queue.begin_piece_frame(body_max);
  }
  std::uint32_t begin_blob_frame(std::uint32_t body_max) {
    return state_.queue.begin_blob_frame(body_max);
  }

  // --- output ---
  // The same until sent(), and its bytes stay where they are until then.
  Output next_output() { return state_.queue.next(); }
  void sent(std::size_t n);  // REQUIRES: n <= size of the last next_output()
  const SendQueue& queue() const { return state_.queue; }  // what is to be sent

  std::uint64_t features_in_use() const { return state_.features_in_use; }  // none before Ready
  // A CLOSE was queued or received: close the transport when next_output() is empty. After a
  // received one it is empty at once.
  bool closing() const { return state_.closing; }
  // Whether the peer has opened this model: only then may frames about it be sent to it.
  bool peer_opened(Channel channel) const { return state_.channels.peer_opened(channel); }

 private:
  bool may_send(Channel channel) const;
  void send_pieces(FrameType type, Channel channel, std::span<const PieceRun> pieces,
                   const message::PieceListFields& fields);

  SessionState state_;
  SessionReader reader_{state_};
};

}  // namespace shardswarm
