// What a session makes of received bytes: first frames, then events. Private to wire/session*.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "wire/channels.h"
#include "wire/frame.h"
#include "wire/session_state.h"

namespace shardswarm {

namespace message {
struct PieceList;
}

// Not thread-safe. Bounded memory: one frame being received (256 KiB, unfolding to 1 MiB).
class SessionReader {
 public:
  explicit SessionReader(SessionState& session);

  // As of Session.
  std::array<std::span<std::byte>, 2> receive_spans();
  void received(std::size_t n);
  // `buffer`: empty if the piece's bytes are thrown away.
  void answer_piece(std::span<std::byte> buffer, std::uint32_t length);
  void drop_receive();

 private:
  enum class State : std::uint8_t { kHeader, kBody, kAnswer };
  enum class Body : std::uint8_t { kPreamble, kControl, kPiece, kBlob, kSkipped };

  // --- bytes to frames: session_reader.cc ---
  void expect_header();
  void expect_body(Body body, std::uint32_t length);
  void body_received(std::size_t n);
  void finish_body();
  bool is_tls() const;
  void fail_for_tls();
  void finish_preamble();
  void finish_piece_frame();
  void finish_blob_frame();
  void header_complete();
  void begin_data(Channel channel);
  void begin_blob(Channel channel);

  // --- control frames to events: session_messages.cc ---
  void on_control(FrameType type, std::span<const std::byte> body);
  void on_hello(std::span<const std::byte> body);
  void on_open(std::span<const std::byte> body);
  void on_unknown_model(std::span<const std::byte> body);
  void on_piece_list(FrameType type, Channel channel, std::span<const std::byte> body);
  void on_want(Channel channel, message::PieceList list);
  void on_reject(Channel channel, message::PieceList list);
  void on_blob_request(Channel channel, std::span<const std::byte> body);
  void on_blob_reject(Channel channel, std::span<const std::byte> body);
  void on_peers(Channel channel, std::span<const std::byte> body);
  void on_ping(FrameType type, std::span<const std::byte> body);
  void on_close(std::span<const std::byte> body);
  bool answerable(FrameType type, Channel channel);
  template <class T>
  bool decoded(FrameType type, const Result<T>& result) {
    if (result) return true;
    session_.protocol_error(std::string(frame_type_name(type)) +
                            " frame: " + result.error().message);
    return false;
  }

  SessionState& session_;
  State state_ = State::kBody;
  Body body_ = Body::kPreamble;
  std::array<std::byte, limits::kFrameHeaderBytes> header_bytes_{};
  std::size_t header_done_ = 0;
  FrameHeader header_;
  std::uint32_t body_rest_ = 0;
  std::vector<std::byte> buffer_;         // preamble, control and blob bodies
  std::unique_ptr<std::byte[]> scratch_;  // where thrown-away bytes go
};

}  // namespace shardswarm
