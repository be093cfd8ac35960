// The frame: a fixed header of 16 bytes, little-endian, then a body. Format: spec/protocol.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "piece/error.h"
#include "piece/limits.h"

namespace shardswarm {

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
  kBlob = 0x41,  // part of a blob: `piece` is the request's number, `offset` within the blob
};

inline constexpr std::uint8_t kFrameCritical = 0x80;  // or-ed to the type byte

struct FrameHeader {
  std::uint32_t length = 0;  // of the body
  std::uint8_t type = 0;     // FrameType, perhaps with kFrameCritical
  std::uint8_t flags = 0;    // kBlobLast on BLOB; else 0
  std::uint16_t handle = 0;  // the sender's handle of a model; 0 where the frame is about none
  std::uint32_t piece = 0;
  std::uint32_t offset = 0;

  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};
static_assert(sizeof(FrameHeader) == limits::kFrameHeaderBytes);

inline constexpr std::uint8_t kBlobLast = 0x01;

std::array<std::byte, limits::kFrameHeaderBytes> encode_frame_header(const FrameHeader& header);
FrameHeader decode_frame_header(
    std::span<const std::byte, limits::kFrameHeaderBytes> bytes);
// Bounds `length` by type, before any body is received. kProtocol otherwise.
Result<void> check_frame_header(const FrameHeader& header);

}  // namespace shardswarm
