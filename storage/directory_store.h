// What stores have in common: open files with pieces in them that can be read and served.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "storage/file.h"
#include "storage/ledger.h"
#include "storage/store.h"

namespace shardswarm {

class DirectoryStore : public Store, public std::enable_shared_from_this<DirectoryStore> {
 public:
  const Manifest& manifest() const override { return *manifest_; }
  std::shared_ptr<const Manifest> shared_manifest() const override { return manifest_; }
  const PieceSet& have() const override { return have_; }
  Layout layout() const override { return layout_; }
  StoreProgress progress() const override { return progress_; }

  void prepare_range(PieceIndex piece, std::function<void(Result<FileRange>)> done) override;
  void read_piece(PieceIndex piece, PieceBuffer buffer,
                  std::function<void(Result<PieceBuffer>)> done) override;
  void forget(PieceIndex piece) override;

  // A store that only reads: these refuse, or have nothing to do.
  void put(PieceIndex piece, PieceBuffer buffer, PutDone done) override;
  std::uint64_t undurable_bytes() const override { return 0; }
  void on_durable(std::function<void()> callback) override;
  void finish(std::function<void(Result<void>)> done) override;

 protected:
  friend class SourceOpener;

  DirectoryStore(StorageEnvironment environment, std::shared_ptr<const Manifest> manifest)
      : environment_(std::move(environment)),
        manifest_(std::move(manifest)),
        have_(manifest_->piece_count()),
        files_(manifest_->file_count()) {}

  // Takes from a ledger what can be trusted: pieces of files whose identity is as recorded, others
  // after they were read again and matched their XXH3. `identities` by file, as found at opening.
  void trust(const LedgerContent& ledger,
             const std::vector<std::optional<FileIdentity>>& identities,
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

  std::string name_of(FileIndex file) const {
    return (directory_ / manifest_->file(file).path).string();
  }

  StorageEnvironment environment_;
  std::shared_ptr<const Manifest> manifest_;
  std::filesystem::path directory_;
  Layout layout_ = Layout::kOriginal;
  PieceSet have_;
  std::vector<Fd> files_;  // by FileIndex; closed where there is no such file
  std::vector<std::optional<FileIdentity>> expected_;  // by FileIndex; empty: files may change
  StoreProgress progress_;
  Fd lock_;
};

// Takes the lock of a `.shardswarm/` directory, exclusive or shared. kBusy names the directory.
Result<Fd> lock_meta(const std::filesystem::path& meta, bool exclusive);

}  // namespace shardswarm
