// The end of a fetch, or of a drop: files get their names, the directory says what it holds now.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "storage/catalogue.h"
#include "storage/compact_files.h"
#include "storage/digest_index.h"
#include "storage/target_store.h"

namespace shardswarm {
namespace {

// Gives back the room of a range. Where the file system cannot it stays taken: nothing is lost.
void punch_hole(int fd, std::uint64_t offset, std::uint64_t length) {
#ifdef __linux__
  (void)::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                    static_cast<off_t>(length));
#else
  (void)fd, (void)offset, (void)length;
#endif
}

}  // namespace

void TargetStore::finish(std::function<void(Result<void>)> done) {
  if (finish_done_ || !ledger_) {  // under way, or complete: others may have the directory
    environment_.post([done = std::move(done)] { done({}); });
    return;
  }
  finish_done_ = std::move(done);
  maybe_sync();
  maybe_finish();
}

// A layer is loadable as soon as it is durable.
void TargetStore::maybe_name_early() {
  if (naming_ || !sync_result_) return;
  auto ready = complete_files(true);
  if (ready.empty()) return;
  naming_ = true;
  environment_.workers.post([self = self_pointer(), ready = std::move(ready)]() mutable {
    Result<void> result = self->settle_files(ready);
    hand_over(std::move(self), [result = std::move(result)](TargetStore& store) {
      store.named();
      if (!result && store.sync_result_) store.sync_result_ = result;
      store.maybe_sync();
      store.maybe_finish();
    });
  });
}

void TargetStore::maybe_finish() {
  if (!finish_done_ || naming_ || puts_under_way_ > 0 || syncs_under_way_ > 0 ||
      !unsynced_.empty() || !syncing_.empty()) {
    return;
  }
  naming_ = true;
  // Syncing and renaming many files takes its time: not on the owner's thread. Nothing else touches
  // ledger and files now.
  environment_.workers.post(
      [self = self_pointer(), ready = complete_files(keeps_back()), all = complete()]() mutable {
        Result<void> result = self->sync_result_;
        if (result) result = self->settle_files(ready);
        for (std::uint32_t i = 0; i < self->slots_.size() && result; ++i) {
          if (self->files_[i]) result = self->record_identity(PlacedIndex(i));
        }
        if (result && ::fsync(self->ledger_->fd()) != 0) {
          result = fail_errno(errno, "cannot sync the ledger");
        }
        if (result && all) result = self->commit();
        if (result && all) self->register_directory();
        hand_over(std::move(self), [result = std::move(result), all](TargetStore& store) {
          store.named();
          if (result && all) store.open_to_others();
          const auto finished = std::exchange(store.finish_done_, {});
          finished(result);
        });
      });
}

// The worker gave ledger and slots back.
void TargetStore::named() {
  naming_ = false;
  std::ranges::move(std::exchange(being_named_, {}), std::back_inserter(named_));
  // If this cannot be written the next run finds them by their identity, or is told again.
  if (ledger_ && !lost_while_naming_.empty()) (void)ledger_->append_lost(lost_while_naming_);
  lost_while_naming_.clear();
}

// Nothing is written from here on: others may read along. Changing a lock lets it go for a moment;
// if somebody takes it then, the files' identities keep what changes from being served.
void TargetStore::open_to_others() {
  expected_ = recorded_;
  ledger_.reset();
  (void)::flock(lock_.get(), LOCK_SH | LOCK_NB);
}

// Files that are here as far as they are wanted, durable, and not under their names yet.
std::vector<PlacedIndex> TargetStore::complete_files(bool early) const {
  std::vector<PlacedIndex> complete;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (!slot.required || slot.named || slot.undurable > 0 || !files_[i]) continue;
    if (!early || slot.early) complete.push_back(PlacedIndex(i));
  }
  return complete;
}

// Of a fetch that ends unfinished: what takes another file's place must not stand beside it.
bool TargetStore::keeps_back() const { return layout_ == Layout::kCompact && !complete(); }

bool TargetStore::complete() const { return (required_ - have_).empty(); }

