#include "storage/target_store.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "base/limits.h"
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
  if (have_.contains(piece) || kept_back_.contains(piece) || finish_done_ || !ledger_ ||
      !writing_.insert(piece)) {
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
  verifier_.check(put->buffer.bytes(), manifest_->digest(piece),
                  [self = self_pointer(), put](bool matches, std::uint64_t xxh3) mutable {
                    put->xxh3 = xxh3;
                    verified(std::move(self), std::move(put), matches);
                  });
}

// On the worker: the engine takes operations from any thread.
void TargetStore::verified(std::shared_ptr<TargetStore> self, std::shared_ptr<Put> put,
                           bool matches) {
  if (!matches) {
    hand_over(std::move(self), [put = std::move(put)](TargetStore& store) {
      store.written(
          put, fail(Errc::kCorrupt, describe_piece(*store.manifest_, store.placement_, put->piece) +
                                        ": the bytes received are not the model's"));
    });
    return;
  }
  const Place place = self->place_of(put->piece);
  IoEngine& engine = self->environment_.engine;
  const int fd = self->files_[place.file.value].get();
  const auto bytes = put->buffer.bytes();
  engine.write(fd, place.offset, bytes,
               [self = std::move(self), put = std::move(put)](Result<void> result) mutable {
                 if (result && self->placement_.part(put->piece)) {
                   write_part(std::move(self), std::move(put));
                   return;
                 }
                 hand_over(std::move(self),
                           [put = std::move(put), result = std::move(result)](TargetStore& store) {
                             store.written(put, result);
                           });
               });
}

// The piece lies whole in a file of ours; what the slice has of it goes into the slice's file.
void TargetStore::write_part(std::shared_ptr<TargetStore> self, std::shared_ptr<Put> put) {
  const Place part = *self->placement_.part(put->piece);
  IoEngine& engine = self->environment_.engine;
  const int fd = self->files_[part.file.value].get();
  const auto bytes = put->buffer.bytes().subspan(part.from, part.length);
  engine.write(fd, part.offset, bytes,
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
      result = fail(result.error().code,
                    name_of(place_of(put->piece).file) + ": " + result.error().message);
    }
  }
  put->done(std::move(result));
  maybe_sync();
  maybe_finish();
}

// --- durability ---

void TargetStore::maybe_sync() {
  if (naming_ || syncs_under_way_ > 0 || !syncing_.empty() || unsynced_.empty()) return;
  const bool last = finish_done_ && puts_under_way_ == 0;
  if (unsynced_bytes_ < limits::kSyncBytes && !last) return;
  syncing_ = std::exchange(unsynced_, {});
  syncing_bytes_ = std::exchange(unsynced_bytes_, 0);
  sync_files();
}

// Data first: a record may only stand in the ledger when its bytes are on the disk.
void TargetStore::sync_files() {
  std::set<PlacedIndex> dirty;
  for (const PieceRecord& record : syncing_) {
    for_touched_files(record.piece, [&](PlacedIndex file) { dirty.insert(file); });
  }
  syncs_under_way_ = dirty.size();
  for (const PlacedIndex file : dirty) {
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
  if (sync_result_) {
    std::vector<PieceRecord> here;  // some may have been lost meanwhile
    std::ranges::copy_if(syncing_, std::back_inserter(here),
                         [&](const PieceRecord& record) { return have_.contains(record.piece); });
    sync_result_ = ledger_->append_pieces(here);
  }
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
  for (const PieceRecord& record : syncing_) {
    // If it was lost meanwhile it was counted again.
    if (!result || !required_.contains(record.piece)) continue;
    for_touched_files(record.piece, [&](PlacedIndex file) { --slots_[file.value].undurable; });
  }
  syncing_.clear();
  syncing_bytes_ = 0;
  // What could not be made durable is not recorded: the next run reads it again. The error stays,
  // and shows when the store is finished.
  if (!result) sync_result_ = std::move(result);
  if (on_durable_) on_durable_();
  maybe_name_early();
  maybe_sync();
  maybe_finish();
}

void TargetStore::forget(PieceIndex piece) {
  if (!have_.erase(piece)) return;
  if (required_.contains(piece)) {
    for_touched_files(piece, [&](PlacedIndex file) { ++slots_[file.value].undurable; });
  }
  lost_while_naming_.push_back(piece);
  if (!naming_) named();
}

}  // namespace shardswarm
