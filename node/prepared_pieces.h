// Pieces that are ready to be sent on one connection.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "base/buffer_pool.h"
#include "base/ids.h"
#include "storage/store.h"
#include "swarm/actions.h"

namespace shardswarm {

// A range of a file (sendfile), or the piece's bytes.
struct PreparedPiece {
  FileRange range;
  PieceBuffer buffer;
  std::shared_ptr<Store> store;  // whose file the range is in: it stays open
};

class PreparedPieces {
 public:
  void add(ModelKey model, PieceIndex piece, std::shared_ptr<PreparedPiece> source) {
    pieces_[{model, piece}] = std::move(source);
  }
  void release(ModelKey model, PieceIndex piece) { pieces_.erase({model, piece}); }

  // Makes this piece the one under way: its source is kept although it may be released. False if it
  // is not here.
  bool begin(ModelKey model, PieceIndex piece) {
    if (source_ && model_ == model && piece_ == piece) return true;
    const auto it = pieces_.find({model, piece});
    if (it == pieces_.end()) return false;
    model_ = model;
    piece_ = piece;
    source_ = it->second;
    return true;
  }
  const PreparedPiece& source() const { return *source_; }  // REQUIRES: begin() was true
  ModelKey model() const { return model_; }
  PieceIndex piece() const { return piece_; }
  // Nothing is under way: its buffer may be what another connection waits for.
  void end() { source_.reset(); }
  void clear() {
    pieces_.clear();
    end();
  }

 private:
  std::map<std::pair<ModelKey, PieceIndex>, std::shared_ptr<PreparedPiece>> pieces_;
  ModelKey model_;
  PieceIndex piece_;
  std::shared_ptr<PreparedPiece> source_;
};

}  // namespace shardswarm
