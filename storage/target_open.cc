// Opening a directory to fetch into: whose is it, what is it to hold, is there space.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/limits.h"
#include "base/text.h"
#include "storage/compact_files.h"
#include "storage/compact_plan.h"
#include "storage/convert.h"
#include "storage/local_bytes.h"
#include "storage/meta_dir.h"
#include "storage/name_clash.h"
#include "storage/target_store.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kBlockBytes = 512;  // of st_blocks

// What stands where the directory is to be is a directory, or nothing.
Result<void> check_place(const fs::path& directory) {
  std::error_code ec;
  const fs::file_type there = fs::symlink_status(directory, ec).type();
  const fs::file_type behind = fs::status(directory, ec).type();
  if (there == fs::file_type::symlink && behind == fs::file_type::not_found) {
    return fail(Errc::kIo, shown(directory.string()) +
                               " is a link to nothing: make the directory that it names, or "
                               "fetch into another one");
  }
  const bool unknown = behind == fs::file_type::none || behind == fs::file_type::unknown;
  if (unknown || behind == fs::file_type::not_found || behind == fs::file_type::directory)
    return {};
  return fail(Errc::kIo,
              shown(directory.string()) + " is not a directory: fetch into another place");
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
  store->state_directory_ = options.state_directory;
  store->cancel_ = options.cancel;
  store->recheck_ = options.recheck;
  LedgerContent content;
  auto opened = store->take_directory(options);
  if (opened) opened = store->decide_layout(options, selection);
  if (opened) opened = store->open_ledger(content);
  if (opened) opened = store->check_lists();
  if (opened) opened = check_names(store->root_.get(), store->directory_, store->paths_to_make());
  if (opened) opened = store->check_foreign();
  if (opened) opened = store->check_space();
  if (opened) opened = store->open_files(options, content);
  if (!opened) {
    store->undo_fresh();
    return std::unexpected(opened.error());
  }
  store->cancel_ = nullptr;
  return store;
}

