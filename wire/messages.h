// Control frames: from values to bytes and back. The only place that knows Protobuf.
// Encoders append whole frames, header and body, to `out`; a set of pieces too large for one frame
// becomes several. Decoders take a body whose length was checked, and believe nothing in it: every
// error is kProtocol and reads on after the frame's name ("its node id has 5 bytes").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "piece/digest.h"
#include "wire/events.h"
#include "wire/frame.h"

namespace shardswarm::message {

using Bytes = std::vector<std::byte>;

struct VersionRange {
  std::uint32_t min = kProtocolVersionMin;
  std::uint32_t max = kProtocolVersion;
};

// What a REQUEST, CANCEL or REJECT says besides its pieces.
struct PieceListFields {
  std::uint64_t credit_bytes = 0;  // REQUEST, CANCEL; goes with the first of several frames
  bool any = false;                // REQUEST
  bool unclaimed = false;          // CANCEL
  RejectReason reason{};           // REJECT
};

struct PieceList {
  std::vector<PieceRun> pieces;
  PieceListFields fields;
  bool more = false;  // WANT
};

struct BlobAsk {
  std::uint32_t request = 0;
  Digest digest;  // zero in BLOB_REJECT
};

void append_header(Bytes& out, const FrameHeader& header);
// Leaves out addresses that a receiver would refuse, and cuts the agent to its limit.
void append_hello(Bytes& out, const Hello& self, VersionRange versions);
void append_open(Bytes& out, std::uint16_t handle, const ModelId& model);
void append_unknown_model(Bytes& out, const ModelId& model);
// HAVE, LOST, WANT, REQUEST, CLAIM, CANCEL or REJECT. REQUIRES: valid_runs(pieces).
void append_piece_list(Bytes& out, FrameType type, std::uint16_t handle,
                       std::span<const PieceRun> pieces, const PieceListFields& fields);
void append_blob_request(Bytes& out, std::uint16_t handle, std::uint32_t request,
                         const Digest& digest);
void append_blob_reject(Bytes& out, std::uint16_t handle, std::uint32_t request);
// Leaves out addresses that a receiver would refuse, and what is beyond kPeerAddressesMax.
void append_peers(Bytes& out, std::uint16_t handle, std::span<const PeerAddress> peers);
void append_ping(Bytes& out, FrameType ping_or_pong, std::uint64_t token);
void append_close(Bytes& out, CloseReason reason, std::string_view text);

// The versions alone, for they must be compared before the rest is looked at.
Result<VersionRange> decode_hello_versions(std::span<const std::byte> body);
Result<Hello> decode_hello(std::span<const std::byte> body);
Result<ModelId> decode_model(std::span<const std::byte> body);  // OPEN, UNKNOWN_MODEL
Result<PieceList> decode_piece_list(FrameType type, std::span<const std::byte> body);
Result<BlobAsk> decode_blob_request(std::span<const std::byte> body);
Result<std::uint32_t> decode_blob_reject(std::span<const std::byte> body);
Result<std::vector<PeerAddress>> decode_peers(std::span<const std::byte> body);
Result<std::uint64_t> decode_ping(std::span<const std::byte> body);
Result<event::Closed> decode_close(std::span<const std::byte> body);

// Text from a peer, fit for a terminal: printable ASCII stays, every other byte becomes '?'.
std::string clean_text(std::string_view text, std::size_t bytes_max);

}  // namespace shardswarm::message
