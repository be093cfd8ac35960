// Frames of a peer, made by hand: those that the protocol allows and others.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/wire/pair.h"
#include "wire/messages.h"

namespace shardswarm::test {

inline Bytes frame(FrameHeader header, const Bytes& body = {}) {
  Bytes out;
  header.length = static_cast<std::uint32_t>(body.size());
  message::append_header(out, header);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

inline Bytes frame(FrameType type, std::uint16_t handle, const Bytes& body = {}) {
  return frame(FrameHeader{.type = static_cast<std::uint8_t>(type), .handle = handle}, body);
}

inline Bytes data(std::uint16_t handle, std::uint32_t piece, std::uint32_t offset,
                  std::size_t bytes) {
  return frame(FrameHeader{.type = static_cast<std::uint8_t>(FrameType::kData),
                           .handle = handle,
                           .piece = piece,
                           .offset = offset},
               Bytes(bytes, std::byte{7}));
}

inline Bytes blob(std::uint32_t request, std::uint32_t offset, std::size_t bytes, bool last,
                  bool compressed = false) {
  return frame(FrameHeader{.type = static_cast<std::uint8_t>(FrameType::kBlob),
                           .flags = static_cast<std::uint8_t>((last ? kBlobLast : 0) |
                                                              (compressed ? kBlobCompressed : 0)),
                           .handle = 1,
                           .piece = request,
                           .offset = offset},
               Bytes(bytes, std::byte{7}));
}

inline Bytes preamble() { return {kPreambleBytes.begin(), kPreambleBytes.end()}; }

inline Bytes hello_frame(std::uint32_t version_min = 1, std::uint32_t version_max = 1,
                         std::uint64_t features = 0) {
  Bytes out;
  message::append_hello(out, hello_of(2, features), {.min = version_min, .max = version_max});
  return out;
}

inline Bytes open_frame(std::uint16_t handle, std::uint8_t model) {
  Bytes out;
  message::append_open(out, handle, digest_of(model));
  return out;
}

inline Bytes& operator+=(Bytes& to, const Bytes& from) {
  to.insert(to.end(), from.begin(), from.end());
  return to;
}

}  // namespace shardswarm::test
