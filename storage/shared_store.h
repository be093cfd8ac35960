// Pieces of a model that lie in directories of other models.
#pragma once

#include <unordered_map>
#include <vector>

#include "storage/reuse.h"
#include "storage/served_store.h"

namespace shardswarm {

// Serves a model that was never fetched here with the pieces that its sources have of it.
// Read-only. As of any store: all calls on the owner's thread.
class SharedStore final : public ServedStore {
 public:
  SharedStore(StorageEnvironment environment, std::shared_ptr<const Manifest> manifest)
      : ServedStore(std::move(environment), std::move(manifest)) {}

  void add(std::vector<ReuseSource> sources);

  Layout layout() const override { return Layout::kOriginal; }
  StoreProgress progress() const override { return {}; }

  std::optional<FileRange> range(PieceIndex piece) const override;
  void prepare_range(PieceIndex piece, std::function<void(Result<FileRange>)> done) override;
  void read_piece(PieceIndex piece, PieceBuffer buffer,
                  std::function<void(Result<PieceBuffer>)> done) override;
  void forget(PieceIndex piece) override;

 private:
  struct There {
    Store* store = nullptr;
    PieceIndex piece;
  };

  std::vector<std::shared_ptr<Store>> sources_;
  std::unordered_map<PieceIndex, There> there_;
};

}  // namespace shardswarm
