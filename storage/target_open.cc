// Opening a directory to fetch into: whose is it, is there space, what is here already.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "piece/limits.h"
#include "storage/meta_dir.h"
#include "storage/piece_check.h"
#include "storage/sparse.h"
#include "storage/target_store.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kBlockBytes = 512;  // of st_blocks
// Folders, ledger and the file system's own bookkeeping.
constexpr std::uint64_t kSpaceReserve = limits::kMiB;

std::string incoming_name(FileIndex file) {
  return std::string(kMetaDirName) + "/incoming/" + std::to_string(file.value);
}

std::vector<PieceRun> runs_in(const PieceSet& set, PieceIndex first, std::uint32_t count) {
  PieceSet part(set.size());
  part.insert(PieceRun{first, count});
  return (part & set).runs();
}

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

}  // namespace

Result<std::shared_ptr<Store>> Store::open_target(StorageEnvironment environment,
                                                  const TargetOptions& options,
                                                  std::shared_ptr<const Manifest> manifest,
                                                  const ResolvedSelection& selection) {
  return TargetStore::open(std::move(environment), options, std::move(manifest), selection);
}

Result<std::shared_ptr<Store>> TargetStore::open(StorageEnvironment environment,
                                                 const TargetOptions& options,
                                                 std::shared_ptr<const Manifest> manifest,
                                                 const ResolvedSelection& selection) {
  std::shared_ptr<TargetStore> store(new TargetStore(std::move(environment), std::move(manifest)));
  store->directory_ = options.directory;
  store->meta_ = options.directory / kMetaDirName;
  store->layout_ = options.layout;
  store->selected_ = selection.pieces;
  store->cancel_ = options.cancel;
  for (std::uint32_t i = 0; i < store->state_.size(); ++i) {
    store->state_[i].selected = selection.files[i];
  }
  auto opened = store->take_directory(options);
  if (opened) opened = store->open_slots(selection);
  if (!opened) {
    store->undo_fresh();
    return std::unexpected(opened.error());
  }
  store->cancel_ = nullptr;
  return store;
}

