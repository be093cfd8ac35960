// The frame: a fixed header of 16 bytes, little-endian, then a body. Format: spec/protocol.md.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/address.h"
#include "base/error.h"
#include "base/limits.h"

namespace shardswarm {

// The first bytes on a connection, in each direction; the last one is the framing's version.
inline constexpr std::array<std::byte, 8> kPreambleBytes = {
    std::byte{'S'}, std::byte{'S'}, std::byte{'W'},  std::byte{'A'},
    std::byte{'R'}, std::byte{'M'}, std::byte{0x00}, std::byte{0x01}};

// What a node with a cluster key answers to a connection that does not begin with TLS: the fatal
// TLS alert protocol_version, in plaintext (WIRE-1a).
inline constexpr std::array<std::byte, 7> kTlsAlertBytes = {
    std::byte{0x15}, std::byte{0x03}, std::byte{0x03}, std::byte{0x00},
    std::byte{0x02}, std::byte{0x02}, std::byte{0x46}};

// Types below 0x40 are control frames (a Protobuf body of spec/proto/wire.proto), others carry raw
// bytes. The high bit says "critical": a receiver that does not know the type closes the
// connection instead of skipping the frame.
enum class FrameType : std::uint8_t {
  kHello = 0x01,
  kOpen = 0x02,
  kUnknownModel = 0x03,
  kHave = 0x04,
  kLost = 0x05,
  kWant = 0x06,
  kRequest = 0x07,
  kClaim = 0x08,
  kCancel = 0x09,
  kReject = 0x0a,
  kBlobRequest = 0x0b,
  kBlobReject = 0x0c,
  kPeers = 0x0d,
  kPing = 0x0e,
  kPong = 0x0f,
  kClose = 0x10,
  kData = 0x40,  // part of a piece: `piece`, `offset` within it
  kBlob = 0x41,  // part of a blob: `piece` is the request's number, `offset` within what is sent
};

inline constexpr std::uint8_t kFrameCritical = 0x80;  // or-ed to the type byte

struct FrameHeader {
  std::uint32_t length = 0;  // of the body
  std::uint8_t type = 0;     // FrameType, perhaps with kFrameCritical
  std::uint8_t flags = 0;    // kBlob… on BLOB; else 0
  std::uint16_t handle = 0;  // the sender's handle of a model; 0 where the frame is about none
  std::uint32_t piece = 0;
  std::uint32_t offset = 0;

  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};
static_assert(sizeof(FrameHeader) == limits::kFrameHeaderBytes);

inline constexpr std::uint8_t kBlobLast = 0x01;
inline constexpr std::uint8_t kBlobCompressed = 0x02;  // part of one zstd frame of the blob

// What follows from limits.h for single frames.
namespace limits {
// A bitmap of 32 KiB covers 262,144 pieces in at most 131,072 runs, no more than 256 KiB of runs
// do: so one message never unfolds to more than 1 MiB of PieceRun.
inline constexpr std::uint32_t kBitmapBytesMax = 32 * kKiB;
static_assert(kBitmapBytesMax * 4 <= kControlBytesMax / 2);
// Runs of one WANT, all its messages together: 8 MiB while it is put together.
inline constexpr std::size_t kWantRunsMax = std::size_t{1} << 20;
inline constexpr std::uint32_t kHelloAddressesMax = kAddressesMax;
inline constexpr std::size_t kAgentBytesMax = 128;
// The largest blob is a root, a safetensors header or a piece list.
inline constexpr std::uint64_t kBlobBytesMax =
    std::max({kRootBytesMax, kHeaderBytesMax, std::uint64_t{kPiecesMax} * 32});
static_assert(kBlobBytesMax <= UINT32_MAX, "a BLOB frame's offset has 32 bits");
}  // namespace limits

std::array<std::byte, limits::kFrameHeaderBytes> encode_frame_header(const FrameHeader& header);
FrameHeader decode_frame_header(std::span<const std::byte, limits::kFrameHeaderBytes> bytes);

// The type without its critical bit; nothing if this version does not know it.
std::optional<FrameType> known_frame_type(std::uint8_t type);
std::string_view frame_type_name(FrameType type);  // as in the specification: "BLOB_REQUEST"

// The largest body of a type. No control frame exceeds kControlBytesMax.
std::uint32_t frame_body_bytes_max(FrameType type);

// Bounds `length` by type and checks the other fields, before any body is received. kProtocol
// otherwise. Of a type that this version does not know only the length is checked.
Result<void> check_frame_header(const FrameHeader& header);

}  // namespace shardswarm
