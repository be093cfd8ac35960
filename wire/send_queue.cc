#include "wire/send_queue.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "wire/messages.h"

namespace shardswarm {
namespace {

// A buffer grown for one large message is not kept: each of 64 peers that tells of all its
// neighbours now and then needs 4 KiB more, in both directions.
constexpr std::size_t kKeptQueueBytes = 2 * limits::kKiB;

}  // namespace

void SendQueue::add_piece(Channel channel, PieceIndex piece, std::uint32_t length) {
  assert(length >= 1 && length <= limits::kPieceBytesMax && piece.value < limits::kPiecesMax);
  pieces_.push_back({.channel = channel, .piece = piece, .length = length});
}

void SendQueue::add_blob(BlobRequestKey key, Blob blob, bool compressed) {
  assert(blob && blob->size() <= limits::kBlobBytesMax && owes(key));
  blobs_.push_back({.key = key, .blob = std::move(blob), .compressed = compressed});
}

SendQueue::Aborted SendQueue::abort_piece(Channel channel, PieceIndex piece) {
  const auto it = std::ranges::find_if(pieces_, [&](const OutgoingPiece& p) {
    return p.channel == channel && p.piece == piece && !p.aborted;
  });
  if (it == pieces_.end()) return Aborted::kNo;
  if (it != pieces_.begin() || !data_body_) {
    pieces_.erase(it);
    return Aborted::kAtOnce;
  }
  if (data_body_->end == it->length) return Aborted::kNo;
  it->aborted = true;
  return Aborted::kSoon;
}

void SendQueue::stop_payload() {
  payload_stopped_ = true;
  pieces_.clear();
  blobs_.clear();
}

// --- output ---

bool SendQueue::has_output() const {
  if (stopped_) return false;
  const bool begun = bytes() > 0 || data_body_ || blob_body_;
  return begun || (!paced_ && !(blobs_.empty() && pieces_.empty()));
}

Output SendQueue::next() {
  if (stopped_) return {};
  if (between_frames()) begin_output();
  if (out_done_ < out_.size()) {
    return OutputBytes{.bytes = std::span<const std::byte>(out_).subspan(out_done_),
                       .more = data_body_ || blob_body_};
  }
  if (data_body_) {
    return OutputExtent{.channel = data_body_->channel,
                        .piece = data_body_->piece,
                        .offset = data_body_->offset,
                        .length = data_body_->end - data_body_->offset};
  }
  if (blob_body_) {
    const std::span<const std::byte> blob = *blob_body_->blob;
    return OutputBytes{.bytes =
                           blob.subspan(blob_body_->offset, blob_body_->end - blob_body_->offset)};
  }
  return {};
}

// All control frames queued, and behind them the header of the next blob or data frame, so that one
// write takes both.
void SendQueue::begin_output() {
  out_.clear();
  if (out_.capacity() > kKeptQueueBytes) out_.shrink_to_fit();
  out_done_ = 0;
  std::swap(out_, control_);
  if (payload_stopped_ || paced_) return;
  if (!blobs_.empty()) {
    append_blob_header(limits::kShortFrameBytes);
  } else if (!pieces_.empty()) {
    append_data_header(data_bytes_);
  }
}

std::uint32_t SendQueue::begin_piece_frame(std::uint32_t body_max) {
  assert(piece_frame_waits() && body_max >= 1);
  begin_output();
  append_data_header(std::min(body_max, data_bytes_));
  return limits::kFrameHeaderBytes + (data_body_->end - data_body_->offset);
}

std::uint32_t SendQueue::begin_blob_frame(std::uint32_t body_max) {
  assert(blob_frame_waits() && body_max >= 1);
  begin_output();
  append_blob_header(std::min(body_max, limits::kShortFrameBytes));
  const std::size_t body = blob_body_ ? blob_body_->end - blob_body_->offset : 0;
  return limits::kFrameHeaderBytes + static_cast<std::uint32_t>(body);
}

void SendQueue::append_data_header(std::uint32_t body_max) {
  const OutgoingPiece& next = pieces_.front();
  const std::uint32_t length = std::min(next.length - next.done, body_max);
  message::append_header(out_, {.length = length,
                                .type = static_cast<std::uint8_t>(FrameType::kData),
                                .handle = Channels::handle_of(next.channel),
                                .piece = next.piece.value,
                                .offset = next.done});
  data_body_ = DataBody{
      .channel = next.channel, .piece = next.piece, .offset = next.done, .end = next.done + length};
}

void SendQueue::append_blob_header(std::uint32_t body_max) {
  OutgoingBlob next = std::move(blobs_.front());
  blobs_.pop_front();
  const std::size_t length = std::min<std::size_t>(next.blob->size() - next.done, body_max);
  const bool last = next.done + length == next.blob->size();
  message::append_header(
      out_, {.length = static_cast<std::uint32_t>(length),
             .type = static_cast<std::uint8_t>(FrameType::kBlob),
             .flags = static_cast<std::uint8_t>((last ? kBlobLast : 0) |
                                                (next.compressed ? kBlobCompressed : 0)),
             .handle = Channels::handle_of(next.key.first),
             .piece = next.key.second,
             .offset = static_cast<std::uint32_t>(next.done)});
  if (length > 0) {
    blob_body_ = BlobBody{.blob = next.blob, .offset = next.done, .end = next.done + length};
  }
  next.done += length;
  if (last) {
    owed_.erase(next.key);
  } else {
    blobs_.push_back(std::move(next));
  }
}

std::optional<SendQueue::EndedPiece> SendQueue::sent(std::size_t n) {
  if (stopped_) return std::nullopt;
  if (out_done_ < out_.size()) {
    assert(n <= out_.size() - out_done_);
    out_done_ += n;
  } else if (data_body_) {
    assert(n <= data_body_->end - data_body_->offset);
    data_body_->offset += static_cast<std::uint32_t>(n);
    if (data_body_->offset == data_body_->end) return end_data_frame();
  } else if (blob_body_) {
    assert(n <= blob_body_->end - blob_body_->offset);
    blob_body_->offset += n;
    if (blob_body_->offset == blob_body_->end) blob_body_.reset();
  } else {
    assert(n == 0);
  }
  return std::nullopt;
}

std::optional<SendQueue::EndedPiece> SendQueue::end_data_frame() {
  const std::uint32_t done = data_body_->end;
  data_body_.reset();
  if (payload_stopped_) return std::nullopt;
  OutgoingPiece& piece = pieces_.front();
  piece.done = done;
  if (!piece.aborted && done < piece.length) return std::nullopt;
  const EndedPiece ended{.channel = piece.channel, .piece = piece.piece, .aborted = piece.aborted};
  pieces_.pop_front();
  return ended;
}

}  // namespace shardswarm
