// What one connection has to send, in order: control frames first, then blobs, then pieces, the
// last two in frames that are made when they can go out.
//
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/limits.h"
#include "piece/manifest.h"
#include "wire/channels.h"
#include "wire/frame.h"

namespace shardswarm {

// What to put on the transport next.
struct OutputBytes {
  std::span<const std::byte> bytes;
  bool more = false;  // more follows now
};
struct OutputExtent {  // these bytes of that piece
  Channel channel;
  PieceIndex piece;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
};
using Output = std::variant<std::monostate, OutputBytes, OutputExtent>;

// A request for a blob: of which channel, and its number there.
using BlobRequestKey = std::pair<Channel, std::uint32_t>;

class SendQueue {
 public:
  // --- what is to be sent ---
  // Control frames are appended here.
  std::vector<std::byte>& control() { return control_; }
  // `at_once`: the preamble and HELLO, which go first whatever happens next.
  void begin(std::vector<std::byte> at_once) { out_ = std::move(at_once); }
  void add_piece(Channel channel, PieceIndex piece, std::uint32_t length);
  enum class Aborted : std::uint8_t {
    kNo,     // it is not queued, or its last frame is under way
    kSoon,   // it ends with the frame under way: see sent()
    kAtOnce  // no byte of it is under way: it is gone
  };
  Aborted abort_piece(Channel channel, PieceIndex piece);
  // Nothing more than the frame under way, and then the control frames.
  void stop_payload();
  // Nothing more at all: the peer listens no more.
  void stop() { stopped_ = true; }

  // --- blobs that the peer asked for ---
  bool owes(BlobRequestKey key) const { return owed_.contains(key); }
  std::size_t owed() const { return owed_.size(); }
  void owe(BlobRequestKey key) { owed_.insert(key); }
  // Owed until its last frame begins. REQUIRES: owes(key).
  void add_blob(BlobRequestKey key, Blob blob, bool compressed);
  // It is not sent. Whether it was owed.
  bool drop_blob(BlobRequestKey key) { return owed_.erase(key) == 1; }

  // --- pace ---
  // Bytes of a piece in the frames begun from now on, at most.
  void data_frames_up_to(std::uint32_t bytes) { data_bytes_ = bytes; }
  // From now on DATA and BLOB frames begin by begin_piece_frame() and begin_blob_frame() alone; all
  // others go out as ever. A frame begun goes out whole, so control never waits for the rate limit
  // behind half a frame.
  void pace() { paced_ = true; }
  // Paced, and such a frame could begin now.
  bool piece_frame_waits() const { return may_begin_paced() && !pieces_.empty(); }
  bool blob_frame_waits() const { return may_begin_paced() && !blobs_.empty(); }
  // Begins it, of at most `body_max` bytes; returns how many with the header. REQUIRES: such a
  // frame waits, body_max >= 1.
  std::uint32_t begin_piece_frame(std::uint32_t body_max);
  std::uint32_t begin_blob_frame(std::uint32_t body_max);

  // --- output ---
  // The same until sent(), and its bytes stay where they are until then.
  Output next();
  struct EndedPiece {  // handed to the transport whole, or given up
    Channel channel;
    PieceIndex piece;
    bool aborted = false;
  };
  // The piece that ended with these bytes. REQUIRES: n <= size of the last next().
  std::optional<EndedPiece> sent(std::size_t n);
  bool has_output() const;     // whether next() would find something; begins nothing
  std::size_t bytes() const {  // control bytes queued, blobs and pieces not counted
    return out_.size() - out_done_ + control_.size();
  }

 private:
  struct OutgoingPiece {
    Channel channel;
    PieceIndex piece;
    std::uint32_t length = 0;
    std::uint32_t done = 0;  // whole frames
    bool aborted = false;    // goes when its frame under way is done
  };
  struct OutgoingBlob {
    BlobRequestKey key;
    Blob blob;
    bool compressed = false;
    std::size_t done = 0;
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

  bool between_frames() const { return out_done_ == out_.size() && !data_body_ && !blob_body_; }
  bool may_begin_paced() const {
    return paced_ && !payload_stopped_ && !stopped_ && between_frames();
  }
  void begin_output();
  void append_data_header(std::uint32_t body_max);
  void append_blob_header(std::uint32_t body_max);
  std::optional<EndedPiece> end_data_frame();

  // Control frames gather in control_; out_ is what the transport takes from, so that its bytes
  // stay in place while more is queued.
  std::vector<std::byte> control_;
  std::vector<std::byte> out_;
  std::size_t out_done_ = 0;
  std::optional<DataBody> data_body_;
  std::optional<BlobBody> blob_body_;
  std::uint32_t data_bytes_ = limits::kShortFrameBytes;
  bool paced_ = false;
  bool payload_stopped_ = false;
  bool stopped_ = false;
  std::deque<OutgoingPiece> pieces_;
  std::deque<OutgoingBlob> blobs_;
  std::set<BlobRequestKey> owed_;
};

}  // namespace shardswarm
