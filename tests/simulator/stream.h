// What one side of a connection has put on the network and the other has not read yet: the bytes of
// control frames, and of pieces only how many. Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "wire/frame.h"

namespace shardswarm::sim {

// Finds the frames in the bytes of a sender, the bodies of DATA left out.
class FrameScanner {
 public:
  // How many control or blob frames end in the next bytes.
  std::uint32_t feed(std::span<const std::byte> bytes);
  // All bytes so far belong to whole frames, or to a DATA header.
  bool between_frames() const { return rest_ == 0 && header_bytes_ == 0; }

 private:
  std::array<std::byte, limits::kFrameHeaderBytes> header_{};
  std::uint32_t header_bytes_ = 0;
  std::uint64_t rest_ = kPreambleBytes.size();  // of the preamble or a body
  bool counts_ = false;                         // the body's frame
};

class Stream {
 public:
  void push(std::span<const std::byte> control);
  void push_payload(std::uint32_t bytes, bool ends_piece);

  // Whether the receiver should read now that `readable` bytes of it have arrived: there is a
  // control frame or the end of a piece in them, or they are `enough`. (A busy node finds more at
  // each read; that it does not wake for every packet in the midst of a piece is the same.)
  bool worth_reading(std::uint32_t readable, std::uint32_t enough) const;
  // Moves the first `bytes` into `spans`, payload excepted: their content stays as it is. Returns
  // the frames other than DATA that ended. REQUIRES: they were pushed, and the spans hold as much.
  std::uint32_t pop(std::array<std::span<std::byte>, 2> spans, std::uint32_t bytes);
  void clear();
  bool empty() const { return first_ == segments_.size(); }

 private:
  struct Segment {
    std::uint32_t bytes = 0;  // not read yet
    std::uint32_t frames = 0;
    bool payload = false;
    bool urgent = false;
  };
  void find_urgent();

  FrameScanner scanner_;
  std::vector<Segment> segments_;  // those before first_ are read
  std::size_t first_ = 0;
  std::vector<std::byte> control_;
  std::size_t control_read_ = 0;
  std::uint64_t until_urgent_ = 0;  // bytes up to the end of the first urgent segment; 0: none
  std::uint64_t unread_ = 0;
};

}  // namespace shardswarm::sim