// A file under its name is known to be ours by its record: that comes first.
Result<void> TargetStore::settle_files(const std::vector<PlacedIndex>& complete) {
  for (const PlacedIndex file : complete) {
    if (auto recorded = record_identity(file); !recorded) return recorded;
  }
  if (::fsync(ledger_->fd()) != 0) return fail_errno(errno, "cannot sync the ledger");
  for (const PlacedIndex file : complete) {
    if (auto named = name_file(file); !named) return named;
  }
  return {};
}

// So that the next run need not read it again.
Result<void> TargetStore::record_identity(PlacedIndex file) {
  const int fd = files_[file.value].get();
  if (::fsync(fd) != 0) return fail_errno(errno, "cannot sync " + name_of(file));
  const auto identity = identity_of(fd, name_of(file));
  if (!identity) return std::unexpected(identity.error());
  // What differs since it got its name somebody else wrote: the recorded file is the one with our
  // pieces, and the next run sees that this is another.
  if (slots_[file.value].settled && recorded_[file.value]) return {};
  if (identity->size != placement_.file(file).size) {  // somebody cut it, or it was not made yet
    if (!recorded_[file.value]) return {};
    recorded_[file.value].reset();
    return ledger_->append_gone(file);
  }
  if (recorded_[file.value] == *identity) return {};
  if (auto recorded = ledger_->append_file(file, *identity); !recorded) return recorded;
  recorded_[file.value] = *identity;
  return {};
}

Result<void> TargetStore::name_file(PlacedIndex file) {
  const std::filesystem::path path = placement_.file(file).path;
  auto folder = open_parent_beneath(root_.get(), path);
  if (!folder) return std::unexpected(folder.error());
  auto renamed = rename_to_new(root_.get(), incoming_name(file), folder->get(),
                               path.filename().string(), name_of(file));
  if (!renamed) return renamed;
  if (::fsync(folder->get()) != 0 && errno != EINVAL) {
    return fail_errno(errno, "cannot sync the folder of " + name_of(file));
  }
  slots_[file.value].named = true;
  slots_[file.value].settled = true;
  being_named_.push_back(path.string());
  return {};
}

// What the directory holds is now what it is to hold: says so.
Result<void> TargetStore::commit() {
  // What the last step brings, if that is all, makes the earlier ones superfluous.
  if (!steps_.empty() && !steps_.back().drop) {
    const auto alone = resolve(steps_.back().selection, *manifest_, outline_);
    if (!alone) return std::unexpected(alone.error());
    if (alone->tensors == tensors_) steps_ = {steps_.back()};
  }
  holding_.steps = steps_;
  if (layout_ == Layout::kCompact) return commit_compact();
  if (!holding_.steps.empty()) {
    if (auto saved = save_holding(meta_, holding_); !saved) return saved;
  }
  return punch_dropped();
}

// So that other fetches of this machine find its pieces. If it cannot be done nothing is lost.
void TargetStore::register_directory() {
  if (state_directory_.empty()) return;
  (void)DigestIndex::write(meta_ / kDigestIndexName, *manifest_);
  (void)Catalogue(state_directory_).add(directory_, manifest_->id());
}

// In this order every moment has a shard.json whose files are all there.
Result<void> TargetStore::commit_compact() {
  if (auto saved = save_holding(meta_, holding_); !saved) return saved;
  const std::vector<CompactFile> held = held_files();
  std::set<std::string> indexes;
  for (const TextFile& index : compact_indexes(*manifest_, held)) {
    indexes.insert(index.path);
    auto written =
        replace_file_beneath(root_.get(), index.path, std::as_bytes(std::span(index.text)));
    if (!written) return written;
  }
  const std::string text = shard_text(*manifest_, outline_, holding_.steps, held, true);
  auto written = replace_file_beneath(root_.get(), kShardFileName, std::as_bytes(std::span(text)));
  if (!written) return written;
  if (holding_.superseded.empty()) return {};
  const ComponentBases bases = component_bases(*manifest_);
  for (const CompactFile& old : holding_.superseded) {
    Result<void> removed;
    if (stands(old)) removed = remove_file_beneath(root_.get(), old.path);
    if (removed) removed = remove_file_beneath(root_.get(), incoming_name(PlacedIndex(old.number)));
    // The index of a component of which nothing is left.
    const std::string index = index_path(folder_of(old.path), bases);
    if (removed && !indexes.contains(index)) removed = remove_file_beneath(root_.get(), index);
    if (!removed) return removed;
  }
  const std::vector<CompactFile> gone = std::exchange(holding_.superseded, {});
  if (auto freed = free_cut_pieces(gone); !freed) return freed;
  return save_holding(meta_, holding_);
}

