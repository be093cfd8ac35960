// From calls to bytes: control frames first, then blobs, then pieces.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "wire/piece_runs.h"
#include "wire/session_impl.h"

namespace shardswarm {
namespace {

// As for kKeptBufferBytes of what is received.
constexpr std::size_t kKeptQueueBytes = 2 * limits::kKiB;

}  // namespace

// --- control ---

bool Session::Impl::may_send(Channel channel) const {
  if (closing_) return false;
  assert(ready_);
  const Model* found = find_model(channel);
  assert(found != nullptr && found->declared);
  return found != nullptr && found->declared;
}

void Session::Impl::bound_queue() {
  if (queued_bytes() <= limits::kSendQueueBytesMax) return;
  protocol_error(fmt::format("peer does not read: {} bytes are queued for it", queued_bytes()));
}

Channel Session::Impl::open(const ModelId& id) {
  const Channel channel = channel_of(id);
  Model& opened = model(channel);
  if (closing_ || opened.announced) return channel;
  assert(ready_);
  if (!opened.declared) {
    assert(declared_ < limits::kModelsPerConnectionMax);
    ++declared_;
  }
  opened.declared = opened.announced = true;
  message::append_open(queue_, handle_of(channel), id);
  bound_queue();
  return channel;
}

void Session::Impl::unknown_model(Channel channel) {
  if (closing_) return;
  assert(ready_ && find_model(channel) != nullptr);
  Model& unknown = model(channel);
  unknown.announced = false;
  // Only an OPEN has this answer: a peer that did not say it would take it for an error.
  if (!unknown.peer_declared) return;
  message::append_unknown_model(queue_, unknown.id);
  bound_queue();
}

void Session::Impl::send_pieces(FrameType type, Channel channel, std::span<const PieceRun> pieces,
                                const message::PieceListFields& fields) {
  if (!may_send(channel)) return;
  assert(valid_runs(pieces));
  const bool says_something =
      !pieces.empty() || fields.credit_bytes > 0 || type == FrameType::kWant;
  if (!says_something) return;
  message::append_piece_list(queue_, type, handle_of(channel), pieces, fields);
  bound_queue();
}

void Session::Impl::request_blob(Channel channel, std::uint32_t request, const Digest& digest) {
  if (!may_send(channel)) return;
  const bool added = blobs_asked_.try_emplace({channel, request}).second;
  assert(added);
  if (!added) return;
  message::append_blob_request(queue_, handle_of(channel), request, digest);
  bound_queue();
}

void Session::Impl::send_blob(Channel channel, std::uint32_t request, Blob blob, bool compressed) {
  if (!may_send(channel)) return;
  assert(blob && blob->size() <= limits::kBlobBytesMax);
  assert(!compressed || ((features_in_use_ & kFeatureZstdBlobs) != 0 && !blob->empty()));
  assert(blobs_owed_.contains({channel, request}));
  blobs_.push_back({.key = {channel, request}, .blob = std::move(blob), .compressed = compressed});
}

void Session::Impl::reject_blob(Channel channel, std::uint32_t request) {
  if (!may_send(channel)) return;
  const bool owed = blobs_owed_.erase({channel, request}) == 1;
  assert(owed);
  if (!owed) return;
  message::append_blob_reject(queue_, handle_of(channel), request);
  bound_queue();
}

void Session::Impl::peers(Channel channel, std::span<const PeerAddress> peers) {
  if (!may_send(channel)) return;
  message::append_peers(queue_, handle_of(channel), peers);
  bound_queue();
}

void Session::Impl::ping(FrameType ping_or_pong, std::uint64_t token) {
  if (closing_) return;
  assert(ready_);
  message::append_ping(queue_, ping_or_pong, token);
  bound_queue();
}

// --- pieces ---

void Session::Impl::send_piece(Channel channel, PieceIndex piece, std::uint32_t length) {
  if (!may_send(channel)) return;
  assert(length >= 1 && length <= limits::kPieceBytesMax && piece.value < limits::kPiecesMax);
  pieces_.push_back({.channel = channel, .piece = piece, .length = length});
}

bool Session::Impl::abort_piece(Channel channel, PieceIndex piece) {
  const auto it = std::find_if(pieces_.begin(), pieces_.end(), [&](const OutgoingPiece& p) {
    return p.channel == channel && p.piece == piece && !p.aborted;
  });
  if (it == pieces_.end()) return false;
  if (it == pieces_.begin() && data_body_) {
    if (data_body_->end == it->length) return false;
    it->aborted = true;
  } else {
    pieces_.erase(it);
    events_.push_back(event::PieceSent{.channel = channel, .piece = piece, .aborted = true});
  }
  const PieceRun run{piece, 1};
  send_pieces(FrameType::kReject, channel, {&run, 1}, {.reason = RejectReason::kCancelled});
  return true;
}

// --- output ---

Output Session::Impl::next_output() {
  if (peer_closed_) return {};
  if (out_done_ == out_.size() && !data_body_ && !blob_body_) begin_output();
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
void Session::Impl::begin_output() {
  out_.clear();
  if (out_.capacity() > kKeptQueueBytes) out_.shrink_to_fit();
  out_done_ = 0;
  std::swap(out_, queue_);
  if (closing_ || paced_) return;
  if (!blobs_.empty()) {
    append_blob_header(limits::kShortFrameBytes);
  } else if (!pieces_.empty()) {
    append_data_header(data_bytes_);
  }
}

bool Session::Impl::may_begin_paced() const {
  return paced_ && !closing_ && !peer_closed_ && out_done_ == out_.size() && !data_body_ &&
         !blob_body_;
}

std::uint32_t Session::Impl::begin_piece_frame(std::uint32_t body_max) {
  assert(piece_frame_waits() && body_max >= 1);
  begin_output();
  append_data_header(std::min(body_max, data_bytes_));
  return limits::kFrameHeaderBytes + (data_body_->end - data_body_->offset);
}

std::uint32_t Session::Impl::begin_blob_frame(std::uint32_t body_max) {
  assert(blob_frame_waits() && body_max >= 1);
  begin_output();
  append_blob_header(std::min(body_max, limits::kShortFrameBytes));
  const std::size_t body = blob_body_ ? blob_body_->end - blob_body_->offset : 0;
  return limits::kFrameHeaderBytes + static_cast<std::uint32_t>(body);
}

void Session::Impl::append_data_header(std::uint32_t body_max) {
  const OutgoingPiece& next = pieces_.front();
  const std::uint32_t length = std::min(next.length - next.done, body_max);
  message::append_header(out_, {.length = length,
                                .type = static_cast<std::uint8_t>(FrameType::kData),
                                .handle = handle_of(next.channel),
                                .piece = next.piece.value,
                                .offset = next.done});
  data_body_ = DataBody{
      .channel = next.channel, .piece = next.piece, .offset = next.done, .end = next.done + length};
}

void Session::Impl::append_blob_header(std::uint32_t body_max) {
  OutgoingBlob next = std::move(blobs_.front());
  blobs_.pop_front();
  const std::size_t length = std::min<std::size_t>(next.blob->size() - next.done, body_max);
  const bool last = next.done + length == next.blob->size();
  message::append_header(
      out_, {.length = static_cast<std::uint32_t>(length),
             .type = static_cast<std::uint8_t>(FrameType::kBlob),
             .flags = static_cast<std::uint8_t>((last ? kBlobLast : 0) |
                                                (next.compressed ? kBlobCompressed : 0)),
             .handle = handle_of(next.key.first),
             .piece = next.key.second,
             .offset = static_cast<std::uint32_t>(next.done)});
  if (length > 0) {
    blob_body_ = BlobBody{.blob = next.blob, .offset = next.done, .end = next.done + length};
  }
  next.done += length;
  if (last) {
    blobs_owed_.erase(next.key);
  } else {
    blobs_.push_back(std::move(next));
  }
}

void Session::Impl::sent(std::size_t n) {
  if (peer_closed_) return;
  if (out_done_ < out_.size()) {
    assert(n <= out_.size() - out_done_);
    out_done_ += n;
  } else if (data_body_) {
    assert(n <= data_body_->end - data_body_->offset);
    data_body_->offset += static_cast<std::uint32_t>(n);
    if (data_body_->offset == data_body_->end) end_data_frame();
  } else if (blob_body_) {
    assert(n <= blob_body_->end - blob_body_->offset);
    blob_body_->offset += n;
    if (blob_body_->offset == blob_body_->end) blob_body_.reset();
  } else {
    assert(n == 0);
  }
}

void Session::Impl::end_data_frame() {
  const std::uint32_t done = data_body_->end;
  data_body_.reset();
  if (closing_) return;
  OutgoingPiece& piece = pieces_.front();
  piece.done = done;
  if (!piece.aborted && done < piece.length) return;
  events_.push_back(
      event::PieceSent{.channel = piece.channel, .piece = piece.piece, .aborted = piece.aborted});
  pieces_.pop_front();
}

}  // namespace shardswarm
