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
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "piece/digest.h"
#include "piece/manifest.h"
#include "piece/piece_set.h"
#include "wire/frame.h"

namespace shardswarm {

inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr std::uint32_t kProtocolVersionMin = 1;

// Bits of Hello::features; in use are those that both sides name (WIRE-12).
inline constexpr std::uint64_t kFeatureZstdBlobs = 0x01;
inline constexpr std::uint64_t kFeatureLongData = 0x02;  // DATA frames above kShortFrameBytes
inline constexpr std::uint64_t kFeatures = kFeatureZstdBlobs | kFeatureLongData;  // all we know

// A model on one connection, the same number for both directions; given by open() or by the peer's
// OPEN, whichever comes first. (On the wire each side has handles of its own.)
using Channel = StrongIndex<struct ChannelTag, std::uint16_t>;

enum class RejectReason : std::uint8_t {
  kNotHere = 1,    // the uploader does not have the piece (any more)
  kLeased = 2,     // another peer took it and will announce it: ask there
  kCancelled = 3,  // answer to CANCEL: not sent, or not sent to its end
  kBusy = 4,       // too much asked for
};

enum class CloseReason : std::uint8_t {
  kDone = 1,           // nothing more to do here
  kShutdown = 2,       // the node ends
  kProtocolError = 3,  // the other side broke the protocol
  kVersion = 4,        // no common version
  kSelf = 5,           // connected to oneself
  kDuplicate = 6,      // another connection to the same node stands
  kBadData = 7,        // content that does not match its digest
  kOverload = 8,       // too many connections
  kTimeout = 9,        // nothing heard for too long
  kInternal = 10,
};
std::string_view close_reason_name(CloseReason reason);

struct PeerAddress {
  NodeId id;               // all zero when not known
  std::string address;     // "host:port"
  bool connected = false;  // the sender has a connection to this node now
  std::uint32_t site = 0;  // site_tag() of its label
};

struct Hello {
  NodeId node_id;
  std::string agent;                    // "shardswarm/0.1"
  std::uint16_t listen_port = 0;        // 0: does not listen
  std::vector<std::string> advertised;  // addresses besides the observed one
  std::uint64_t features = 0;
  std::string site;  // where the node is, as its operator calls it: valid_site()
};

// Up to limits::kSiteBytesMax letters, digits, '.', '_', '-' and '/'; empty: no label.
bool valid_site(std::string_view site);
// What PEERS says of a label: the first 4 bytes of its SHA-256, little-endian; 0 of none. Different
// labels with the same tag (one pair in 4 billion) are taken for one.
std::uint32_t site_tag(std::string_view site);

// What the peer did. Piece runs are sorted, disjoint and below kPiecesMax; whether they lie within
// the model is for the caller to check.
namespace event {
// HELLOs were exchanged. Features in use are those that both name.
struct Ready {
  Hello hello;
  std::uint32_t version = 0;
};
// The peer knows this model.
struct Opened {
  Channel channel;
  ModelId model;
};
// It does not, or not any more.
struct UnknownModel {
  Channel channel;
  ModelId model;
};
// Additive.
struct Have {
  Channel channel;
  std::vector<PieceRun> pieces;
};
struct Lost {
  Channel channel;
  std::vector<PieceRun> pieces;
};
// Replaces earlier wants.
struct Want {
  Channel channel;
  std::vector<PieceRun> pieces;
};
// Adds pieces and credit to what was asked for before.
struct Request {
  Channel channel;
  std::vector<PieceRun> pieces;
  std::uint64_t credit_bytes = 0;
  bool any = false;
};
struct Claim {
  Channel channel;
  std::vector<PieceRun> pieces;
};
struct Cancel {
  Channel channel;
  std::vector<PieceRun> pieces;
  std::uint64_t credit_bytes = 0;
  bool unclaimed = false;  // what was claimed is sent
};
// A piece under way that it names has ended: its buffer is not used any more.
struct Reject {
  Channel channel;
  std::vector<PieceRun> pieces;
  RejectReason reason{};
};
// Answer: accept_piece() or discard_piece(). Nothing is received before.
struct PieceBegin {
  Channel channel;
  PieceIndex piece;
};
// So many more of its bytes arrived.
struct PieceBytes {
  Channel channel;
  PieceIndex piece;
  std::uint32_t bytes = 0;
};
struct PieceEnd {
  Channel channel;
  PieceIndex piece;
  bool discarded = false;
};
// The last word on each send_piece(), unless the session closes before: handed to the transport
// whole, or given up (`aborted`). From here on, and not before, its bytes may be let go: no more
// OutputExtent of it comes.
struct PieceSent {
  Channel channel;
  PieceIndex piece;
  bool aborted = false;
};
struct BlobRequest {
  Channel channel;
  std::uint32_t request = 0;
  Digest digest;
};
struct BlobChunk {
  Channel channel;
  std::uint32_t request = 0;
  std::uint32_t offset = 0;  // within what is sent
  std::vector<std::byte> bytes;
  bool last = false;
  bool compressed = false;  // of one zstd frame of the blob; the same for all chunks of an answer
};
struct BlobReject {
  Channel channel;
  std::uint32_t request = 0;
};
struct Peers {
  Channel channel;
  std::vector<PeerAddress> peers;
};
// PINGs are answered by the session.
struct Pong {
  std::uint64_t token = 0;
};
// The peer's CLOSE.
struct Closed {
  CloseReason reason{};
  std::string text;
};
// The peer broke the protocol, cannot be talked to, or does not read; a CLOSE with this reason is
// queued already.
struct Failed {
  Error error;
  CloseReason reason = CloseReason::kProtocolError;
};
}  // namespace event

using SessionEvent =
    std::variant<event::Ready, event::Opened, event::UnknownModel, event::Have, event::Lost,
                 event::Want, event::Request, event::Claim, event::Cancel, event::Reject,
                 event::PieceBegin, event::PieceBytes, event::PieceEnd, event::PieceSent,
                 event::BlobRequest, event::BlobChunk, event::BlobReject, event::Peers, event::Pong,
                 event::Closed, event::Failed>;

// What to put on the transport next.
struct OutputBytes {
  std::span<const std::byte> bytes;
  bool more = false;
};  // more follows now
struct OutputExtent {
  Channel channel;
  PieceIndex piece;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
};  // these bytes of that piece
using Output = std::variant<std::monostate, OutputBytes, OutputExtent>;

class Session {
 public:
  // Queues the preamble and HELLO at once. `authenticated` is the node id that TLS proved: a HELLO
  // that claims another is refused.
  Session(Hello self, std::optional<NodeId> authenticated);
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // --- receiving ---
  // Up to two spans: the rest of what is under way, then room for the next header. To be filled
  // before the next call that is not const.
  std::array<std::span<std::byte>, 2> receive_spans();
  // REQUIRES: n <= total size of the last receive_spans(), and no answer to an event since. Ignored
  // once the session is closing; of a piece dropped since, the bytes count and are thrown away.
  void received(std::size_t n);
  std::optional<SessionEvent> next_event();
  // Answers to PieceBegin, the only event that waits for one. `piece` is the whole piece's buffer,
  // its size the piece's length (1 .. kPieceBytesMax); bytes land there until PieceEnd. It must
  // stay valid until PieceEnd, a Reject that names the piece, Failed or Closed comes, or
  // drop_receive() or close() is called. If the frame that waits is longer than the piece, Failed
  // follows.
  void accept_piece(std::span<std::byte> piece);
  // Reads `length` bytes and throws them away.
  void discard_piece(std::uint32_t length);
  // Stops using the buffer of the piece under way; its other bytes are thrown away (PieceBytes and
  // PieceEnd go on). Nothing happens if none is under way. REQUIRES: PieceBegin was answered.
  void drop_receive();

