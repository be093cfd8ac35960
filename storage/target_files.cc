// Opening a directory to fetch into: what of it is here already, on this machine at least.
#include <fcntl.h>
#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/limits.h"
#include "base/text.h"
#include "storage/compact_files.h"
#include "storage/copy.h"
#include "storage/meta_dir.h"
#include "storage/parallel.h"
#include "storage/piece_check.h"
#include "storage/reuse.h"
#include "storage/sparse.h"
#include "storage/target_store.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

using Range = std::pair<std::uint64_t, std::uint64_t>;  // [first, second)

// Reserves a range on the disk. What the file system cannot do is left to the writes.
Result<void> allocate(int fd, std::uint64_t offset, std::uint64_t bytes, const std::string& name) {
#ifdef __linux__
  if (bytes == 0) return {};
  int result = 0;
  do {
    result = ::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) {
    return fail_errno(errno, "cannot reserve " + std::to_string(bytes) + " bytes for " + name);
  }
#else
  (void)fd, (void)offset, (void)bytes, (void)name;
#endif
  return {};
}

// On tmpfs reserving is as much work as writing (1 GB/s here: zeroed pages), before the first byte
// is asked for: there it is only seen whether there is room.
Result<bool> reserves_at_once(int fd, std::uint64_t bytes) {
#ifdef __linux__
  struct statfs system{};
  if (::fstatfs(fd, &system) != 0 || system.f_type != TMPFS_MAGIC) return true;
  const std::uint64_t free =
      std::uint64_t{system.f_bavail} * static_cast<std::uint64_t>(system.f_bsize);
  if (system.f_blocks == 0 || bytes <= free) return false;
  return fail_errno(ENOSPC, "cannot reserve " + std::to_string(bytes) + " bytes");
#else
  (void)fd, (void)bytes;
  return true;
#endif
}

// Adds a range, growing the last one where they touch.
void add_range(std::vector<Range>& ranges, const Place& place) {
  if (!ranges.empty() && ranges.back().second == place.offset) {
    ranges.back().second += place.length;
  } else {
    ranges.emplace_back(place.offset, place.offset + place.length);
  }
}

}  // namespace

std::string TargetStore::incoming_name(PlacedIndex file) {
  return std::string(kMetaDirName) + "/incoming/" + std::to_string(file.value);
}

std::string TargetStore::current_name(PlacedIndex file) const {
  const bool kept_open = layout_ == Layout::kCompact && file.value == manifest_->file_count();
  return slots_[file.value].named || kept_open ? placement_.file(file).path : incoming_name(file);
}

Result<void> TargetStore::open_files(const TargetOptions& options, const LedgerContent& content) {
  found_.resize(slots_.size());
  if (auto saved = save_manifest(meta_, *manifest_); !saved) return saved;
  if (!ledger_) {
    auto created = Ledger::create(meta_ / "ledger", manifest_->id(), layout_);
    if (!created) return std::unexpected(created.error());
    ledger_ = std::move(*created);
  }
  if (!moved_.empty()) {
    if (auto lost = ledger_->append_lost(moved_); !lost) return lost;
    if (::fsync(ledger_->fd()) != 0) return fail_errno(errno, "cannot sync the ledger");
  }
  // Before any file: whoever comes after us must know what the numbers mean.
  if (layout_ == Layout::kCompact) {
    if (auto saved = save_holding(meta_, holding_); !saved) return saved;
  }
  fresh_ = false;  // from here on there is something to resume
  std::error_code ignored;
  fs::remove_all(meta_ / "convert", ignored);  // of one that will not go on from here
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].used) continue;
    if (auto opened = open_slot(PlacedIndex(i)); !opened) return opened;
  }
  dropped_ &= content.recorded;
  if (auto taken = take_up(content); !taken) return taken;
  if (auto withdrawn = withdraw_shard(true); !withdrawn) return withdrawn;
  if (auto prepared = prepare_files(); !prepared) return prepared;
  if (auto copied = copy_superseded(); !copied) return copied;
  if (auto withdrawn = withdraw_shard(false); !withdrawn) return withdrawn;
  wanted_ |= required_ - have_;
  if (auto copied = copy_from_others(options); !copied) return copied;
  if (auto written = rewrite_parts(); !written) return written;
  if (auto recorded = record_lost(content); !recorded) return recorded;
  if (drops_ && !(required_ - have_).empty()) {
    return fail(Errc::kCorrupt, directory_.string() + " lacks " +
                                    std::to_string((required_ - have_).count()) +
                                    " pieces of what it should hold: fetch it again first");
  }
  count_undurable();
  return {};
}

