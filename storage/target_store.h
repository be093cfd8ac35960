// A directory being fetched into, or dropped from. Opening is in target_open.cc (whose is it, what
// is it to hold, is there space) and target_files.cc (what is here already), putting in
// target_store.cc, the end in target_finish.cc.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "storage/directory_store.h"
#include "storage/verifier.h"

namespace shardswarm {

class TargetStore final : public DirectoryStore {
 public:
  static Result<std::shared_ptr<Store>> open(StorageEnvironment environment,
                                             const TargetOptions& options,
                                             std::shared_ptr<const Manifest> manifest,
                                             const ResolvedSelection& selection);

  PieceSet wanted() const override { return wanted_ | (required_ - have_); }
  PieceSet kept_back() const override { return kept_back_; }
  void put(PieceIndex piece, PieceBuffer buffer, PutDone done) override;
  std::uint64_t undurable_bytes() const override { return undurable_bytes_; }
  void on_durable(std::function<void()> callback) override { on_durable_ = std::move(callback); }
  std::vector<std::string> take_named() override { return std::exchange(named_, {}); }
  void finish(std::function<void(Result<void>)> done) override;
  void forget(PieceIndex piece) override;

 private:
  struct Put;

  TargetStore(StorageEnvironment environment, std::shared_ptr<const Manifest> manifest)
      : DirectoryStore(std::move(environment), std::move(manifest)),
        required_(manifest_->piece_count()),
        wanted_(manifest_->piece_count()),
        dropped_(manifest_->piece_count()),
        kept_back_(manifest_->piece_count()),
        writing_(manifest_->piece_count()) {}

  // A file on the disk.
  struct Slot {
    bool used = false;            // it is open, or will be
    bool required = false;        // complete when we finish
    bool named = false;           // stands under its final name
    bool early = false;           // gets its name as soon as it is complete and durable
    bool settled = false;         // got its name in this run: what changes it now is not us
    std::uint32_t undurable = 0;  // required pieces that touch it and are not durable
  };

  // --- opening: what it is (target_open.cc) ---
  Result<void> take_directory(const TargetOptions& options);
  Result<Ledger::Head> own_head() const;
  Result<void> decide_layout(const TargetOptions& options, const ResolvedSelection& selection);
  Result<void> decide_content(const TargetOptions& options, const ResolvedSelection& selection);
  Result<void> decide_tensors(const TargetOptions& options, const ResolvedSelection& selection);
  Result<void> decide_compact(const ResolvedSelection& selection);
  Result<void> open_ledger(LedgerContent& content);
  void forget_moved(LedgerContent& content);
  void find_names(const LedgerContent& content);
  Result<void> check_lists() const;
  std::vector<std::string> paths_to_make() const;
  Result<void> check_foreign() const;
  Result<void> check_space() const;
  void undo_fresh();

  // --- opening: what is here (target_files.cc) ---
  Result<void> open_files(const TargetOptions& options, const LedgerContent& content);
  Result<void> open_slot(PlacedIndex file);
  Result<void> take_up(const LedgerContent& ledger);
  void keep_edited_files();
  void keep_back(FileIndex file);
  bool is_damaged(PlacedIndex file) const;
  bool is_untouched(std::uint32_t file) const;
  Result<void> prepare_files();
  Result<void> prepare_file(PlacedIndex file);
  Result<void> copy_superseded();
  Result<void> copy_from_others(const TargetOptions& options);
  struct CopyJob {
    PieceIndex piece;
    int fd = -1;
    std::uint64_t offset = 0;
  };
  Result<std::uint64_t> copy(std::span<const CopyJob> jobs);  // bytes that were right
  Result<std::uint64_t> copy_some(std::span<const CopyJob> jobs);
  Result<void> record_now(const std::vector<PieceRecord>& records);
  Result<void> rewrite_parts();
  Result<void> rewrite_part(PieceIndex piece);
  Result<void> record_lost(const LedgerContent& ledger);
  Result<void> withdraw_shard(bool trust_superseded);
  void count_undurable();

  // --- writing (target_store.cc) ---
  static void verified(std::shared_ptr<TargetStore> self, std::shared_ptr<Put> put, bool matches);
  static void write_part(std::shared_ptr<TargetStore> self, std::shared_ptr<Put> put);
  void written(const std::shared_ptr<Put>& put, Result<void> result);
  void maybe_sync();
  void sync_files();
  void synced(Result<void> result);
  void ledger_synced(Result<void> result);
  template <class F>
  void for_touched_files(PieceIndex piece, F&& f) const;

  // --- the end (target_finish.cc); all but maybe_* on a worker while nothing else is under way ---
  void maybe_name_early();
  void maybe_finish();
  std::vector<PlacedIndex> complete_files(bool early) const;
  bool complete() const;
  bool keeps_back() const;
  Result<void> settle_files(const std::vector<PlacedIndex>& complete);
  Result<void> record_identity(PlacedIndex file);
  Result<void> name_file(PlacedIndex file);
  Result<void> commit();
  Result<void> commit_compact();
  void register_directory();
  Result<void> free_cut_pieces(const std::vector<CompactFile>& gone);
  Result<void> punch_dropped();
  Result<void> remove_dropped(PlacedIndex file);
  void named();
  void open_to_others();
  std::vector<CompactFile> held_files() const;
  bool stands(const CompactFile& file) const;

  std::shared_ptr<TargetStore> self_pointer() {
    return std::static_pointer_cast<TargetStore>(shared_from_this());
  }
  static std::string incoming_name(PlacedIndex file);  // below the directory
  std::string current_name(PlacedIndex file) const;

  Outline outline_;                 // where there is a step or a compact layout
  Holding holding_;                 // with the files as they will be, and the steps as they were
  std::vector<HoldingStep> steps_;  // as they will be
  bool drops_ = false;
  TensorSet tensors_;  // that it is to hold
  PieceSet required_;
  PieceSet wanted_;          // of this selection, and what of required_ was not in the directory
  std::vector<bool> plain_;  // by FileIndex: files that are no tensors files, to be made
  std::vector<Slot> slots_;
  std::vector<std::string> being_named_;  // by the worker that has the slots
  std::vector<std::string> named_;        // for take_named()
  Placement before_;                      // compact: as the directory's files were planned
  std::set<std::string> own_indexes_;     // compact: of its components
  std::vector<PieceIndex> moved_;  // compact: recorded where they are not looked for any more
  PieceSet dropped_;               // mirror: recorded, and not to be held any more
  PieceSet kept_back_;             // of files that somebody edited

  PieceSet writing_;
  Fd root_;
  std::filesystem::path meta_;
  std::filesystem::path state_directory_;
  std::optional<Ledger> ledger_;
  std::vector<std::optional<FileIdentity>> found_;     // when it was opened
  std::vector<std::optional<FileIdentity>> recorded_;  // in the ledger
  bool fresh_ = false;                                 // there was no .shardswarm/ before
  bool made_ = false;                                  // there was no directory before
  const std::atomic<bool>* cancel_ = nullptr;          // of the opening
  bool recheck_ = false;                               // no record is believed

  Verifier verifier_{environment_.workers};
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
  bool naming_ = false;  // a worker has ledger and slots
  std::vector<PieceIndex> lost_while_naming_;
};

template <class F>
void TargetStore::for_touched_files(PieceIndex piece, F&& f) const {
  f(place_of(piece).file);
  if (const auto part = placement_.part(piece)) f(part->file);
}

}  // namespace shardswarm
