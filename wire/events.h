// What peers say to each other, as values: HELLO, and the events that a session makes of frames.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "piece/digest.h"
#include "wire/channels.h"

namespace shardswarm {

inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr std::uint32_t kProtocolVersionMin = 1;

// Bits of Hello::features; in use are those that both sides name (WIRE-12).
inline constexpr std::uint64_t kFeatureZstdBlobs = 0x01;
inline constexpr std::uint64_t kFeatureLongData = 0x02;  // DATA frames above kShortFrameBytes
inline constexpr std::uint64_t kFeatures = kFeatureZstdBlobs | kFeatureLongData;  // all we know

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

}  // namespace shardswarm
