#include "wire/frame.h"

#include <fmt/format.h>

#include "base/bytes.h"

namespace shardswarm {
namespace {

struct TypeRule {
  std::string_view name;
  std::uint32_t body_bytes_max;
  bool about_model;  // the handle is set; else it is 0
};

// Bounds leave room for fields of later versions, but not for much more than a message may hold:
// what is parsed from 1 byte can take 40 bytes of memory.
constexpr std::uint32_t kSmallBytesMax = 1024;
constexpr std::uint32_t kHelloBytesMax = 8 * limits::kKiB;
constexpr std::uint32_t kCloseBytesMax = 2 * limits::kKiB;
constexpr std::uint32_t kPeersBytesMax = 80 * limits::kKiB;
static_assert(limits::kHelloAddressesMax * (limits::kAddressBytesMax + 4) + 1024 <= kHelloBytesMax);
static_assert(limits::kReasonBytesMax + 64 <= kCloseBytesMax);
// A Peer takes 34 bytes for its id, 2 for `connected`, 3 + 3 for the lengths besides the address.
static_assert(limits::kPeerAddressesMax * (limits::kAddressBytesMax + 47) <= kPeersBytesMax);
static_assert(kPeersBytesMax <= limits::kControlBytesMax);

constexpr TypeRule rule_of(FrameType type) {
  switch (type) {
    case FrameType::kHello:
      return {"HELLO", kHelloBytesMax, false};
    case FrameType::kOpen:
      return {"OPEN", kSmallBytesMax, true};
    case FrameType::kUnknownModel:
      return {"UNKNOWN_MODEL", kSmallBytesMax, false};
    case FrameType::kHave:
      return {"HAVE", limits::kControlBytesMax, true};
    case FrameType::kLost:
      return {"LOST", limits::kControlBytesMax, true};
    case FrameType::kWant:
      return {"WANT", limits::kControlBytesMax, true};
    case FrameType::kRequest:
      return {"REQUEST", limits::kControlBytesMax, true};
    case FrameType::kClaim:
      return {"CLAIM", limits::kControlBytesMax, true};
    case FrameType::kCancel:
      return {"CANCEL", limits::kControlBytesMax, true};
    case FrameType::kReject:
      return {"REJECT", limits::kControlBytesMax, true};
    case FrameType::kBlobRequest:
      return {"BLOB_REQUEST", kSmallBytesMax, true};
    case FrameType::kBlobReject:
      return {"BLOB_REJECT", kSmallBytesMax, true};
    case FrameType::kPeers:
      return {"PEERS", kPeersBytesMax, true};
    case FrameType::kPing:
      return {"PING", kSmallBytesMax, false};
    case FrameType::kPong:
      return {"PONG", kSmallBytesMax, false};
    case FrameType::kClose:
      return {"CLOSE", kCloseBytesMax, false};
    case FrameType::kData:
      return {"DATA", limits::kDataBytesMax, true};
    case FrameType::kBlob:
      return {"BLOB", limits::kShortFrameBytes, true};
  }
  return {"unknown", limits::kControlBytesMax, false};
}

Result<void> check_data(const FrameHeader& header) {
  if (header.length == 0) return fail(Errc::kProtocol, "DATA frame without a body");
  if (header.flags != 0) return fail(Errc::kProtocol, "DATA frame with unknown flags");
  if (header.piece >= limits::kPiecesMax) {
    return fail(Errc::kProtocol,
                fmt::format("DATA frame of piece {}, beyond the {} a model may have", header.piece,
                            limits::kPiecesMax));
  }
  if (std::uint64_t{header.offset} + header.length > limits::kPieceBytesMax) {
    return fail(
        Errc::kProtocol,
        fmt::format("DATA frame of piece {} ends at byte {}, beyond the {} a piece may have",
                    header.piece, std::uint64_t{header.offset} + header.length,
                    limits::kPieceBytesMax));
  }
  return {};
}

Result<void> check_blob(const FrameHeader& header) {
  if ((header.flags & ~(kBlobLast | kBlobCompressed)) != 0) {
    return fail(Errc::kProtocol, "BLOB frame with unknown flags");
  }
  // Only an empty blob has a frame without bytes.
  if (header.length == 0 && (header.flags != kBlobLast || header.offset != 0)) {
    return fail(Errc::kProtocol, "BLOB frame without a body");
  }
  const bool compressed = (header.flags & kBlobCompressed) != 0;
  const std::uint64_t most = compressed ? limits::kCompressedBlobBytesMax : limits::kBlobBytesMax;
  if (std::uint64_t{header.offset} + header.length > most) {
    return fail(Errc::kProtocol,
                fmt::format("BLOB frame ends beyond the {} bytes a {}blob may have", most,
                            compressed ? "compressed " : ""));
  }
  return {};
}

}  // namespace

std::array<std::byte, limits::kFrameHeaderBytes> encode_frame_header(const FrameHeader& header) {
  std::array<std::byte, limits::kFrameHeaderBytes> bytes;
  put_little_endian(bytes, 0, header.length);
  put_little_endian(bytes, 4, header.type);
  put_little_endian(bytes, 5, header.flags);
  put_little_endian(bytes, 6, header.handle);
  put_little_endian(bytes, 8, header.piece);
  put_little_endian(bytes, 12, header.offset);
  return bytes;
}

FrameHeader decode_frame_header(std::span<const std::byte, limits::kFrameHeaderBytes> bytes) {
  FrameHeader header;
  header.length = little_endian_at<std::uint32_t>(bytes, 0);
  header.type = little_endian_at<std::uint8_t>(bytes, 4);
  header.flags = little_endian_at<std::uint8_t>(bytes, 5);
  header.handle = little_endian_at<std::uint16_t>(bytes, 6);
  header.piece = little_endian_at<std::uint32_t>(bytes, 8);
  header.offset = little_endian_at<std::uint32_t>(bytes, 12);
  return header;
}

std::optional<FrameType> known_frame_type(std::uint8_t type) {
  const auto bare = static_cast<std::uint8_t>(type & ~kFrameCritical);
  const bool control = bare >= static_cast<std::uint8_t>(FrameType::kHello) &&
                       bare <= static_cast<std::uint8_t>(FrameType::kClose);
  const bool raw = bare == static_cast<std::uint8_t>(FrameType::kData) ||
                   bare == static_cast<std::uint8_t>(FrameType::kBlob);
  if (!control && !raw) return std::nullopt;
  return static_cast<FrameType>(bare);
}

std::string_view frame_type_name(FrameType type) { return rule_of(type).name; }

std::uint32_t frame_body_bytes_max(FrameType type) { return rule_of(type).body_bytes_max; }

Result<void> check_frame_header(const FrameHeader& header) {
  const auto type = known_frame_type(header.type);
  if (!type) {
    if (header.length <= limits::kControlBytesMax) return {};
    return fail(Errc::kProtocol,
                fmt::format("frame of unknown type 0x{:02x} with a body of {} bytes: at most {}",
                            header.type, header.length, limits::kControlBytesMax));
  }
  const TypeRule rule = rule_of(*type);
  if (header.length > rule.body_bytes_max) {
    return fail(Errc::kProtocol, fmt::format("{} frame with a body of {} bytes: at most {}",
                                             rule.name, header.length, rule.body_bytes_max));
  }
  if (rule.about_model != (header.handle != 0)) {
    return fail(Errc::kProtocol, fmt::format("{} frame {} a model's handle", rule.name,
                                             rule.about_model ? "without" : "with"));
  }
  if (*type == FrameType::kData) return check_data(header);
  if (*type == FrameType::kBlob) return check_blob(header);
  if (header.flags != 0 || header.piece != 0 || header.offset != 0) {
    return fail(Errc::kProtocol,
                fmt::format("{} frame with header fields set that it does not use", rule.name));
  }
  return {};
}

}  // namespace shardswarm
