#include "simulator/stream.h"

#include <algorithm>
#include <cassert>

namespace shardswarm::sim {
namespace {

// Of hundreds of thousands of streams each carries a long list of peers now and then.
constexpr std::size_t kKeptBytes = 1024;

}  // namespace

std::uint32_t FrameScanner::feed(std::span<const std::byte> bytes) {
  std::uint32_t frames = 0;
  while (!bytes.empty()) {
    if (rest_ > 0) {
      const auto n = std::min<std::uint64_t>(rest_, bytes.size());
      bytes = bytes.subspan(n);
      rest_ -= n;
      if (rest_ == 0 && counts_) ++frames;
      continue;
    }
    const auto n = std::min<std::size_t>(header_.size() - header_bytes_, bytes.size());
    std::copy_n(bytes.begin(), n, header_.begin() + header_bytes_);
    header_bytes_ += static_cast<std::uint32_t>(n);
    bytes = bytes.subspan(n);
    if (header_bytes_ < header_.size()) break;
    header_bytes_ = 0;
    const FrameHeader header = decode_frame_header(header_);
    counts_ = known_frame_type(header.type) != FrameType::kData;
    rest_ = counts_ ? header.length : 0;
    if (counts_ && rest_ == 0) ++frames;
  }
  return frames;
}

void Stream::push(std::span<const std::byte> control) {
  const bool only_data_header =
      scanner_.between_frames() && control.size() == limits::kFrameHeaderBytes;
  const std::uint32_t frames = scanner_.feed(control);
  control_.insert(control_.end(), control.begin(), control.end());
  const bool urgent = !(only_data_header && frames == 0 && scanner_.between_frames());
  segments_.push_back({static_cast<std::uint32_t>(control.size()), frames, false, urgent});
  unread_ += control.size();
  if (urgent && until_urgent_ == 0) until_urgent_ = unread_;
}

void Stream::push_payload(std::uint32_t bytes, bool ends_piece) {
  unread_ += bytes;
  if (ends_piece && until_urgent_ == 0) until_urgent_ = unread_;
  if (!empty() && segments_.back().payload && !segments_.back().urgent) {
    segments_.back().bytes += bytes;
    segments_.back().urgent = ends_piece;
    return;
  }
  segments_.push_back({bytes, 0, true, ends_piece});
}

bool Stream::worth_reading(std::uint32_t readable, std::uint32_t enough) const {
  return readable >= enough || (until_urgent_ > 0 && readable >= until_urgent_);
}

std::uint32_t Stream::pop(std::array<std::span<std::byte>, 2> spans, std::uint32_t bytes) {
  assert(bytes <= unread_);
  unread_ -= bytes;
  std::uint32_t frames = 0;
  bool found = false;
  for (std::uint32_t left = bytes; left > 0;) {
    if (spans[0].empty()) std::swap(spans[0], spans[1]);
    Segment& segment = segments_[first_];
    const auto n =
        std::min(std::min(left, segment.bytes), static_cast<std::uint32_t>(spans[0].size()));
    assert(n > 0);
    if (!segment.payload) {
      std::copy_n(control_.begin() + static_cast<std::ptrdiff_t>(control_read_), n,
                  spans[0].begin());
      control_read_ += n;
    }
    spans[0] = spans[0].subspan(n);
    segment.bytes -= n;
    left -= n;
    if (segment.bytes > 0) continue;
    frames += segment.frames;
    found = found || segment.urgent;
    ++first_;
  }
  if (empty()) {
    clear();
  } else if (found) {
    find_urgent();
  } else if (until_urgent_ > 0) {
    until_urgent_ -= bytes;
  }
  return frames;
}

void Stream::find_urgent() {
  segments_.erase(segments_.begin(), segments_.begin() + static_cast<std::ptrdiff_t>(first_));
  first_ = 0;
  control_.erase(control_.begin(), control_.begin() + static_cast<std::ptrdiff_t>(control_read_));
  control_read_ = 0;
  until_urgent_ = 0;
  std::uint64_t end = 0;
  for (const Segment& segment : segments_) {
    end += segment.bytes;
    if (!segment.urgent) continue;
    until_urgent_ = end;
    return;
  }
}

void Stream::clear() {
  segments_.clear();
  first_ = 0;
  control_.clear();
  if (control_.capacity() > kKeptBytes) control_.shrink_to_fit();
  control_read_ = 0;
  until_urgent_ = unread_ = 0;
}

}  // namespace shardswarm::sim
