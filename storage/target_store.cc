#include "storage/target_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "piece/limits.h"
#include "storage/meta_dir.h"
#include "storage/piece_check.h"

namespace shardswarm {

// A piece on its way: verified on a worker, written by the engine, then recorded.
struct TargetStore::Put {
  PieceIndex piece;
  PieceBuffer buffer;
  PutDone done;
  std::uint64_t xxh3 = 0;
};

void TargetStore::put(PieceIndex piece, PieceBuffer buffer, PutDone done) {
  if (have_.contains(piece) || finish_done_ || !writing_.insert(piece)) {
    environment_.post([done = std::move(done), here = have_.contains(piece)] {
      done(here ? Result<void>{} : fail(Errc::kCancelled, "the piece is not wanted any more"));
    });
    return;
  }
  auto put = std::make_shared<Put>();
  put->piece = piece;
  put->buffer = std::move(buffer);
  put->done = std::move(done);
  ++puts_under_way_;
  undurable_bytes_ += put->buffer.bytes().size();
  environment_.workers.post([self = self_pointer(), put]() mutable {
    const auto bytes = put->buffer.bytes();
    const bool matches = sha256(bytes) == self->manifest_->digest(put->piece);
    // While the bytes are in cache: XXH3 reads 43 GB/s there.
    if (matches) put->xxh3 = xxh3_64(bytes);
    verified(std::move(self), std::move(put), matches);
  });
}

// On the worker: the engine takes operations from any thread.
void TargetStore::verified(std::shared_ptr<TargetStore> self, std::shared_ptr<Put> put,
                           bool matches) {
  if (!matches) {
    hand_over(std::move(self), [put = std::move(put)](TargetStore& store) {
      store.written(put, fail(Errc::kCorrupt, describe_piece(*store.manifest_, put->piece) +
                                                  ": the bytes received are not the model's"));
    });
    return;
  }
  const PieceExtent extent = self->manifest_->extent(put->piece);
  IoEngine& engine = self->environment_.engine;
  const int fd = self->files_[extent.file.value].get();
  const auto bytes = put->buffer.bytes();
  engine.write(fd, extent.offset, bytes,
               [self = std::move(self), put = std::move(put)](Result<void> result) mutable {
                 hand_over(std::move(self),
                           [put = std::move(put), result = std::move(result)](TargetStore& store) {
                             store.written(put, result);
                           });
               });
}

void TargetStore::written(const std::shared_ptr<Put>& put, Result<void> result) {
  --puts_under_way_;
  writing_.erase(put->piece);
  const std::uint64_t bytes = put->buffer.bytes().size();
  put->buffer.reset();
  if (result) {
    have_.insert(put->piece);
    unsynced_.push_back({put->piece, put->xxh3});
    unsynced_bytes_ += bytes;
  } else {
    undurable_bytes_ -= bytes;
    if (result.error().code != Errc::kCorrupt) {
      result =
          fail(result.error().code, name_of(file_of(put->piece)) + ": " + result.error().message);
    }
  }
  put->done(std::move(result));
  maybe_sync();
  maybe_finish();
}

// --- durability ---

void TargetStore::maybe_sync() {
  if (syncs_under_way_ > 0 || !syncing_.empty() || unsynced_.empty()) return;
  const bool last = finish_done_ && puts_under_way_ == 0;
  if (unsynced_bytes_ < limits::kSyncBytes && !last) return;
  syncing_ = std::exchange(unsynced_, {});
  syncing_bytes_ = std::exchange(unsynced_bytes_, 0);
  sync_files();
}

// Data first: a record may only stand in the ledger when its bytes are on the disk.
void TargetStore::sync_files() {
  std::set<FileIndex> dirty;
  for (const PieceRecord& record : syncing_) dirty.insert(file_of(record.piece));
  syncs_under_way_ = dirty.size();
  for (const FileIndex file : dirty) {
    environment_.engine.sync(
        files_[file.value].get(), [self = self_pointer()](Result<void> result) mutable {
          hand_over(std::move(self),
                    [result = std::move(result)](TargetStore& store) { store.synced(result); });
        });
  }
}

void TargetStore::synced(Result<void> result) {
  if (!result) sync_result_ = std::move(result);
  if (--syncs_under_way_ > 0) return;
  if (sync_result_) sync_result_ = ledger_->append_pieces(syncing_);
  if (!sync_result_) {
    ledger_synced(sync_result_);
    return;
  }
  ++syncs_under_way_;
  environment_.engine.sync(ledger_->fd(), [self = self_pointer()](Result<void> recorded) mutable {
    hand_over(std::move(self), [recorded = std::move(recorded)](TargetStore& store) {
      --store.syncs_under_way_;
      store.ledger_synced(recorded);
    });
  });
}

void TargetStore::ledger_synced(Result<void> result) {
  undurable_bytes_ -= syncing_bytes_;
  syncing_.clear();
  syncing_bytes_ = 0;
  // What could not be made durable is not recorded: the next run reads it again. The error stays,
  // and shows when the store is finished.
  if (!result) sync_result_ = std::move(result);
  if (on_durable_) on_durable_();
  maybe_sync();
  maybe_finish();
}

// --- the end ---

void TargetStore::finish(std::function<void(Result<void>)> done) {
  if (finish_done_) {
    environment_.post([done = std::move(done)] { done({}); });
    return;
  }
  finish_done_ = std::move(done);
  maybe_sync();
  maybe_finish();
}

void TargetStore::maybe_finish() {
  if (!finish_done_ || naming_ || puts_under_way_ > 0 || syncs_under_way_ > 0 ||
      !unsynced_.empty() || !syncing_.empty()) {
    return;
  }
  naming_ = true;
  // Syncing and renaming many files takes its time: not on the owner's thread. Nothing else touches
  // ledger and files now.
  environment_.workers.post([self = self_pointer(), complete = complete_files()]() mutable {
    Result<void> result = self->sync_result_ ? self->settle_files(complete) : self->sync_result_;
    hand_over(std::move(self), [result = std::move(result)](TargetStore& store) {
      store.naming_ = false;
      const auto finished = std::exchange(store.finish_done_, {});
      finished(result);
    });
  });
}

// Selected files that are here as far as they are wanted, and not under their names yet.
std::vector<FileIndex> TargetStore::complete_files() const {
  std::vector<FileIndex> complete;
  const PieceSet missing = selected_ - have_;
  for (std::uint32_t i = 0; i < state_.size(); ++i) {
    const FileIndex file(i);
    if (!state_[i].selected || state_[i].named || !files_[i]) continue;
    const auto first = missing.next(manifest_->first_piece(file));
    const std::uint32_t end = manifest_->first_piece(file).value + manifest_->file(file).pieces;
    if (!first || first->value >= end) complete.push_back(file);
  }
  return complete;
}

// The identity of every file is recorded, so that the next run need not read it again; then
// complete files get their names. In this order: a file under its name is known to be ours by its
// record.
Result<void> TargetStore::settle_files(const std::vector<FileIndex>& complete) {
  for (std::uint32_t i = 0; i < state_.size(); ++i) {
    const FileIndex file(i);
    if (!state_[i].selected || !files_[i]) continue;
    if (::fsync(files_[i].get()) != 0) return fail_errno(errno, "cannot sync " + name_of(file));
    const auto identity = identity_of(files_[i].get(), name_of(file));
    if (!identity) return std::unexpected(identity.error());
    if (recorded_[i] == *identity) continue;
    if (auto recorded = ledger_->append_file(file, *identity); !recorded) return recorded;
    recorded_[i] = *identity;
  }
  if (::fsync(ledger_->fd()) != 0) return fail_errno(errno, "cannot sync the ledger");
  for (const FileIndex file : complete) {
    if (auto named = name_file(file); !named) return named;
  }
  return {};
}

Result<void> TargetStore::name_file(FileIndex file) {
  const std::filesystem::path path = manifest_->file(file).path;
  auto folder = open_parent_beneath(root_.get(), path);
  if (!folder) return std::unexpected(folder.error());
  const auto incoming = meta_ / "incoming" / std::to_string(file.value);
  if (::renameat(AT_FDCWD, incoming.c_str(), folder->get(), path.filename().c_str()) != 0) {
    return fail_errno(errno, "cannot rename to " + name_of(file));
  }
  if (::fsync(folder->get()) != 0 && errno != EINVAL) {
    return fail_errno(errno, "cannot sync the folder of " + name_of(file));
  }
  state_[file.value].named = true;
  return {};
}

void TargetStore::forget(PieceIndex piece) {
  have_.erase(piece);
  const PieceIndex lost[] = {piece};
  // If this cannot be written the identity of the file tells the next run all the same.
  if (!naming_) (void)ledger_->append_lost(lost);
}

}  // namespace shardswarm