Result<void> TargetStore::open_slot(PlacedIndex file) {
  const std::string path = current_name(file);
  auto fd = open_beneath(root_.get(), path, O_RDWR | (slots_[file.value].named ? 0 : O_CREAT));
  if (!fd) return std::unexpected(fd.error());
  const auto identity = identity_of(fd->get(), path);
  if (!identity) return std::unexpected(identity.error());
  found_[file.value] = *identity;
  files_[file.value] = std::move(*fd);
  return {};
}

// What an earlier run left: first what the ledger vouches for, then what was written and not yet
// recorded, which only its SHA-256 can tell.
Result<void> TargetStore::take_up(const LedgerContent& ledger) {
  trust(ledger, found_, true, nullptr, cancel_);
  std::vector<std::optional<DataRanges>> data(slots_.size());
  std::vector<PieceCheck> checks;
  (required_ - have_).for_each([&](PieceIndex piece) {
    const Place place = place_of(piece);
    const std::uint32_t file = place.file.value;
    if (!data[file]) data[file].emplace(files_[file].get(), found_[file]->size);
    if (!data[file]->all_data(place.offset, place.length)) return;
    checks.push_back({.piece = piece, .fd = files_[file].get(), .place = place, .xxh3 = {}});
  });
  const auto checked = check_pieces(*manifest_, checks, environment_.workers, cancel_);
  // What was not looked at is not lost.
  if (cancel_ != nullptr && cancel_->load()) {
    return fail(Errc::kCancelled, "cancelled; run it again to resume");
  }
  for (std::size_t i = 0; i < checks.size(); ++i) {
    progress_.rechecked_bytes += checks[i].place.length;
    if (!checked[i].ok) continue;
    have_.insert(checks[i].piece);
    // Their bytes may be in the page cache only: recorded after the next sync, with what comes
    // then.
    unsynced_.push_back({checks[i].piece, checked[i].xxh3});
  }
  keep_edited_files();
  return {};
}

// Whether a file that got its name in an earlier run lacks bytes that it had then.
bool TargetStore::is_damaged(PlacedIndex file) const {
  const std::uint32_t i = file.value;
  if (!slots_[i].named || !files_[i] || !recorded_[i]) return false;
  if (found_[i]->size != placement_.file(file).size) return true;
  bool damaged = false;
  (required_ - have_).for_each([&](PieceIndex piece) {
    damaged = damaged || place_of(piece).file == file;
  });
  return damaged;
}

// Whether nobody wrote to the file since it was recorded.
bool TargetStore::is_untouched(std::uint32_t file) const {
  return slots_[file].named && found_[file] == recorded_[file];
}

// What a user wrote into a file is not ours to undo. Rot is, which changes no time; and tensors
// are: no engine could read a file of which a part is another model's, and the ledger says what it
// should hold. All three are said.
void TargetStore::keep_edited_files() {
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    const PlacedIndex file(i);
    if (placement_.file(file).ours || !is_damaged(file)) continue;
    const std::string name = printable(name_of(file));
    if (is_untouched(i)) {
      if (recheck_) warnings_.push_back(name + " is damaged: what differs is fetched again");
      continue;
    }
    const bool tensors =
        i >= manifest_->file_count() || manifest_->file(FileIndex(i)).kind != FileKind::kPlain;
    if (tensors) {
      warnings_.push_back(name +
                          " was changed since it was fetched: what differs is fetched again");
      continue;
    }
    warnings_.push_back(name +
                        " was changed since it was fetched and is left as it is; to have the "
                        "model's, remove it and run this again");
    keep_back(FileIndex(i));
  }
}