Result<void> TargetStore::take_directory(const TargetOptions& options) {
  std::error_code ec;
  if (auto free = check_place(options.directory); !free) return free;
  made_ = fs::create_directories(options.directory, ec);
  if (ec) return fail_errno(ec.value(), "cannot make " + shown(options.directory.string()));
  root_ = Fd(::open(options.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root_) return fail_errno(errno, "cannot open " + options.directory.string());
  if (::mkdirat(root_.get(), std::string(kMetaDirName).c_str(), 0777) == 0) {
    fresh_ = true;
  } else if (errno != EEXIST) {
    return fail_errno(errno, "cannot write to " + options.directory.string());
  } else if (auto own = open_beneath(root_.get(), kMetaDirName, O_RDONLY | O_DIRECTORY); !own) {
    return fail(Errc::kForeign, meta_.string() +
                                    " is not a folder of ours: remove it, or fetch into "
                                    "another directory");
  }
  auto lock = lock_meta(meta_, true);
  if (!lock) {
    fresh_ = false;  // somebody else is at it
    return std::unexpected(lock.error());
  }
  lock_ = std::move(*lock);
  if (conversion_is_due(directory_)) {
    if (auto completed = complete_conversion(directory_); !completed) return completed;
  }
  // Without a ledger nothing was ever recorded: an attempt that ended before it began. Its root may
  // be another model's.
  if (!fs::exists(meta_ / "ledger", ec)) {
    if (ec) return fail_errno(ec.value(), "cannot look into " + meta_.string());
    fresh_ = true;
    fs::remove(meta_ / "root", ec);
    fs::remove(meta_ / "holding", ec);
  }
  return {};
}

// REQUIRES: the directory is not fresh.
Result<Ledger::Head> TargetStore::own_head() const {
  const auto head = Ledger::read_head(meta_ / "ledger");
  if (!head) {
    return fail(Errc::kForeign, directory_.string() + " has a damaged .shardswarm/ (" +
                                    head.error().message + "): fetch into another directory");
  }
  if (head->model != manifest_->id()) {
    return fail(Errc::kForeign, directory_.string() + " holds model " + to_hex(head->model) +
                                    ": fetch into another directory");
  }
  return *head;
}

Result<void> TargetStore::decide_layout(const TargetOptions& options,
                                        const ResolvedSelection& selection) {
  Layout layout =
      options.layout.value_or(selection.everything ? Layout::kOriginal : Layout::kCompact);
  if (!fresh_) {
    const auto head = own_head();
    if (!head) return std::unexpected(head.error());
    if (options.layout && *options.layout != head->layout) {
      return fail(Errc::kUsage, fmt::format("{} has the {} layout: leave out --layout, or run "
                                            "`shardswarm convert {} --layout {}`",
                                            directory_.string(), layout_name(head->layout),
                                            directory_.string(), layout_name(layout)));
    }
    layout = head->layout;
    auto before = load_holding(meta_, *manifest_);
    if (!before) {
      return fail(Errc::kForeign, before.error().message + ": fetch into another directory");
    }
    holding_ = std::move(*before);
  }
  layout_ = layout;
  return decide_content(options, selection);
}

// What the directory is to hold, and so which files and pieces.
Result<void> TargetStore::decide_content(const TargetOptions& options,
                                         const ResolvedSelection& selection) {
  drops_ = options.step && options.step->drop;
  if (drops_ && holding_.steps.empty()) {  // what is to stay is not known
    return fail(fresh_ ? Errc::kNotFound : Errc::kUsage,
                "no fetch into " + directory_.string() +
                    " was ever completed: complete it before anything is dropped");
  }
  if (drops_ && layout_ == Layout::kOriginal) {
    return fail(Errc::kUsage, fmt::format("{0} has the original layout, whose files are whole: run "
                                          "`shardswarm convert {0} --layout compact` first",
                                          directory_.string()));
  }
  steps_ = options.history.empty() ? holding_.steps : options.history;
  if (options.step || !steps_.empty() || layout_ == Layout::kCompact) {
    outline_ = make_outline(*manifest_);
    if (auto decided = decide_tensors(options, selection); !decided) return decided;
  }
  plain_.resize(manifest_->file_count());
  for (std::uint32_t i = 0; i < plain_.size(); ++i) {
    const bool plain = manifest_->file(FileIndex(i)).kind != FileKind::kTensors;
    plain_[i] = plain && selection.files[i] && !drops_;
    if (!plain_[i]) continue;
    required_.insert(
        PieceRun{manifest_->first_piece(FileIndex(i)), manifest_->file(FileIndex(i)).pieces});
  }
  for (const TensorRows& rows : tensors_) insert_pieces(rows, *manifest_, required_);
  if (!drops_) wanted_ = selection.pieces;
  if (layout_ == Layout::kCompact) return decide_compact(selection);

  if (drops_) {
    for (const TensorRows& rows : selection.tensors) insert_pieces(rows, *manifest_, dropped_);
    dropped_ -= required_;
  } else {
    required_ |= selection.pieces;
  }
  place(layout_, Placement::as_original(*manifest_));
  slots_.resize(placement_.file_count());
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    slots_[i].required = slots_[i].used = !drops_ && selection.files[i];
  }
  for (const TensorRows& rows : tensors_) {
    Slot& slot = slots_[rows.file.value];
    slot.required = slot.used = true;
  }
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    // Bit for bit: files are whole, with tensors that no selection means (FileEntry::copies).
    if (layout_ != Layout::kOriginal && !selection.everything) break;
    const PieceRun whole{manifest_->first_piece(FileIndex(i)),
                         manifest_->file(FileIndex(i)).pieces};
    if (slots_[i].required) required_.insert(whole);
    if (selection.files[i]) wanted_.insert(whole);
  }
  return {};
}

Result<void> TargetStore::decide_tensors(const TargetOptions& options,
                                         const ResolvedSelection& selection) {
  const auto before = replay(steps_, *manifest_, outline_);
  if (!before) return std::unexpected(before.error());
  tensors_ = drops_ ? *before : unite(*before, selection.tensors);
  if (!options.step) return {};
  std::vector<HoldingStep> steps = steps_;
  steps.push_back(*options.step);
  if (drops_) {
    auto left = replay(steps, *manifest_, outline_);
    if (!left) return std::unexpected(left.error());
    tensors_ = std::move(*left);
  }
  // What changes nothing is no step.
  if (steps_.empty() || tensors_ != *before) steps_ = std::move(steps);
  return {};
}