Result<void> TargetStore::take_directory(const TargetOptions& options) {
  std::error_code ec;
  made_ = fs::create_directories(options.directory, ec);
  if (ec) return fail_errno(ec.value(), "cannot make " + options.directory.string());
  root_ = Fd(::open(options.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root_) return fail_errno(errno, "cannot open " + options.directory.string());
  if (::mkdirat(root_.get(), std::string(kMetaDirName).c_str(), 0777) == 0) {
    fresh_ = true;
  } else if (errno != EEXIST) {
    return fail_errno(errno, "cannot write to " + options.directory.string());
  } else if (auto own = open_beneath(root_.get(), kMetaDirName, O_RDONLY | O_DIRECTORY); !own) {
    return fail(Errc::kForeign, meta_.string() +
                                    " is no folder of ours: remove it, or fetch into "
                                    "another directory");
  }
  auto lock = lock_meta(meta_, true);
  if (!lock) {
    fresh_ = false;  // somebody else is at it
    return std::unexpected(lock.error());
  }
  lock_ = std::move(*lock);
  // Without a ledger nothing was ever recorded: an attempt that ended before it began. Its root may
  // be another model's.
  if (!fs::exists(meta_ / "ledger", ec)) {
    fresh_ = true;
    fs::remove(meta_ / "root", ec);
  }
  return {};
}

// Nothing that we did not put there is overwritten.
Result<void> TargetStore::check_foreign() const {
  if (!fresh_) {
    const auto head = Ledger::read_head(meta_ / "ledger");
    if (!head) {
      return fail(Errc::kForeign, directory_.string() + " has a damaged .shardswarm/ (" +
                                      head.error().message + "): fetch into another directory");
    }
    if (head->model != manifest_->id()) {
      return fail(Errc::kForeign, directory_.string() + " holds model " + to_hex(head->model) +
                                      ": fetch into another directory");
    }
  }
  for (std::uint32_t i = 0; i < state_.size(); ++i) {
    if (!state_[i].selected || state_[i].named) continue;
    // Whatever stands there, or a link or file where a folder should be.
    const auto there =
        open_beneath(root_.get(), manifest_->file(FileIndex(i)).path, O_RDONLY | O_NONBLOCK);
    if (there || there.error().code != Errc::kNotFound) {
      return fail(Errc::kForeign, name_of(FileIndex(i)) +
                                      " is there already and was not fetched by shardswarm: fetch "
                                      "into another directory, or move it away");
    }
  }
  return {};
}

Result<void> TargetStore::open_slots(const ResolvedSelection& selection) {
  LedgerContent content;
  found_.resize(state_.size());
  if (!fresh_) {
    if (auto own = Ledger::read_head(meta_ / "ledger"); own && own->model == manifest_->id()) {
      auto opened = Ledger::open(meta_ / "ledger", manifest_->piece_count(),
                                 manifest_->file_count(), content);
      if (!opened) return std::unexpected(opened.error());
      ledger_ = std::move(*opened);
      layout_ = content.layout;
    }
  }
  recorded_ = content.files;
  recorded_.resize(state_.size());
  // A file under its final name is ours if the ledger recorded its identity, or its pieces.
  if (ledger_) {
    std::vector<bool> known(state_.size());
    content.recorded.for_each([&](PieceIndex piece) { known[file_of(piece).value] = true; });
    for (std::uint32_t i = 0; i < state_.size(); ++i) {
      struct stat status{};
      state_[i].named = (known[i] || content.files[i]) &&
                        ::fstatat(root_.get(), manifest_->file(FileIndex(i)).path.c_str(), &status,
                                  AT_SYMLINK_NOFOLLOW) == 0 &&
                        S_ISREG(status.st_mode);
    }
  }
  if (auto checked = check_foreign(); !checked) return checked;
  if (auto checked = check_space(selection); !checked) return checked;
  if (auto saved = save_manifest(meta_, *manifest_); !saved) return saved;
  if (!ledger_) {
    auto created = Ledger::create(meta_ / "ledger", manifest_->id(), layout_);
    if (!created) return std::unexpected(created.error());
    ledger_ = std::move(*created);
    content.recorded = PieceSet(manifest_->piece_count());
    content.xxh3.resize(manifest_->piece_count());
    content.files.resize(state_.size());
  }
  for (std::uint32_t i = 0; i < state_.size(); ++i) {
    if (!state_[i].selected && !state_[i].named) continue;
    if (auto opened = open_slot(FileIndex(i)); !opened) return opened;
  }
  if (auto taken = take_up(selection, content); !taken) return taken;
  return prepare_files(selection);
}

Result<void> TargetStore::check_space(const ResolvedSelection& selection) {
  std::uint64_t needed = kSpaceReserve;
  for (std::uint32_t i = 0; i < state_.size(); ++i) {
    if (!state_[i].selected) continue;
    const FileIndex file(i);
    std::uint64_t bytes = manifest_->file(file).header_bytes;
    for (const PieceRun& run :
         runs_in(selection.pieces, manifest_->first_piece(file), manifest_->file(file).pieces)) {
      for (std::uint32_t p = 0; p < run.count; ++p) {
        bytes += manifest_->extent(PieceIndex(run.first.value + p)).length;
      }
    }
    struct stat status{};
    const std::string name = state_[i].named ? manifest_->file(file).path : incoming_name(file);
    const bool there = ::fstatat(root_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    const std::uint64_t allocated =
        there ? static_cast<std::uint64_t>(status.st_blocks) * kBlockBytes : 0;
    needed += bytes - std::min(bytes, allocated);
  }
  struct statvfs space{};
  if (::fstatvfs(root_.get(), &space) != 0) {
    return fail_errno(errno, "cannot tell the space of " + directory_.string());
  }
  const std::uint64_t available = std::uint64_t{space.f_bavail} * space.f_frsize;
  if (needed > available) {
    constexpr double kMiB = limits::kMiB;
    return fail(Errc::kNoSpace,
                fmt::format("not enough space in {}: {:.1f} MiB more are needed, {:.1f} MiB are "
                            "free; make room, or fetch less",
                            directory_.string(), static_cast<double>(needed) / kMiB,
                            static_cast<double>(available) / kMiB));
  }
  return {};
}

Result<void> TargetStore::open_slot(FileIndex file) {
  const std::string path =
      state_[file.value].named ? manifest_->file(file).path : incoming_name(file);
  auto fd = open_beneath(root_.get(), path, O_RDWR | (state_[file.value].named ? 0 : O_CREAT));
  if (!fd) return std::unexpected(fd.error());
  const auto identity = identity_of(fd->get(), path);
  if (!identity) return std::unexpected(identity.error());
  found_[file.value] = *identity;
  files_[file.value] = std::move(*fd);
  return {};
}

// What an earlier run left: first what the ledger vouches for, then what was written and not yet
// recorded, which only its SHA-256 can tell.
Result<void> TargetStore::take_up(const ResolvedSelection& selection, const LedgerContent& ledger) {
  trust(ledger, found_, nullptr, cancel_);
  std::vector<PieceCheck> checks;
  for (std::uint32_t i = 0; i < state_.size(); ++i) {
    const FileIndex file(i);
    if (!files_[i] || !found_[i] || found_[i]->size == 0 || manifest_->needs_piece_list(file))
      continue;
    PieceSet missing(manifest_->piece_count());
    missing.insert(PieceRun{manifest_->first_piece(file), manifest_->file(file).pieces});
    missing &= selection.pieces;
    missing -= have_;
    if (missing.empty()) continue;
    const DataRanges data(files_[i].get(), found_[i]->size);
    missing.for_each([&](PieceIndex piece) {
      const PieceExtent extent = manifest_->extent(piece);
      if (!data.all_data(extent.offset, extent.length)) return;
      checks.push_back({.piece = piece, .fd = files_[i].get(), .extent = extent, .xxh3 = {}});
    });
  }
  const auto checked = check_pieces(*manifest_, checks, environment_.workers, cancel_);
  // What was not looked at is not lost.
  if (cancel_ != nullptr && cancel_->load()) {
    return fail(Errc::kCancelled, "cancelled; run it again to resume");
  }
  std::vector<PieceRecord> records;
  for (std::size_t i = 0; i < checks.size(); ++i) {
    progress_.rechecked_bytes += checks[i].extent.length;
    if (!checked[i].ok) continue;
    have_.insert(checks[i].piece);
    records.push_back({checks[i].piece, checked[i].xxh3});
  }
  // Their bytes may be in the page cache only: recorded after the next sync, with what comes then.
  unsynced_ = std::move(records);
  std::vector<PieceIndex> lost;
  (ledger.recorded - have_).for_each([&](PieceIndex piece) {
    // Only of files that could be checked: of others an earlier selection knows more than we do.
    const FileIndex file = file_of(piece);
    const bool known = !manifest_->needs_header(file) && !manifest_->needs_piece_list(file);
    if (known && files_[file.value]) lost.push_back(piece);
  });
  return lost.empty() ? Result<void>{} : ledger_->append_lost(lost);
}

Result<void> TargetStore::prepare_files(const ResolvedSelection& selection) {
  for (std::uint32_t i = 0; i < state_.size(); ++i) {
    if (!state_[i].selected) continue;
    const FileIndex file(i);
    const auto runs = runs_in(selection.pieces - have_, manifest_->first_piece(file),
                              manifest_->file(file).pieces);
    // A file with nothing missing that is as it was recorded is not touched. Else its header is
    // written again: no piece covers it.
    if (runs.empty() && state_[i].named && found_[i] == recorded_[i]) continue;
    if (auto prepared = prepare_file(file, runs); !prepared) return prepared;
  }
  return {};
}

Result<void> TargetStore::prepare_file(FileIndex file, const std::vector<PieceRun>& runs) {
  const FileEntry& entry = manifest_->file(file);
  const int fd = files_[file.value].get();
  if (found_[file.value]->size != entry.size &&
      ::ftruncate(fd, static_cast<off_t>(entry.size)) != 0) {
    return fail_errno(errno, "cannot size " + name_of(file));
  }
  if (const Blob header = manifest_->header_blob(file)) {
    if (auto written = write_exactly(fd, 0, *header, name_of(file)); !written) return written;
  }
  for (const PieceRun& run : runs) {
    const PieceExtent first = manifest_->extent(run.first);
    const PieceExtent last = manifest_->extent(PieceIndex(run.first.value + run.count - 1));
    const std::uint64_t end = last.offset + last.length;
    if (auto reserved = allocate(fd, first.offset, end - first.offset, name_of(file)); !reserved) {
      return reserved;
    }
  }
  return {};
}

// A first attempt that could not even begin leaves nothing behind.
void TargetStore::undo_fresh() {
  if (!fresh_) return;
  std::error_code ignored;
  fs::remove_all(meta_, ignored);
  if (made_) fs::remove(directory_, ignored);  // only if it is empty
}

}  // namespace shardswarm