// Under its final name, as far as the ledger knows: else somebody else's file stands there.
bool TargetStore::stands(const CompactFile& file) const {
  struct stat status{};
  const std::string incoming = incoming_name(PlacedIndex(file.number));
  return recorded_[file.number] &&
         ::fstatat(root_.get(), incoming.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0;
}

// Gives back the room of pieces that slices of these files cut through and no slice does any more.
Result<void> TargetStore::free_cut_pieces(const std::vector<CompactFile>& gone) {
  const PlacedIndex cut(manifest_->file_count());
  if (!files_[cut.value]) return {};
  bool freed = false;
  for (const CompactFile& old : gone) {
    const auto placement = Placement::compact(*manifest_, {old}, holding_.next_number);
    if (!placement) return std::unexpected(placement.error());
    PieceSet pieces(manifest_->piece_count());
    for (const TensorRows& rows : old.tensors) insert_pieces(rows, *manifest_, pieces);
    pieces.for_each([&](PieceIndex piece) {
      const auto was = placement->home(piece);
      if (!was || was->file != cut) return;
      if (const auto now = placement_.home(piece); now && now->file == cut) return;
      punch_hole(files_[cut.value].get(), was->offset, was->length);
      freed = true;
    });
  }
  return freed ? record_identity(cut) : Result<void>{};
}

// The files that hold what the directory is to hold; others are unfinished fetches.
std::vector<CompactFile> TargetStore::held_files() const {
  std::vector<CompactFile> held;
  std::ranges::copy_if(holding_.files, std::back_inserter(held), [&](const CompactFile& file) {
    return std::ranges::binary_search(tensors_, file.tensors.front());
  });
  return held;
}

Result<void> TargetStore::punch_dropped() {
  if (dropped_.empty()) return {};
  std::vector<PieceIndex> lost;
  dropped_.for_each([&](PieceIndex piece) { lost.push_back(piece); });
  if (auto recorded = ledger_->append_lost(lost); !recorded) return recorded;
  if (::fsync(ledger_->fd()) != 0) return fail_errno(errno, "cannot sync the ledger");
  std::vector<bool> holds(slots_.size());
  required_.for_each([&](PieceIndex piece) { holds[place_of(piece).file.value] = true; });
  for (const TensorRows& rows : tensors_) holds[rows.file.value] = true;
  std::set<PlacedIndex> touched;
  for (const PieceIndex piece : lost) {
    const Place place = place_of(piece);
    touched.insert(place.file);
    have_.erase(piece);
    if (holds[place.file.value] && files_[place.file.value]) {
      punch_hole(files_[place.file.value].get(), place.offset, place.length);
    }
  }
  for (const PlacedIndex file : touched) {
    if (holds[file.value] && files_[file.value]) {
      if (auto recorded = record_identity(file); !recorded) return recorded;
    } else if (auto removed = remove_dropped(file); !removed) {
      return removed;
    }
  }
  return {};
}

// First the ledger says that the file is not ours any more: whatever stands there later is not.
Result<void> TargetStore::remove_dropped(PlacedIndex file) {
  if (auto gone = ledger_->append_gone(file); !gone) return gone;
  if (::fsync(ledger_->fd()) != 0) return fail_errno(errno, "cannot sync the ledger");
  recorded_[file.value].reset();
  if (auto removed = remove_file_beneath(root_.get(), incoming_name(file)); !removed) {
    return removed;
  }
  if (!slots_[file.value].named) return {};
  return remove_file_beneath(root_.get(), placement_.file(file).path);
}

}  // namespace shardswarm
