#include "storage/convert.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/text.h"
#include "storage/compact_files.h"
#include "storage/compact_plan.h"
#include "storage/convert_marker.h"
#include "storage/directory_store.h"
#include "storage/meta_dir.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

// Below the directory.
fs::path staging_path() { return fs::path(kMetaDirName) / "convert"; }

Result<Fd> open_folder(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "cannot open " + path.string());
  return fd;
}

// A link could lead anywhere.
Result<void> check_own_folder(const fs::path& path) {
  std::error_code ec;
  const auto type = fs::symlink_status(path, ec).type();
  if (type == fs::file_type::directory || type == fs::file_type::not_found) return {};
  return fail(Errc::kForeign, path.string() + " is not a folder of ours (a link?): remove it");
}

// The folder that holds `path`, nothing made and no link followed.
Result<Fd> folder_beneath(int root, const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  return open_beneath(root, folder, O_RDONLY | O_DIRECTORY);
}

// Paths of the files below `root` that are not ours alone.
std::set<std::string> files_below(const fs::path& root) {
  std::set<std::string> files;
  std::error_code ec;
  for (auto it = fs::recursive_directory_iterator(root, ec);
       !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    if (it->path().filename().string().starts_with('.')) {
      it.disable_recursion_pending();
    } else if (fs::is_regular_file(it->symlink_status(ec))) {
      files.insert(it->path().lexically_relative(root).generic_string());
    }
  }
  return files;
}

// Everything that shardswarm put into the directory under a name; what stands under other names of
// the model is somebody else's.
Result<std::set<std::string>> files_of(const Manifest& manifest, Layout layout,
                                       const fs::path& meta, const Holding& holding) {
  const auto placement = Placement::of_directory(layout, meta, manifest);
  if (!placement) return std::unexpected(placement.error());
  const auto ledger =
      Ledger::read(meta / "ledger", manifest.piece_count(), placement->file_count());
  if (!ledger) return std::unexpected(ledger.error());
  std::set<std::string> files;
  for (std::uint32_t i = 0; i < placement->file_count(); ++i) {
    const PlacedFile& file = placement->file(PlacedIndex(i));
    if (ledger->files[i] && !file.path.empty() && !file.ours) files.insert(file.path);
  }
  if (layout != Layout::kCompact) return files;
  std::vector<CompactFile> all = holding.files;
  // An interrupted change leaves them.
  for (const CompactFile& file : holding.superseded) {
    if (!ledger->files[file.number]) continue;
    files.insert(file.path);
    all.push_back(file);
  }
  for (const TextFile& index : compact_indexes(manifest, all)) files.insert(index.path);
  files.emplace(kShardFileName);
  return files;
}

// What the steps amount to, and the other files that are here.
Result<ResolvedSelection> held_by(const Store& store, const Holding& holding,
                                  const fs::path& directory) {
  const Manifest& manifest = store.manifest();
  const auto tensors = replay(holding.steps, manifest, make_outline(manifest));
  if (!tensors) return std::unexpected(tensors.error());
  auto held = resolve_tensors(*tensors, {}, manifest);
  if (!held) return std::unexpected(held.error());
  const ComponentBases bases = component_bases(manifest);
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const FileEntry& file = manifest.file(FileIndex(i));
    if (file.kind == FileKind::kTensors) continue;
    PieceSet pieces(manifest.piece_count());
    pieces.insert(PieceRun{manifest.first_piece(FileIndex(i)), file.pieces});
    std::error_code ec;
    const bool whole = (pieces - store.have()).empty();
    const bool elsewhere = store.layout() == Layout::kCompact && replaced_by_ours(file.path, bases);
    const bool here =
        whole && (elsewhere || fs::file_size(directory / file.path, ec) == file.size) && !ec;
    held->files[i] = here;
    if (here) {
      held->pieces |= pieces;
    } else {
      held->pieces -= pieces;
    }
  }
  return held;
}

// Before anything is copied: whether all that the layout needs is here.
Result<void> check_pieces_are_here(const fs::path& directory, const Store& source, Layout layout,
                                   const ResolvedSelection& held) {
  const Manifest& manifest = source.manifest();
  PieceSet lacking = held.pieces;
  for (std::uint32_t i = 0; i < manifest.file_count() && layout == Layout::kOriginal; ++i) {
    if (!held.files[i]) continue;
    lacking.insert(
        PieceRun{manifest.first_piece(FileIndex(i)), manifest.file(FileIndex(i)).pieces});
  }
  lacking -= source.have();
  const auto first = lacking.next(PieceIndex(0));
  if (!first) return {};
  const std::string& file = manifest.file(manifest.file_of(*first)).path;
  if (layout == Layout::kOriginal && (held.pieces - source.have()).empty()) {
    return fail(Errc::kUsage,
                fmt::format("{}: the original layout has whole files, which lack {} "
                            "here: fetch the other tensors of {} first (--tensors), or convert to "
                            "another layout",
                            directory.string(), count_text(lacking.count(), "piece"), file));
  }
  return fail(Errc::kUsage,
              fmt::format("{} lacks {} that it should hold, the first of {}: "
                          "fetch the same again first",
                          directory.string(), count_text(lacking.count(), "piece"), file));
}

