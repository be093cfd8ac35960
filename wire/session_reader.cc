#include "wire/session_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "wire/messages.h"

namespace shardswarm {
namespace {

constexpr std::size_t kScratchBytes = 64 * limits::kKiB;
// A buffer grown for one large message is not kept: 200 connections would hold 50 MiB, and each of
// 64 peers that tells of all its neighbours now and then 4 KiB more, in both directions.
constexpr std::size_t kKeptBufferBytes = 2 * limits::kKiB;

}  // namespace

SessionReader::SessionReader(SessionState& session) : session_(session) {
  expect_body(Body::kPreamble, static_cast<std::uint32_t>(kPreambleBytes.size()));
}

std::array<std::span<std::byte>, 2> SessionReader::receive_spans() {
  if (session_.closing) return {};
  if (state_ == State::kHeader) return {std::span(header_bytes_).subspan(header_done_), {}};
  if (state_ != State::kBody) return {};
  std::span<std::byte> rest;
  if (body_ == Body::kSkipped || (body_ == Body::kPiece && session_.incoming->buffer.empty())) {
    if (!scratch_) scratch_ = std::make_unique<std::byte[]>(kScratchBytes);
    rest = {scratch_.get(), std::min<std::size_t>(body_rest_, kScratchBytes)};
  } else if (body_ == Body::kPiece) {
    rest = session_.incoming->buffer.subspan(session_.incoming->got, body_rest_);
  } else {
    rest = std::span(buffer_).last(body_rest_);
  }
  if (rest.size() < body_rest_) return {rest, {}};
  return {rest, header_bytes_};
}

void SessionReader::received(std::size_t n) {
  if (session_.closing) return;
  if (state_ == State::kBody) {
    const std::size_t of_body = std::min<std::size_t>(n, body_rest_);
    if (of_body > 0) body_received(of_body);
    n -= of_body;
  }
  if (n == 0 || session_.closing) return;
  assert(state_ == State::kHeader && n <= header_bytes_.size() - header_done_);
  header_done_ += n;
  if (header_done_ == header_bytes_.size()) header_complete();
}

void SessionReader::expect_header() {
  state_ = State::kHeader;
  header_done_ = 0;
}

void SessionReader::expect_body(Body body, std::uint32_t length) {
  state_ = State::kBody;
  body_ = body;
  body_rest_ = length;
  const bool buffered = body != Body::kPiece && body != Body::kSkipped;
  if (buffered) buffer_.resize(length);
  if (length == 0) finish_body();
}

void SessionReader::body_received(std::size_t n) {
  const auto bytes = static_cast<std::uint32_t>(n);
  body_rest_ -= bytes;
  if (body_ == Body::kPiece) {
    session_.incoming->got += bytes;
    session_.events.push_back(event::PieceBytes{
        .channel = session_.incoming->channel, .piece = session_.incoming->piece, .bytes = bytes});
  }
  if (body_ == Body::kPreamble && body_rest_ > 0 && is_tls()) {
    fail_for_tls();
    return;
  }
  if (body_rest_ == 0) finish_body();
}

void SessionReader::finish_body() {
  const Body body = body_;
  expect_header();
  switch (body) {
    case Body::kPreamble:
      finish_preamble();
      break;
    case Body::kControl:
      on_control(*known_frame_type(header_.type), buffer_);
      break;
    case Body::kPiece:
      finish_piece_frame();
      break;
    case Body::kBlob:
      finish_blob_frame();
      break;
    case Body::kSkipped:
      break;
  }
  buffer_.clear();
  if (buffer_.capacity() > kKeptBufferBytes) buffer_.shrink_to_fit();
}

// Whether the peer's first bytes are those of a TLS record (WIRE-1a). An alert has 7 bytes, one
// fewer than the preamble, and is waited for to its end: its bytes tell more than that it is one.
bool SessionReader::is_tls() const {
  constexpr std::byte kAlert{0x15};
  constexpr std::byte kHandshake{0x16};
  constexpr std::byte kMajorVersion{0x03};
  const std::size_t got = buffer_.size() - body_rest_;
  if (got < 2 || buffer_[1] != kMajorVersion) return false;
  return buffer_[0] == kHandshake || (buffer_[0] == kAlert && got >= kTlsAlertBytes.size());
}

void SessionReader::fail_for_tls() {
  const bool answer = std::ranges::equal(
      std::span(buffer_).first(std::min(buffer_.size() - body_rest_, kTlsAlertBytes.size())),
      kTlsAlertBytes);
  session_.fail(Errc::kRefused, CloseReason::kProtocolError,
                std::string(answer ? "it has a cluster key and this node has none"
                                   : "it speaks TLS, as a node with a cluster key does, and this "
                                     "node has no key") +
                    ": if it is yours, run `shardswarm key export` there and `shardswarm key "
                    "import` here, and start this node again");
}

void SessionReader::finish_preamble() {
  const auto difference =
      std::mismatch(kPreambleBytes.begin(), kPreambleBytes.end(), buffer_.begin()).first;
  if (difference == kPreambleBytes.end()) return;
  if (difference == kPreambleBytes.end() - 1) {
    session_.fail(Errc::kVersion, CloseReason::kVersion,
                  fmt::format("peer uses framing {}, this node {}: no common version",
                              std::to_integer<unsigned>(buffer_.back()),
                              std::to_integer<unsigned>(kPreambleBytes.back())));
    return;
  }
  if (is_tls()) {
    fail_for_tls();
  } else {
    session_.protocol_error("not a shardswarm peer");
  }
}

void SessionReader::finish_piece_frame() {
  if (session_.incoming->got < session_.incoming->length) return;
  session_.events.push_back(event::PieceEnd{.channel = session_.incoming->channel,
                                            .piece = session_.incoming->piece,
                                            .discarded = session_.incoming->buffer.empty()});
  session_.incoming.reset();
}

void SessionReader::finish_blob_frame() {
  const Channel channel = *session_.channels.of_peer_handle(header_.handle);
  const bool last = (header_.flags & kBlobLast) != 0;
  const bool compressed = (header_.flags & kBlobCompressed) != 0;
  const auto asked = session_.blobs_asked.find({channel, header_.piece});
  asked->second.next += header_.length;
  asked->second.compressed = compressed;
  if (last) session_.blobs_asked.erase(asked);
  session_.events.push_back(event::BlobChunk{.channel = channel,
                                             .request = header_.piece,
                                             .offset = header_.offset,
                                             .bytes = std::move(buffer_),
                                             .last = last,
                                             .compressed = compressed});
}

void SessionReader::header_complete() {
  header_ = decode_frame_header(header_bytes_);
  if (const auto checked = check_frame_header(header_); !checked) {
    session_.protocol_error(checked.error().message);
    return;
  }
  const auto type = known_frame_type(header_.type);
  if (!session_.ready && type != FrameType::kHello) {
    session_.protocol_error(fmt::format(
        "{} frame before HELLO", type ? frame_type_name(*type) : std::string_view("unknown")));
  } else if (!type && (header_.type & kFrameCritical) != 0) {
    session_.protocol_error(fmt::format("critical frame of unknown type 0x{:02x}", header_.type));
  } else if (!type) {
    expect_body(Body::kSkipped, header_.length);
  } else if (*type != FrameType::kData && *type != FrameType::kBlob) {
    expect_body(Body::kControl, header_.length);
  } else if (const auto channel = session_.channels.of_peer_handle(header_.handle); !channel) {
    session_.protocol_error(fmt::format("{} frame with handle {}, which was never opened",
                                        frame_type_name(*type), header_.handle));
  } else if (*type == FrameType::kData) {
    begin_data(*channel);
  } else {
    begin_blob(*channel);
  }
}

// WIRE-31 .. WIRE-34.
void SessionReader::begin_data(Channel channel) {
  const PieceIndex piece(header_.piece);
  if (!session_.incoming) {
    if (header_.offset != 0) {
      session_.protocol_error(
          fmt::format("DATA of piece {} begins at byte {}", piece.value, header_.offset));
      return;
    }
    session_.incoming = SessionState::Incoming{.channel = channel, .piece = piece, .buffer = {}};
    state_ = State::kAnswer;
    session_.events.push_back(event::PieceBegin{.channel = channel, .piece = piece});
    return;
  }
  const SessionState::Incoming& now = *session_.incoming;
  if (now.channel != channel || now.piece != piece) {
    session_.protocol_error(
        fmt::format("DATA of piece {} while piece {} is under way", piece.value, now.piece.value));
  } else if (header_.offset != now.got) {
    session_.protocol_error(fmt::format("DATA of piece {} goes on at byte {}, {} came before",
                                        piece.value, header_.offset, now.got));
  } else if (header_.length > now.length - now.got) {
    session_.protocol_error(
        fmt::format("DATA of piece {} goes beyond its {} bytes", piece.value, now.length));
  } else {
    expect_body(Body::kPiece, header_.length);
  }
}

void SessionReader::answer_piece(std::span<std::byte> buffer, std::uint32_t length) {
  if (session_.closing) return;
  assert(state_ == State::kAnswer);
  assert(length >= 1 && length <= limits::kPieceBytesMax);
  session_.incoming->buffer = buffer;
  session_.incoming->length = length;
  if (header_.length > length) {
    session_.protocol_error(fmt::format("DATA of piece {} goes beyond its {} bytes",
                                        session_.incoming->piece.value, length));
    return;
  }
  expect_body(Body::kPiece, header_.length);
}

void SessionReader::drop_receive() {
  if (session_.closing || !session_.incoming) return;
  assert(state_ != State::kAnswer);
  session_.incoming->buffer = {};
}

// WIRE-42, WIRE-45.
void SessionReader::begin_blob(Channel channel) {
  const bool compressed = (header_.flags & kBlobCompressed) != 0;
  const auto asked = session_.blobs_asked.find({channel, header_.piece});
  if (asked == session_.blobs_asked.end()) {
    session_.protocol_error(
        fmt::format("BLOB of request {}, which was not made or was answered", header_.piece));
  } else if (header_.offset != asked->second.next) {
    session_.protocol_error(fmt::format("BLOB of request {} goes on at byte {}, {} came before",
                                        header_.piece, header_.offset, asked->second.next));
  } else if (compressed && (session_.features_in_use & kFeatureZstdBlobs) == 0) {
    session_.protocol_error(
        fmt::format("BLOB of request {} is compressed, which this connection has not in "
                    "use",
                    header_.piece));
  } else if (header_.offset > 0 && compressed != asked->second.compressed) {
    session_.protocol_error(
        fmt::format("BLOB of request {} is compressed in part of its frames only", header_.piece));
  } else {
    expect_body(Body::kBlob, header_.length);
  }
}

}  // namespace shardswarm