void TargetStore::keep_back(FileIndex file) {
  PieceSet pieces(manifest_->piece_count());
  pieces.insert(PieceRun{manifest_->first_piece(file), manifest_->file(file).pieces});
  kept_back_ |= pieces;
  required_ -= pieces;
  wanted_ -= pieces;
  have_ -= pieces;
  std::erase_if(unsynced_,
                [&](const PieceRecord& record) { return pieces.contains(record.piece); });
  slots_[file.value].used = slots_[file.value].required = false;
  files_[file.value] = Fd();
}

// While something is missing of what shard.json promises it must not. What lies in superseded files
// is there, only not where the new plan looks for it; once it was copied it is known whether it was
// right.
Result<void> TargetStore::withdraw_shard(bool trust_superseded) {
  if (layout_ != Layout::kCompact || holding_.steps.empty()) return {};
  const auto held = replay(holding_.steps, *manifest_, outline_);
  if (!held) return std::unexpected(held.error());
  PieceSet promised(manifest_->piece_count());
  for (const TensorRows& rows : *held) insert_pieces(rows, *manifest_, promised);
  promised &= required_;  // what is being dropped may be missing
  bool changed = false;
  for (const CompactFile& file : holding_.superseded) {
    if (!trust_superseded) break;
    // No piece vouches for the parts of pieces in it.
    const auto fd = open_beneath(root_.get(), file.path, O_RDONLY);
    const auto identity = fd ? identity_of(fd->get(), file.path) : fail(Errc::kNotFound, "");
    changed |= identity && recorded_[file.number] != *identity;
    PieceSet there(manifest_->piece_count());
    for (const TensorRows& rows : file.tensors) insert_pieces(rows, *manifest_, there);
    promised -= there;
  }
  promised -= have_;
  if (promised.empty() && !changed) return {};
  const std::string text = shard_text(*manifest_, outline_, holding_.steps, held_files(), false);
  return replace_file_beneath(root_.get(), kShardFileName, std::as_bytes(std::span(text)));
}

Result<void> TargetStore::prepare_files() {
  std::vector<std::vector<Range>> ranges(slots_.size());
  (required_ - have_).for_each([&](PieceIndex piece) {
    const Place place = place_of(piece);
    add_range(ranges[place.file.value], place);
    if (const auto part = placement_.part(piece)) add_range(ranges[part->file.value], *part);
  });
  std::uint64_t bytes = 0;
  for (const auto& of_file : ranges) {
    for (const auto& [begin, end] : of_file) bytes += end - begin;
  }
  const auto reserve = reserves_at_once(root_.get(), bytes);
  if (!reserve) return std::unexpected(reserve.error());
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].used || (!slots_[i].required && ranges[i].empty())) continue;
    // A file with nothing missing that is as it was recorded is not written to. Else its header is
    // written again: no piece covers it.
    if (ranges[i].empty() && is_untouched(i) && !recheck_) continue;
    if (auto prepared = prepare_file(PlacedIndex(i)); !prepared) return prepared;
    if (!*reserve) continue;
    for (const auto& [begin, end] : ranges[i]) {
      const int fd = files_[i].get();
      if (auto done = allocate(fd, begin, end - begin, name_of(PlacedIndex(i))); !done) return done;
    }
  }
  return {};
}

Result<void> TargetStore::prepare_file(PlacedIndex file) {
  const PlacedFile& placed = placement_.file(file);
  const int fd = files_[file.value].get();
  if (found_[file.value]->size != placed.size &&
      ::ftruncate(fd, static_cast<off_t>(placed.size)) != 0) {
    return fail_errno(errno, "cannot size " + name_of(file));
  }
  if (placed.head) {
    if (auto written = write_exactly(fd, 0, *placed.head, name_of(file)); !written) return written;
  }
  return {};
}

