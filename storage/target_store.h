// A directory being fetched into. Opening is in target_open.cc, putting and finishing in
// target_store.cc.
#pragma once

#include <vector>

#include "storage/directory_store.h"

namespace shardswarm {

class TargetStore final : public DirectoryStore {
 public:
  static Result<std::shared_ptr<Store>> open(StorageEnvironment environment,
                                             const TargetOptions& options,
                                             std::shared_ptr<const Manifest> manifest,
                                             const ResolvedSelection& selection);

  void put(PieceIndex piece, PieceBuffer buffer, PutDone done) override;
  std::uint64_t undurable_bytes() const override { return undurable_bytes_; }
  void on_durable(std::function<void()> callback) override { on_durable_ = std::move(callback); }
  void finish(std::function<void(Result<void>)> done) override;
  void forget(PieceIndex piece) override;

 private:
  struct Put;

  TargetStore(StorageEnvironment environment, std::shared_ptr<const Manifest> manifest)
      : DirectoryStore(std::move(environment), std::move(manifest)),
        writing_(manifest_->piece_count()),
        state_(manifest_->file_count()) {}

  // --- opening (target_open.cc) ---
  struct Slot {
    bool selected = false;
    bool named = false;  // stands under its final name
  };
  Result<void> take_directory(const TargetOptions& options);
  Result<void> check_foreign() const;
  Result<void> open_slots(const ResolvedSelection& selection);
  Result<void> open_slot(FileIndex file);
  Result<void> check_space(const ResolvedSelection& selection);
  Result<void> take_up(const ResolvedSelection& selection, const LedgerContent& ledger);
  Result<void> prepare_files(const ResolvedSelection& selection);
  Result<void> prepare_file(FileIndex file, const std::vector<PieceRun>& runs);
  void undo_fresh();

  // --- writing (target_store.cc) ---
  static void verified(std::shared_ptr<TargetStore> self, std::shared_ptr<Put> put, bool matches);
  void written(const std::shared_ptr<Put>& put, Result<void> result);
  void maybe_sync();
  void sync_files();
  void synced(Result<void> result);
  void ledger_synced(Result<void> result);
  void maybe_finish();
  Result<void> settle_files(const std::vector<FileIndex>& complete);
  std::vector<FileIndex> complete_files() const;
  Result<void> name_file(FileIndex file);
  std::shared_ptr<TargetStore> self_pointer() {
    return std::static_pointer_cast<TargetStore>(shared_from_this());
  }
  FileIndex file_of(PieceIndex piece) const { return manifest_->file_of(piece); }

  PieceSet writing_;
  std::vector<Slot> state_;
  Fd root_;
  std::filesystem::path meta_;
  std::optional<Ledger> ledger_;
  std::vector<std::optional<FileIdentity>> found_;     // when it was opened
  std::vector<std::optional<FileIdentity>> recorded_;  // in the ledger
  bool fresh_ = false;                                 // there was no .shardswarm/ before
  bool made_ = false;                                  // there was no directory before
  PieceSet selected_;
  const std::atomic<bool>* cancel_ = nullptr;  // of the opening

  std::vector<PieceRecord> unsynced_;  // written, to be recorded
  std::uint64_t unsynced_bytes_ = 0;
  std::vector<PieceRecord> syncing_;
  std::uint64_t syncing_bytes_ = 0;
  std::size_t syncs_under_way_ = 0;
  Result<void> sync_result_;  // the first failure stays
  std::uint64_t undurable_bytes_ = 0;
  std::size_t puts_under_way_ = 0;
  std::function<void()> on_durable_;
  std::function<void(Result<void>)> finish_done_;
  bool naming_ = false;
};

}  // namespace shardswarm
