#include "node/transfer.h"

namespace shardswarm {

void Transfer::move(Transport& transport, const PreparedPieces& source) {
  if (!extent_) {
    moved_ = transport.read(into_);
  } else if (const PreparedPiece& piece = source.source(); piece.buffer) {
    moved_ = transport.write(piece.buffer.bytes().subspan(extent_->offset, extent_->length), false);
  } else {
    moved_ =
        transport.write_file(piece.range.fd, piece.range.offset + extent_->offset, extent_->length);
  }
}

void Transfer::note_moved() {
  if (!moved_) return;
  const std::size_t bytes = moved_->bytes;
  dry_ = bytes < asked();
  std::size_t& last = extent_ ? last_sent_ : last_received_;
  if (bytes > 0) last = dry_ ? bytes : std::max(last, bytes);
}

const Result<Moved>& Transfer::received() {
  note_moved();
  if (moved_) received_in_pass_ += moved_->bytes;
  return moved_;
}

std::pair<OutputExtent, const Result<Moved>&> Transfer::sent() {
  note_moved();
  return {*std::exchange(extent_, std::nullopt), moved_};
}

}  // namespace shardswarm
