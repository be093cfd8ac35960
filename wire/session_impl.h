// What a session remembers. Private to wire/session*.cc.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "wire/frame.h"
#include "wire/messages.h"
#include "wire/session.h"

namespace shardswarm {

// Not thread-safe. Bounded memory: 8 MiB of control frames queued, 8 MiB of a WANT being put
// together, one frame being received (256 KiB, unfolding to 1 MiB), 1024 models of each side.
class Session::Impl {
 public:
  Impl(Hello self, std::optional<NodeId> authenticated);

  // session_receive.cc
  std::array<std::span<std::byte>, 2> receive_spans();
  void received(std::size_t n);
  std::optional<SessionEvent> next_event();
  void answer_piece(std::span<std::byte> buffer, std::uint32_t length);
  void drop_receive();

  // session_send.cc
  Channel open(const ModelId& model);
  void unknown_model(Channel channel);
  void send_pieces(FrameType type, Channel channel, std::span<const PieceRun> pieces,
                   const message::PieceListFields& fields);
  void request_blob(Channel channel, std::uint32_t request, const Digest& digest);
  void send_blob(Channel channel, std::uint32_t request, Blob blob, bool compressed);
  void reject_blob(Channel channel, std::uint32_t request);
  void peers(Channel channel, std::span<const PeerAddress> peers);
  void ping(FrameType ping_or_pong, std::uint64_t token);
  void send_piece(Channel channel, PieceIndex piece, std::uint32_t length);
  bool abort_piece(Channel channel, PieceIndex piece);
  std::size_t pieces_queued() const { return pieces_.size(); }
  void data_frames_up_to(std::uint32_t bytes) {
    const bool any = (features_in_use_ & kFeatureLongData) != 0;
    data_bytes_ = any ? bytes : std::min(bytes, limits::kShortFrameBytes);
  }
  void pace_payload() { paced_ = true; }
  bool piece_frame_waits() const { return may_begin_paced() && !pieces_.empty(); }
  bool blob_frame_waits() const { return may_begin_paced() && !blobs_.empty(); }
  std::uint32_t begin_piece_frame(std::uint32_t body_max);
  std::uint32_t begin_blob_frame(std::uint32_t body_max);
  Output next_output();
  void sent(std::size_t n);
  std::size_t queued_bytes() const { return out_.size() - out_done_ + queue_.size(); }
  bool has_output() const {
    const bool begun = queued_bytes() > 0 || data_body_ || blob_body_;
    return !peer_closed_ && (begun || (!paced_ && !(blobs_.empty() && pieces_.empty())));
  }

  // session.cc
  void close(CloseReason reason, std::string_view text);
  bool ready() const { return ready_; }
  std::uint64_t features_in_use() const { return features_in_use_; }
  bool closing() const { return closing_; }
  std::optional<ModelId> model_of(Channel channel) const;
  bool may_open(const ModelId& id) const;
  bool peer_opened(Channel channel) const;

 private:
  using RequestKey = std::pair<Channel, std::uint32_t>;

  struct Model {
    ModelId id;
    bool declared = false;   // our handle was given by OPEN: frames of ours may carry it
    bool announced = false;  // and no UNKNOWN_MODEL took it back since
    bool peer_open = false;  // the same of the peer
    bool peer_declared = false;
  };

  // A piece on its way in.
  struct Incoming {
    Channel channel;
    PieceIndex piece;
    std::uint32_t length = 0;
    std::uint32_t got = 0;
    std::span<std::byte> buffer;  // empty: its bytes are thrown away
  };

  struct OutgoingPiece {
    Channel channel;
    PieceIndex piece;
    std::uint32_t length = 0;
    std::uint32_t done = 0;  // whole frames
    bool aborted = false;    // goes when its frame under way is done
  };
  struct OutgoingBlob {
    RequestKey key;
    Blob blob;
    bool compressed = false;
    std::size_t done = 0;
  };
  // A blob on its way in.
  struct AskedBlob {
    std::uint32_t next = 0;   // the offset expected
    bool compressed = false;  // as its first frame said
  };
  // Bodies of the frame whose header is in out_, or went already.
  struct DataBody {
    Channel channel;
    PieceIndex piece;
    std::uint32_t offset = 0;
    std::uint32_t end = 0;
  };
  struct BlobBody {
    Blob blob;
    std::size_t offset = 0;
    std::size_t end = 0;
  };

  enum class State : std::uint8_t { kHeader, kBody, kAnswer, kStopped };
  enum class Body : std::uint8_t { kPreamble, kControl, kPiece, kBlob, kSkipped };

  // session.cc
  void fail_session(Errc code, CloseReason reason, std::string message);
  void protocol_error(std::string message) {
    fail_session(Errc::kProtocol, CloseReason::kProtocolError, std::move(message));
  }
  // Receives no more and sends no more than the frame under way.
  void stop();
  Channel channel_of(const ModelId& model);  // made if there is none
  Model& model(Channel channel) { return models_[channel.value - 1U]; }
  const Model* find_model(Channel channel) const;
  // Our handle of a channel is the channel's own number.
  static std::uint16_t handle_of(Channel channel) { return channel.value; }

  // session_receive.cc
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

  // session_messages.cc
  std::optional<Channel> peer_channel(std::uint16_t handle) const;
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
    protocol_error(std::string(frame_type_name(type)) + " frame: " + result.error().message);
    return false;
  }

  // session_send.cc
  bool may_send(Channel channel) const;
  void bound_queue();
  void begin_output();
  bool may_begin_paced() const;
  void append_data_header(std::uint32_t body_max);
  void append_blob_header(std::uint32_t body_max);
  void end_data_frame();

  Hello self_;
  std::optional<NodeId> authenticated_;
  bool ready_ = false;
  std::uint64_t features_in_use_ = 0;
  bool closing_ = false;
  bool peer_closed_ = false;

  std::vector<Model> models_;  // by channel, from 1
  std::map<ModelId, Channel> channels_;
  std::map<std::uint16_t, Channel> peer_handles_;
  std::uint32_t declared_ = 0;  // models with a handle of ours

  // Receiving.
  State state_ = State::kBody;
  Body body_ = Body::kPreamble;
  std::array<std::byte, limits::kFrameHeaderBytes> header_bytes_{};
  std::size_t header_done_ = 0;
  FrameHeader header_;
  std::uint32_t body_rest_ = 0;
  std::vector<std::byte> buffer_;         // preamble, control and blob bodies
  std::unique_ptr<std::byte[]> scratch_;  // where thrown-away bytes go
  std::optional<Incoming> incoming_;
  std::optional<std::pair<Channel, std::vector<PieceRun>>> want_;  // parts of it came
  std::map<RequestKey, AskedBlob> blobs_asked_;                    // by us
  std::deque<SessionEvent> events_;

  // Sending. Control frames gather in queue_; out_ is what the transport takes from, so that its
  // bytes stay in place while more is queued.
  std::vector<std::byte> queue_;
  std::vector<std::byte> out_;
  std::size_t out_done_ = 0;
  std::optional<DataBody> data_body_;
  std::optional<BlobBody> blob_body_;
  std::uint32_t data_bytes_ = limits::kShortFrameBytes;  // in a frame, at most
  bool paced_ = false;                                   // DATA frames begin when they are told to
  std::deque<OutgoingPiece> pieces_;
  std::deque<OutgoingBlob> blobs_;
  std::set<RequestKey> blobs_owed_;  // asked for by the peer, not answered whole
};

}  // namespace shardswarm