  // --- sending; all of these queue. REQUIRES: Ready was seen, but for close(); runs of pieces are
  // ascending, disjoint and below kPiecesMax; the channel was open()ed, but for unknown_model().
  // Once the session is closing they do nothing. ---
  // Idempotent, but after unknown_model() it announces the model again.
  // REQUIRES: may_open(model).
  Channel open(const ModelId& model);
  // At most kModelsPerConnectionMax models are opened on a connection, those given up included.
  bool may_open(const ModelId& model) const;
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
  void ping(std::uint64_t token);
  // Queues CLOSE, after the frames queued so far; pieces and blobs end with the frame under way.
  // Nothing else is received or queued afterwards, and events not yet taken are dropped.
  void close(CloseReason reason, std::string_view text);

  // Data: pieces are sent one at a time, in the order of these calls, `length` bytes each, cut into
  // DATA frames; control and blob frames go between the frames. REQUIRES: 1 <= length <=
  // kPieceBytesMax.
  void send_piece(Channel channel, PieceIndex piece, std::uint32_t length);
  std::size_t pieces_queued() const;  // not yet handed to the transport whole
  // Stops sending a piece after the frame under way, or before its first; queues REJECT(cancelled).
  // PieceSent{aborted} comes when its bytes are not needed any more. False if it was not queued, or
  // if its last frame is under way already (PieceSent comes for it as usual).
  bool abort_piece(Channel channel, PieceIndex piece);
  // Bytes of a piece in the frames begun from now on, at most; kShortFrameBytes until then. Control
  // waits for a frame under way: longer ones are for links that are quick. Without
  // kFeatureLongData in use it is kShortFrameBytes all the same. REQUIRES: 1 <= bytes <=
  // kDataBytesMax.
  void data_frames_up_to(std::uint32_t bytes);
  // From now on DATA and BLOB frames begin by begin_piece_frame() and begin_blob_frame() alone; all
  // others go out as ever. A frame begun goes out whole, so control never waits for the rate limit
  // behind half a frame.
  void pace_payload();
  // Paced, and a DATA or BLOB frame could begin now.
  bool piece_frame_waits() const;
  bool blob_frame_waits() const;
  // Begins it, of at most `body_max` bytes; returns how many with the header. REQUIRES: such a
  // frame waits, body_max >= 1.
  std::uint32_t begin_piece_frame(std::uint32_t body_max);
  std::uint32_t begin_blob_frame(std::uint32_t body_max);

  // --- output ---
  // The same until sent(), and its bytes stay where they are until then.
  Output next_output();
  void sent(std::size_t n);          // REQUIRES: n <= size of the last next_output()
  bool has_output() const;           // whether next_output() would find something; begins nothing
  std::size_t queued_bytes() const;  // control bytes queued, blobs and pieces not counted

  bool ready() const;
  std::uint64_t features_in_use() const;  // none before Ready
  // A CLOSE was queued or received: close the transport when next_output() is empty. After a
  // received one it is empty at once.
  bool closing() const;
  std::optional<ModelId> model_of(Channel channel) const;
  // Whether the peer has opened this model: only then may frames about it be sent to it.
  bool peer_opened(Channel channel) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardswarm
