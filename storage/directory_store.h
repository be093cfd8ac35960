// Stores of one directory: open files with pieces in them that can be read and served.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "storage/ledger.h"
#include "storage/placement.h"
#include "storage/served_store.h"

namespace shardswarm {

class DirectoryStore : public ServedStore, public std::enable_shared_from_this<DirectoryStore> {
 public:
  Layout layout() const override { return layout_; }
  StoreProgress progress() const override { return progress_; }

  std::optional<FileRange> range(PieceIndex piece) const override;
  void prepare_range(PieceIndex piece, std::function<void(Result<FileRange>)> done) override;
  void read_piece(PieceIndex piece, PieceBuffer buffer,
                  std::function<void(Result<PieceBuffer>)> done) override;
  void forget(PieceIndex piece) override;

 protected:
  friend class SourceOpener;
  using ServedStore::ServedStore;

  // Where everything lies; before any file is opened.
  void place(Layout layout, Placement placement);

  // Takes from a ledger what can be trusted: pieces of files whose identity is as recorded, others
  // after they were read again and matched their XXH3, or not at all without `recheck`.
  // `identities` by number, as found at opening.
  void trust(const LedgerContent& ledger,
             const std::vector<std::optional<FileIdentity>>& identities, bool recheck,
             std::vector<std::string>* warnings, const std::atomic<bool>* cancel = nullptr);

  // Posts `job(store)` to the owner's thread and lets go of the store here, so that nothing of ours
  // holds it, and its lock, once the job has run.
  template <class S, class Job>
  static void hand_over(std::shared_ptr<S> self, Job job) {
    const auto post = self->environment_.post;  // a copy: the store may go before post() returns
    post([self = std::move(self), job = std::move(job)] { job(*self); });
  }

  // Whether the piece may be read: its file reaches so far, and is what it was at opening if that
  // is known. If not it leaves have(); of a file that changed all pieces do.
  Result<void> check_piece(PieceIndex piece);

  std::string name_of(PlacedIndex file) const {
    return (directory_ / placement_.file(file).path).string();
  }
  // REQUIRES: the piece has a place.
  Place place_of(PieceIndex piece) const { return *placement_.home(piece); }

  std::filesystem::path directory_;
  Layout layout_ = Layout::kOriginal;
  Placement placement_;
  std::vector<Fd> files_;  // by PlacedIndex; closed where there is no such file
  std::vector<std::optional<FileIdentity>> expected_;  // by PlacedIndex; empty: files may change
  StoreProgress progress_;
  Fd lock_;
};

// Takes the lock of a `.shardswarm/` directory, exclusive or shared. kBusy names the directory.
Result<Fd> lock_meta(const std::filesystem::path& meta, bool exclusive);

}  // namespace shardswarm