// Pieces of superseded files, as far as they are needed, to their new places.
Result<void> TargetStore::copy_superseded() {
  for (const CompactFile& old : holding_.superseded) {
    const auto placement = Placement::compact(*manifest_, {old}, holding_.next_number);
    if (!placement) return std::unexpected(placement.error());
    const std::string path = stands(old) ? old.path : incoming_name(PlacedIndex(old.number));
    auto fd = open_beneath(root_.get(), path, O_RDONLY);
    if (!fd) continue;
    auto cut = open_beneath(root_.get(), placement->file(PlacedIndex(manifest_->file_count())).path,
                            O_RDONLY);
    std::vector<CopyJob> jobs;
    PieceSet its(manifest_->piece_count());
    for (const TensorRows& rows : old.tensors) insert_pieces(rows, *manifest_, its);
    its &= required_;
    (its - have_).for_each([&](PieceIndex piece) {
      const auto place = placement->home(piece);
      if (!place) return;
      const bool whole = place->file.value == old.number;
      if (whole || (cut && place->file != place_of(piece).file)) {
        jobs.push_back({piece, whole ? fd->get() : cut->get(), place->offset});
      }
    });
    if (auto copied = copy(jobs); !copied) return std::unexpected(copied.error());
  }
  return {};
}

Result<void> TargetStore::copy_from_others(const TargetOptions& options) {
  if (options.source) {
    std::vector<CopyJob> jobs;
    (required_ - have_).for_each([&](PieceIndex piece) {
      if (const auto range = options.source->range(piece)) {
        jobs.push_back({piece, range->fd, range->offset});
      }
    });
    if (auto copied = copy(jobs); !copied) return std::unexpected(copied.error());
  }
  const PieceSet missing = required_ - have_;
  if (missing.empty() || options.state_directory.empty() || !options.reuse || drops_) return {};
  const ReuseQuery query{
      .state_directory = options.state_directory, .not_here = directory_, .cancel = cancel_};
  for (const ReuseSource& source : find_reusable(environment_, query, *manifest_, missing)) {
    std::vector<CopyJob> jobs;
    for (const auto& [wanted, there] : source.pieces) {
      if (const auto range = source.store->range(there)) {
        jobs.push_back({wanted, range->fd, range->offset});
      }
    }
    const auto copied = copy(jobs);
    if (!copied) return std::unexpected(copied.error());
    progress_.copied_bytes += *copied;
  }
  return {};
}

// So much at a time: a crash costs no more of what was copied, and reading it back still finds it
// in the page cache.
Result<std::uint64_t> TargetStore::copy(std::span<const CopyJob> jobs) {
  constexpr std::size_t kAtATime = 512;  // pieces of at most 1 MiB
  std::uint64_t bytes = 0;
  while (!jobs.empty()) {
    const auto some = jobs.first(std::min(jobs.size(), kAtATime));
    jobs = jobs.subspan(some.size());
    const auto copied = copy_some(some);
    if (!copied) return copied;
    bytes += *copied;
  }
  return bytes;
}