Result<void> TargetStore::decide_compact(const ResolvedSelection& selection) {
  struct stat status{};
  const auto stands = [&](const CompactFile& file) {
    return ::fstatat(root_.get(), file.path.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  };
  auto before = Placement::compact(*manifest_, holding_.files, holding_.next_number);
  if (!before) return std::unexpected(before.error());
  before_ = std::move(*before);
  for (const TextFile& index : compact_indexes(*manifest_, holding_.files)) {
    own_indexes_.insert(index.path);
  }
  auto planned = plan_compact(*manifest_, outline_, holding_, tensors_, stands, drops_);
  if (!planned) return std::unexpected(planned.error());
  holding_ = std::move(*planned);
  auto placement = Placement::compact(*manifest_, holding_.files, holding_.next_number);
  if (!placement) return std::unexpected(placement.error());
  place(layout_, std::move(*placement));
  slots_.resize(placement_.file_count());
  for (std::uint32_t i = 0; i < manifest_->file_count(); ++i) {
    slots_[i].required = slots_[i].used = slots_[i].early =
        plain_[i] && selection.files[i] && placement_.exists(PlacedIndex(i));
  }
  std::set<std::pair<FileIndex, TensorIndex>> replaced;
  for (const CompactFile& file : holding_.superseded) {
    if (!stands(file)) continue;
    for (const TensorRows& rows : file.tensors) replaced.emplace(rows.file, rows.tensor);
  }
  for (const CompactFile& file : holding_.files) {
    Slot& slot = slots_[file.number];
    slot.used = true;
    slot.required = std::ranges::binary_search(tensors_, file.tensors.front());
    // What takes another file's place waits until all do, so that no loader finds a tensor twice.
    slot.early = std::ranges::none_of(file.tensors, [&](const TensorRows& rows) {
      return replaced.contains({rows.file, rows.tensor});
    });
  }
  bool cuts = false;
  required_.for_each([&](PieceIndex piece) { cuts = cuts || placement_.part(piece).has_value(); });
  slots_[manifest_->file_count()].used = cuts;
  return {};
}

Result<void> TargetStore::open_ledger(LedgerContent& content) {
  if (fresh_) {
    content.recorded = PieceSet(manifest_->piece_count());
    content.xxh3.resize(manifest_->piece_count());
    content.files.resize(slots_.size());
  } else {
    auto opened =
        Ledger::open(meta_ / "ledger", manifest_->piece_count(), placement_.file_count(), content);
    if (!opened) return std::unexpected(opened.error());
    ledger_ = std::move(*opened);
  }
  recorded_ = content.files;
  for (std::optional<FileIdentity>& file : content.files) {
    if (recheck_ && file) file->inode = 0;  // which no file has: its pieces are hashed again
  }
  if (layout_ == Layout::kCompact) forget_moved(content);
  find_names(content);
  return {};
}

// A record says that a piece was where the plan of then had it. Where another plan has it nothing
// vouches for it, be the file the same.
void TargetStore::forget_moved(LedgerContent& content) {
  content.recorded.for_each([&](PieceIndex piece) {
    if (manifest_->needs_header(manifest_->file_of(piece))) return;
    if (before_.home(piece) != placement_.home(piece)) moved_.push_back(piece);
  });
  for (const PieceIndex piece : moved_) content.recorded.erase(piece);
}

// A file under its final name is ours if the ledger recorded its identity, or its pieces.
void TargetStore::find_names(const LedgerContent& content) {
  std::vector<bool> known(slots_.size());
  content.recorded.for_each([&](PieceIndex piece) {
    if (manifest_->needs_header(manifest_->file_of(piece))) return;
    if (const auto place = placement_.home(piece)) known[place->file.value] = true;
  });
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    const PlacedIndex file(i);
    if (!placement_.exists(file) || (!known[i] && !content.files[i])) continue;
    struct stat status{};
    // While it waits for its name, what stands there is somebody else's.
    if (::fstatat(root_.get(), incoming_name(file).c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
      continue;
    }
    slots_[i].named = ::fstatat(root_.get(), placement_.file(file).path.c_str(), &status,
                                AT_SYMLINK_NOFOLLOW) == 0 &&
                      S_ISREG(status.st_mode);
    slots_[i].used = slots_[i].used || slots_[i].named;
  }
  // Of files outside the selection with nothing recorded in this layout nothing is opened.
  const std::uint32_t cut = manifest_->file_count();
  if (layout_ == Layout::kCompact && known[cut]) slots_[cut].used = true;
}

// Pieces whose list this machine lost cannot be verified. Only those of earlier selections can
// lack theirs.
Result<void> TargetStore::check_lists() const {
  std::optional<PieceIndex> piece = required_.next(PieceIndex(0));
  while (piece) {
    const FileIndex file = manifest_->file_of(*piece);
    if (manifest_->needs_piece_list(file)) {
      return fail(Errc::kMalformed, meta_.string() + " has lost the piece list of " +
                                        manifest_->file(file).path +
                                        ": fetch the earlier selection again first");
    }
    const PieceIndex next(manifest_->first_piece(file).value + manifest_->file(file).pieces);
    piece = next.value < required_.size() ? required_.next(next) : std::nullopt;
  }
  return {};
}

// Every path that the directory will have of this step, but those below .shardswarm/.
std::vector<std::string> TargetStore::paths_to_make() const {
  std::vector<std::string> paths;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    const PlacedFile& file = placement_.file(PlacedIndex(i));
    if (slots_[i].used && !file.ours) paths.push_back(file.path);
  }
  if (layout_ != Layout::kCompact) return paths;
  paths.emplace_back(kShardFileName);
  for (const TextFile& index : compact_indexes(*manifest_, holding_.files)) {
    paths.push_back(index.path);
  }
  return paths;
}