// The names that the other layout will need, as it will plan them.
Result<std::set<std::string>> planned_files(const Manifest& manifest, Layout layout,
                                            const ResolvedSelection& held) {
  Holding plan;
  Placement placement = Placement::as_original(manifest);
  std::set<std::string> files;
  if (layout == Layout::kCompact) {
    auto planned = plan_compact(
        manifest, make_outline(manifest), {}, held.tensors,
        [](const CompactFile&) { return false; }, false);
    if (!planned) return std::unexpected(planned.error());
    plan = std::move(*planned);
    auto compact = Placement::compact(manifest, plan.files, plan.next_number);
    if (!compact) return std::unexpected(compact.error());
    placement = std::move(*compact);
    for (const TextFile& index : compact_indexes(manifest, plan.files)) files.insert(index.path);
    files.emplace(kShardFileName);
  }
  for (std::uint32_t i = 0; i < placement.file_count(); ++i) {
    const PlacedFile& file = placement.file(PlacedIndex(i));
    if (i < manifest.file_count() && !held.files[i]) continue;
    if (placement.exists(PlacedIndex(i)) && !file.ours) files.insert(file.path);
  }
  return files;
}

// Nothing that somebody else put there is written over, or stops us half-way.
Result<void> check_not_in_the_way(const fs::path& directory, const std::set<std::string>& fresh,
                                  const std::set<std::string>& old) {
  const auto root = open_folder(directory);
  if (!root) return std::unexpected(root.error());
  for (const std::string& path : fresh) {
    const auto folder = folder_beneath(root->get(), path);
    if (!folder && folder.error().code == Errc::kNotFound) continue;
    if (folder) {
      struct stat status{};
      const std::string name = fs::path(path).filename().string();
      const bool there = ::fstatat(folder->get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
      if (!there || (old.contains(path) && !S_ISDIR(status.st_mode))) continue;
    }
    return fail(Errc::kForeign, (directory / path).string() +
                                    " is there already, or a folder on the way to it is none, and "
                                    "was not fetched by shardswarm: move it away, then convert "
                                    "again");
  }
  return {};
}

// What was staged for another layout is of no use. What another process is staging is its own.
Result<void> discard_other_staging(const fs::path& staging, Layout layout) {
  const fs::path meta = staging / kMetaDirName;
  const auto head = Ledger::read_head(meta / "ledger");
  if (!head || head->layout == layout) return {};
  const auto lock = lock_meta(meta, true);
  if (!lock) return std::unexpected(lock.error());
  // The lock's file stays: another process might hold it open already. The ledger goes last, so
  // that a next attempt finds what to discard.
  std::error_code ec;
  for (fs::directory_iterator it(staging, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    if (it->path().filename() != kMetaDirName) fs::remove_all(it->path(), ec);
  }
  for (const std::string_view name : kOfLayout) {
    if (!ec) fs::remove_all(meta / name, ec);
  }
  if (ec) return fail_errno(ec.value(), "cannot remove what is in " + staging.string());
  return {};
}

Result<void> stage(BlockingStorage& storage, const fs::path& directory,
                   const std::shared_ptr<Store>& source, const StagedConversion& to,
                   const ResolvedSelection& held, const std::atomic<bool>* cancel) {
  const Store::TargetOptions options{.directory = directory / staging_path(),
                                     .layout = to.layout,
                                     .step = {},
                                     .source = source,
                                     .history = to.holding.steps,
                                     .state_directory = {},
                                     .cancel = cancel};
  auto target = Store::open_target(storage.environment(), options, to.manifest, held);
  if (!target) return std::unexpected(target.error());
  const PieceSet missing = (*target)->wanted() - (*target)->have();
  if (!missing.empty()) {
    return fail(Errc::kIo, directory.string() + ": " + std::to_string(missing.count()) +
                               " pieces could not be read: fetch them again, then convert again");
  }
  return storage.finish(**target);
}

// Whether what was staged is all there, and unchanged: another process may have thrown it away, or
// begun it anew.
bool stands(const fs::path& staging, const StagedConversion& staged) {
  const Manifest& manifest = *staged.manifest;
  const fs::path meta = staging / kMetaDirName;
  const auto head = Ledger::read_head(meta / "ledger");
  if (!head || head->model != manifest.id() || head->layout != staged.layout) return false;
  const auto holding = load_holding(meta, manifest);
  if (!holding || holding->steps != staged.holding.steps) return false;
  const auto files = files_of(manifest, staged.layout, meta, *holding);
  if (!files || !std::ranges::includes(files_below(staging), *files)) return false;
  const auto placement = Placement::of_directory(staged.layout, meta, manifest);
  if (!placement) return false;
  const auto ledger =
      Ledger::read(meta / "ledger", manifest.piece_count(), placement->file_count());
  if (!ledger) return false;
  for (std::uint32_t i = 0; i < placement->file_count(); ++i) {
    if (!ledger->files[i] || !placement->exists(PlacedIndex(i))) continue;
    const auto identity = file_identity(staging / placement->file(PlacedIndex(i)).path);
    if (!identity || *identity != *ledger->files[i]) return false;
  }
  return true;
}

std::set<std::string> names_of_layout(const fs::path& meta) {
  std::set<std::string> names;
  std::error_code ec;
  for (const std::string_view name : kOfLayout) {
    if (fs::exists(meta / name, ec)) names.emplace(name);
  }
  return names;
}

// --- putting it in place ---

// What is not in the staging any more was moved before.
Result<void> move_file(int root, int staging, const fs::path& path) {
  const auto from = folder_beneath(staging, path);
  if (!from && from.error().code == Errc::kNotFound) return {};
  if (!from) return std::unexpected(from.error());
  const auto to = open_parent_beneath(root, path);
  if (!to) return std::unexpected(to.error());
  const std::string name = path.filename().string();
  if (::renameat(from->get(), name.c_str(), to->get(), name.c_str()) != 0 && errno != ENOENT) {
    return fail_errno(errno, "cannot rename to " + path.string());
  }
  return {};
}

Result<void> take_layout(const fs::path& staging, const fs::path& meta,
                         const std::set<std::string>& taken) {
  for (const std::string_view name : kOfLayout) {
    const bool takes = taken.contains(std::string(name));
    const fs::path from = staging / kMetaDirName / name;
    std::error_code ec;
    // If it is to be taken and is not there any more it was taken before.
    if (takes && !fs::exists(from, ec)) continue;
    fs::remove_all(meta / name, ec);
    if (!ec && takes) fs::rename(from, meta / name, ec);
    if (ec) return fail_errno(ec.value(), "cannot rename to " + (meta / name).string());
  }
  return {};
}

// Every folder in which a name came or went, in this run or an interrupted one.
Result<void> sync_folders(int root, const fs::path& directory, const ConversionMarker& marker) {
  std::set<fs::path> folders = {"."};
  for (const auto* paths : {&marker.moved, &marker.removed}) {
    for (const std::string& path : *paths) {
      fs::path folder = fs::path(path).parent_path();
      for (; !folder.empty(); folder = folder.parent_path()) folders.insert(folder);
    }
  }
  for (const fs::path& path : folders) {
    const auto folder = open_beneath(root, path, O_RDONLY | O_DIRECTORY);
    if (!folder && folder.error().code == Errc::kNotFound) continue;  // of removed files
    if (!folder) return std::unexpected(folder.error());
    // Some file systems cannot sync folders; what they can do they did.
    if (::fsync(folder->get()) != 0 && errno != EINVAL) {
      return fail_errno(errno, "cannot sync " + (directory / path).string());
    }
  }
  return sync_directory(directory / kMetaDirName);
}

}  // namespace

bool conversion_is_due(const fs::path& directory) {
  std::error_code ec;
  return fs::exists(fs::symlink_status(directory / conversion_marker_path(), ec));
}

Result<void> complete_conversion(const fs::path& directory) {
  const auto root = open_folder(directory);
  if (!root) return std::unexpected(root.error());
  const auto marker = read_conversion_marker(root->get(), directory);
  if (!marker) return std::unexpected(marker.error());
  const fs::path staging = directory / staging_path();
  const fs::path meta = directory / kMetaDirName;
  if (auto own = check_own_folder(staging); !own) return own;
  std::error_code ec;
  // Gone: it was complete but for the marker.
  if (fs::exists(staging, ec)) {
    const auto from = open_folder(staging);
    if (!from) return std::unexpected(from.error());
    for (const std::string& path : marker->moved) {
      if (auto moved = move_file(root->get(), from->get(), path); !moved) return moved;
    }
    if (auto taken = take_layout(staging, meta, marker->taken); !taken) return taken;
    for (const std::string& path : marker->removed) {
      if (auto removed = remove_file_beneath(root->get(), path); !removed) return removed;
    }
    if (auto synced = sync_folders(root->get(), directory, *marker); !synced) return synced;
    fs::remove_all(staging, ec);
    if (ec) return fail_errno(ec.value(), "cannot remove " + staging.string());
    if (auto synced = sync_directory(meta); !synced) return synced;
  }
  fs::remove(directory / conversion_marker_path(), ec);
  if (ec)
    return fail_errno(ec.value(),
                      "cannot remove " + (directory / conversion_marker_path()).string());
  return sync_directory(meta);
}

Result<StagedConversion> stage_conversion(BlockingStorage& storage, const fs::path& directory,
                                          Layout layout, const std::atomic<bool>* cancel) {
  const fs::path meta = directory / kMetaDirName;
  std::error_code ec;
  if (!fs::exists(meta / "root", ec)) {
    return fail(Errc::kNotFound, "nothing was fetched into " + directory.string() +
                                     ": only fetched directories are converted");
  }
  auto checked = check_own_folder(meta);
  if (checked) checked = check_own_folder(directory / staging_path());
  if (!checked) return std::unexpected(checked.error());
  std::vector<std::string> warnings;
  const auto source = Store::open_source(storage.environment(),
                                         {.directory = directory, .cancel = cancel}, warnings);
  if (!source) return std::unexpected(source.error());
  if ((*source)->layout() == layout) {
    return fail(Errc::kUsage, directory.string() + " has the " + std::string(layout_name(layout)) +
                                  " layout already");
  }
  StagedConversion staged{.manifest = (*source)->shared_manifest(), .layout = layout};
  auto holding = load_holding(meta, *staged.manifest);
  if (!holding) return std::unexpected(holding.error());
  if (holding->steps.empty()) {
    return fail(Errc::kUsage,
                "no fetch into " + directory.string() + " was ever completed: complete it first");
  }
  staged.holding = std::move(*holding);
  const auto ledger = file_identity(meta / "ledger");
  if (!ledger) return std::unexpected(ledger.error());
  staged.ledger = *ledger;
  auto old = files_of(*staged.manifest, (*source)->layout(), meta, staged.holding);
  if (!old) return std::unexpected(old.error());
  staged.old = std::move(*old);
  const auto held = held_by(**source, staged.holding, directory);
  if (!held) return std::unexpected(held.error());
  // What is not held and is there all the same was changed by somebody since it was fetched: it is
  // left where it is.
  PieceSet more = (*source)->have() - held->pieces;
  for (std::uint32_t i = 0; i < staged.manifest->file_count(); ++i) {
    const FileIndex index(i);
    const FileEntry& file = staged.manifest->file(index);
    if (file.kind != FileKind::kPlain || held->files[i]) continue;
    staged.old.erase(file.path);
    for (std::uint32_t p = 0; p < file.pieces; ++p) {
      more.erase(PieceIndex(staged.manifest->first_piece(index).value + p));
    }
  }
  if (!more.empty()) {
    return fail(Errc::kUsage, directory.string() + " holds " + std::to_string(more.count()) +
                                  " pieces of a fetch that was not completed: complete it first");
  }
  if (checked = check_pieces_are_here(directory, **source, layout, *held); checked) {
    const auto planned = planned_files(*staged.manifest, layout, *held);
    if (!planned) return std::unexpected(planned.error());
    checked = check_not_in_the_way(directory, *planned, staged.old);
  }
  if (checked) checked = discard_other_staging(directory / staging_path(), layout);
  if (checked) checked = stage(storage, directory, *source, staged, *held, cancel);
  if (!checked) return std::unexpected(checked.error());
  return staged;
}

Result<void> place_conversion(const fs::path& directory, const StagedConversion& staged) {
  const fs::path meta = directory / kMetaDirName;
  const fs::path staging = directory / staging_path();
  const auto lock = lock_meta(meta, true);
  if (!lock) return std::unexpected(lock.error());
  const auto ledger = file_identity(meta / "ledger");
  const auto holding = load_holding(meta, *staged.manifest);
  const bool same = ledger && *ledger == staged.ledger && holding && *holding == staged.holding;
  if (!same || conversion_is_due(directory) || !stands(staging, staged)) {
    return fail(Errc::kBusy, directory.string() + " was changed meanwhile: convert it again");
  }
  const auto fresh = files_below(staging);
  if (auto free = check_not_in_the_way(directory, fresh, staged.old); !free) return free;
  const auto root = open_folder(directory);
  if (!root) return std::unexpected(root.error());
  ConversionMarker marker{
      .moved = fresh, .taken = names_of_layout(staging / kMetaDirName), .removed = {}};
  std::ranges::set_difference(staged.old, fresh,
                              std::inserter(marker.removed, marker.removed.end()));
  auto decided = write_conversion_marker(root->get(), staged.manifest->id(), marker);
  if (!decided) return decided;
  return complete_conversion(directory);
}

Result<void> convert_directory(BlockingStorage& storage, const fs::path& directory, Layout layout,
                               const std::atomic<bool>* cancel) {
  const auto staged = stage_conversion(storage, directory, layout, cancel);
  if (!staged) return std::unexpected(staged.error());
  return place_conversion(directory, *staged);
}

}  // namespace shardswarm
