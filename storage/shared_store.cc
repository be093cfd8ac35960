#include "storage/shared_store.h"

#include <utility>

namespace shardswarm {

void SharedStore::add(std::vector<ReuseSource> sources) {
  for (ReuseSource& source : sources) {
    for (const auto& [wanted, there] : source.pieces) {
      there_.insert_or_assign(wanted, There{source.store.get(), there});
      have_.insert(wanted);
    }
    sources_.push_back(std::move(source.store));
  }
}

std::optional<FileRange> SharedStore::range(PieceIndex piece) const {
  if (!have_.contains(piece)) return std::nullopt;
  const There& there = there_.at(piece);
  return there.store->range(there.piece);
}

void SharedStore::prepare_range(PieceIndex piece, std::function<void(Result<FileRange>)> done) {
  if (!have_.contains(piece)) {
    environment_.post(
        [done = std::move(done)] { done(fail(Errc::kIo, "the piece is not here any more")); });
    return;
  }
  const There& there = there_.at(piece);
  there.store->prepare_range(there.piece, std::move(done));
}

void SharedStore::read_piece(PieceIndex piece, PieceBuffer buffer,
                             std::function<void(Result<PieceBuffer>)> done) {
  if (!have_.contains(piece)) {
    environment_.post(
        [done = std::move(done)] { done(fail(Errc::kIo, "the piece is not here any more")); });
    return;
  }
  const There& there = there_.at(piece);
  there.store->read_piece(there.piece, std::move(buffer), std::move(done));
}

void SharedStore::forget(PieceIndex piece) {
  if (!have_.erase(piece)) return;
  const There& there = there_.at(piece);
  there.store->forget(there.piece);
}

}  // namespace shardswarm