// What was copied is read back and hashed: the source may have changed. What is right is synced and
// recorded at once; what is not is fetched.
Result<std::uint64_t> TargetStore::copy_some(std::span<const CopyJob> jobs) {
  std::vector<Result<void>> moved(jobs.size());
  parallel_for(environment_.workers, jobs.size(), [&](std::size_t i) {
    if (cancel_ != nullptr && cancel_->load()) return;
    const Place to = place_of(jobs[i].piece);
    moved[i] = copy_bytes(jobs[i].fd, jobs[i].offset, files_[to.file.value].get(), to.offset,
                          to.length, name_of(to.file));
  });
  // What cannot be read is fetched; where nothing can be written that would not help.
  const auto full = std::ranges::find_if(moved, [](const Result<void>& result) {
    return !result && result.error().code == Errc::kNoSpace;
  });
  if (full != moved.end()) return std::unexpected(full->error());
  std::vector<PieceCheck> checks;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (!moved[i]) continue;
    const Place place = place_of(jobs[i].piece);
    checks.push_back(
        {.piece = jobs[i].piece, .fd = files_[place.file.value].get(), .place = place, .xxh3 = {}});
  }
  const auto checked = check_pieces(*manifest_, checks, environment_.workers, cancel_);
  if (cancel_ != nullptr && cancel_->load()) {
    return fail(Errc::kCancelled, "cancelled; run it again to resume");
  }
  std::uint64_t bytes = 0;
  std::vector<PieceRecord> records;
  for (std::size_t i = 0; i < checks.size(); ++i) {
    if (!checked[i].ok) continue;
    if (auto written = rewrite_part(checks[i].piece); !written) {
      return std::unexpected(written.error());
    }
    records.push_back({checks[i].piece, checked[i].xxh3});
    bytes += checks[i].place.length;
  }
  if (auto recorded = record_now(records); !recorded) return std::unexpected(recorded.error());
  for (const PieceRecord& record : records) have_.insert(record.piece);
  return bytes;
}

Result<void> TargetStore::record_now(const std::vector<PieceRecord>& records) {
  if (records.empty()) return {};
  std::set<PlacedIndex> dirty;
  for (const PieceRecord& record : records) {
    for_touched_files(record.piece, [&](PlacedIndex file) { dirty.insert(file); });
  }
  for (const PlacedIndex file : dirty) {
    if (::fsync(files_[file.value].get()) != 0) {
      return fail_errno(errno, "cannot sync " + name_of(file));
    }
  }
  if (auto recorded = ledger_->append_pieces(records); !recorded) return recorded;
  if (::fsync(ledger_->fd()) != 0) return fail_errno(errno, "cannot sync the ledger");
  return {};
}

// The parts of pieces that slices cut through are no pieces: nothing vouches for them but the
// identity of their file.
Result<void> TargetStore::rewrite_parts() {
  Result<void> result;
  (required_ & have_).for_each([&](PieceIndex piece) {
    const auto part = placement_.part(piece);
    if (!part || !result) return;
    const std::uint32_t file = part->file.value;
    if (is_untouched(file) && !recheck_) return;
    result = rewrite_part(piece);
  });
  return result;
}

Result<void> TargetStore::rewrite_part(PieceIndex piece) {
  const auto part = placement_.part(piece);
  if (!part) return {};
  const Place whole = place_of(piece);
  std::vector<std::byte> buffer(part->length);
  auto read = read_exactly(files_[whole.file.value].get(), whole.offset + part->from, buffer,
                           name_of(whole.file));
  if (!read) return read;
  return write_exactly(files_[part->file.value].get(), part->offset, buffer, name_of(part->file));
}

// Only of files that could be checked: of others an earlier selection knows more than we do.
Result<void> TargetStore::record_lost(const LedgerContent& ledger) {
  std::vector<PieceIndex> lost;
  (ledger.recorded - have_).for_each([&](PieceIndex piece) {
    const FileIndex of = manifest_->file_of(piece);
    if (manifest_->needs_header(of) || manifest_->needs_piece_list(of)) return;
    const auto place = placement_.home(piece);
    if (place && files_[place->file.value]) lost.push_back(piece);
  });
  return lost.empty() ? Result<void>{} : ledger_->append_lost(lost);
}

void TargetStore::count_undurable() {
  PieceSet open = required_ - have_;
  for (const PieceRecord& record : unsynced_) {
    if (required_.contains(record.piece)) open.insert(record.piece);
  }
  open.for_each([&](PieceIndex piece) {
    for_touched_files(piece, [&](PlacedIndex file) { ++slots_[file.value].undurable; });
  });
}

}  // namespace shardswarm