// Nothing that we did not put there is overwritten.
Result<void> TargetStore::check_foreign() const {
  std::set<std::string> ours;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].named) ours.insert(placement_.file(PlacedIndex(i)).path);
  }
  if (!holding_.steps.empty()) {
    ours.emplace(kShardFileName);
    ours.insert(own_indexes_.begin(), own_indexes_.end());
  }
  for (const std::string& path : paths_to_make()) {
    if (ours.contains(path)) continue;
    // Whatever stands there, or a link or file where a folder should be.
    const auto there = open_beneath(root_.get(), path, O_RDONLY | O_NONBLOCK);
    if (there || there.error().code != Errc::kNotFound) {
      return fail(Errc::kForeign, shown((directory_ / path).string()) +
                                      " is there already and was not fetched by shardswarm: fetch "
                                      "into another directory, or move it away");
    }
  }
  return {};
}

Result<void> TargetStore::check_space() const {
  std::vector<std::uint64_t> bytes(slots_.size());
  required_.for_each([&](PieceIndex piece) {
    const auto place = placement_.home(piece);
    bytes[place->file.value] += place->length;
    if (const auto part = placement_.part(piece)) bytes[part->file.value] += part->length;
  });
  std::uint64_t needed = kSpaceReserve;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].used) continue;
    const PlacedIndex file(i);
    if (placement_.file(file).head) bytes[i] += placement_.file(file).head->size();
    struct stat status{};
    const bool there =
        ::fstatat(root_.get(), current_name(file).c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    const std::uint64_t allocated =
        there ? static_cast<std::uint64_t>(status.st_blocks) * kBlockBytes : 0;
    needed += bytes[i] - std::min(bytes[i], allocated);
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
                            "free; {}",
                            directory_.string(), static_cast<double>(needed) / kMiB,
                            static_cast<double>(available) / kMiB,
                            drops_ ? "what stays of a layer is written anew: drop whole layers"
                                   : "make room, or fetch less"));
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
