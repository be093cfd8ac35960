// Opening a directory to serve from, and verifying one: both begin with finding what it should
// hold.
#include <cerrno>
#include <optional>
#include <utility>

#include "storage/convert.h"
#include "storage/directory_store.h"
#include "storage/holding.h"
#include "storage/indexer.h"
#include "storage/meta_dir.h"
#include "storage/piece_check.h"

namespace shardswarm {
namespace fs = std::filesystem;

// Opens files and ledger; friend of the store that it makes.
class SourceOpener {
 public:
  struct Opened {
    std::shared_ptr<DirectoryStore> store;
    DirectoryRecord record;
    LedgerContent ledger;
    std::vector<std::optional<FileIdentity>> identities;
  };

  static Result<Opened> open(StorageEnvironment environment, const Store::SourceOptions& options,
                             std::vector<std::string>& warnings) {
    const fs::path& directory = options.directory;
    const auto record = find_record(directory, options.state_directory);
    if (!record) return std::unexpected(record.error());
    auto lock = lock_source(*record, directory, options.lock);
    if (!lock) return std::unexpected(lock.error());
    auto manifest = load_manifest_from(record->meta);
    if (!manifest) return std::unexpected(manifest.error());
    const auto head = Ledger::read_head(record->ledger);
    if (!head) return std::unexpected(head.error());
    if (head->model != (*manifest)->id()) {
      return fail(Errc::kMalformed, record->ledger.string() + " is of another model");
    }
    Opened opened;
    opened.store = std::shared_ptr<DirectoryStore>(
        new DirectoryStore(std::move(environment), std::move(*manifest)));
    DirectoryStore& store = *opened.store;
    store.directory_ = directory;
    store.lock_ = std::move(*lock);
    auto placement = Placement::of_directory(head->layout, record->meta, store.manifest());
    if (!placement) return std::unexpected(placement.error());
    store.place(head->layout, std::move(*placement));
    auto ledger =
        Ledger::read(record->ledger, store.manifest().piece_count(), store.placement_.file_count());
    if (!ledger) return std::unexpected(ledger.error());
    opened.ledger = std::move(*ledger);
    opened.record = *record;
    open_files(opened, *record, warnings);
    return opened;
  }

  static void trust(Opened& opened, const Store::SourceOptions& options,
                    std::vector<std::string>& warnings) {
    opened.store->trust(opened.ledger, opened.identities, options.recheck, &warnings,
                        options.cancel);
    // As found before anything was read again: what changes later shows.
    opened.store->expected_ = opened.identities;
  }
  static const std::vector<Fd>& files(const Opened& opened) { return opened.store->files_; }
  static const Placement& placement(const Opened& opened) { return opened.store->placement_; }

 private:
  // Nothing where there is nothing to lock.
  static Result<Fd> lock_source(const DirectoryRecord& record, const fs::path& directory,
                                bool lock) {
    if (!record.fetched) return Fd();
    if (conversion_is_due(directory)) {
      const auto locked = lock_meta(record.meta, true);
      if (!locked) return std::unexpected(locked.error());
      // Another process may have been faster.
      if (conversion_is_due(directory)) {
        if (auto completed = complete_conversion(directory); !completed) {
          return std::unexpected(completed.error());
        }
      }
    }
    return lock ? lock_meta(record.meta, false) : Result<Fd>(Fd());
  }

  // Whether pieces lie in the file, be they here or not.
  static bool lies_in(const DirectoryStore& store, std::uint32_t file) {
    return file >= store.manifest().file_count() ||
           store.manifest().file(FileIndex(file)).pieces > 0;
  }

  static void open_files(Opened& opened, const DirectoryRecord& record,
                         std::vector<std::string>& warnings) {
    DirectoryStore& store = *opened.store;
    const Placement& placement = store.placement_;
    opened.identities.resize(placement.file_count());
    std::vector<bool> recorded(placement.file_count());
    opened.ledger.recorded.for_each([&](PieceIndex piece) {
      if (store.manifest().needs_header(store.manifest().file_of(piece))) return;
      if (const auto place = placement.home(piece)) recorded[place->file.value] = true;
    });
    for (std::uint32_t i = 0; i < placement.file_count(); ++i) {
      if (!placement.exists(PlacedIndex(i)) || (!recorded[i] && !opened.ledger.files[i])) continue;
      auto fd = open_for_reading(store.directory_ / placement.file(PlacedIndex(i)).path);
      if (!fd && record.fetched) {
        if (auto incoming = open_for_reading(record.meta / "incoming" / std::to_string(i))) {
          fd = std::move(incoming);
        }
      }
      if (!fd && fd.error().code == Errc::kNotFound && !recorded[i] && lies_in(store, i)) {
        continue;  // all of it was dropped
      }
      if (!fd) {
        warnings.push_back(fd.error().message + ": its pieces are left out");
        continue;
      }
      if (const auto identity = identity_of(fd->get(), "")) opened.identities[i] = *identity;
      store.files_[i] = std::move(*fd);
    }
  }
};

Result<std::shared_ptr<Store>> Store::open_source(StorageEnvironment environment,
                                                  const SourceOptions& options,
                                                  std::vector<std::string>& warnings) {
  auto opened = SourceOpener::open(std::move(environment), options, warnings);
  if (!opened) return std::unexpected(opened.error());
  SourceOpener::trust(*opened, options, warnings);
  if (options.cancel != nullptr && options.cancel->load()) {
    return fail(Errc::kCancelled, "opening " + options.directory.string() + " was interrupted");
  }
  return std::move(opened->store);
}

Result<std::shared_ptr<const Manifest>> load_directory_manifest(const fs::path& directory,
                                                                const fs::path& state_directory) {
  const auto record = find_record(directory, state_directory);
  if (!record) return std::unexpected(record.error());
  auto manifest = load_manifest_from(record->meta);
  if (!manifest) return std::unexpected(manifest.error());
  return *manifest;
}

namespace {

// What no piece covers: the length of a file, and a safetensors header.
void check_frame(const PlacedFile& file, int fd, std::vector<std::string>& wrong) {
  const auto identity = identity_of(fd, file.path);
  if (!identity) {
    wrong.push_back(identity.error().message);
    return;
  }
  if (identity->size != file.size) {
    wrong.push_back(file.path + ": has " + std::to_string(identity->size) + " bytes instead of " +
                    std::to_string(file.size));
  }
  if (!file.head) return;
  std::vector<std::byte> head(file.head->size());
  if (!read_exactly(fd, 0, head, file.path) || head != *file.head) {
    wrong.push_back(file.path + ": the safetensors header is not the model's");
  }
}

// Of a piece that a slice cuts through: whether the slice's file has the same bytes of it.
bool part_matches(int whole_fd, const Place& whole, int part_fd, const Place& part) {
  std::vector<std::byte> expected(part.length);
  std::vector<std::byte> found(part.length);
  return read_exactly(whole_fd, whole.offset + part.from, expected, "") &&
         read_exactly(part_fd, part.offset, found, "") && expected == found;
}

// What the completed fetches and drops amount to; nothing where no fetch was completed, or where a
// header is not here.
// Pieces of files that stand under their final names, be they recorded or not. A fetch that finds a
// piece damaged forgets its record, and may end before the piece has come again.
PieceSet promised_pieces(const LedgerContent& ledger, const Holding& holding,
                         const std::optional<TensorSet>& completed, const Manifest& manifest) {
  PieceSet promised(manifest.piece_count());
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const FileEntry& file = manifest.file(FileIndex(i));
    const bool parts = file.kind == FileKind::kTensors && ledger.layout != Layout::kOriginal;
    if (parts || !ledger.files[i]) continue;
    promised.insert(PieceRun{manifest.first_piece(FileIndex(i)), file.pieces});
  }
  if (ledger.layout == Layout::kMirror && completed) {
    for (const TensorRows& rows : *completed) insert_pieces(rows, manifest, promised);
  }
  for (const CompactFile& file : holding.files) {
    if (!ledger.files[file.number]) continue;
    for (const TensorRows& rows : file.tensors) insert_pieces(rows, manifest, promised);
  }
  return promised;
}

// Files that hold no tensors are a user's to edit. Rot changes no time.
bool is_edited(const SourceOpener::Opened& opened, PlacedIndex file) {
  const Manifest& manifest = opened.store->manifest();
  return file.value < manifest.file_count() &&
         manifest.file(FileIndex(file.value)).kind == FileKind::kPlain &&
         opened.ledger.files[file.value] != opened.identities[file.value];
}

}  // namespace

Result<VerifyReport> verify_directory(StorageEnvironment environment, const fs::path& directory,
                                      const fs::path& state_directory, bool full) {
  Workers& workers = environment.workers;
  VerifyReport report;
  const auto opened = SourceOpener::open(
      std::move(environment), {.directory = directory, .state_directory = state_directory},
      report.wrong);
  if (!opened) return std::unexpected(opened.error());
  const Manifest& manifest = opened->store->manifest();
  const Placement& placement = SourceOpener::placement(*opened);
  const auto& files = SourceOpener::files(*opened);
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    if (files[i]) check_frame(placement.file(PlacedIndex(i)), files[i].get(), report.wrong);
  }
  const PieceSet& recorded = opened->ledger.recorded;
  PieceSet expected = recorded;
  std::optional<TensorSet> completed;
  if (const auto holding = load_holding(opened->record.meta, manifest);
      opened->record.fetched && holding) {
    completed = completed_tensors(*holding, manifest, make_outline(manifest));
    expected |= promised_pieces(opened->ledger, *holding, completed, manifest);
  }
  std::vector<PieceCheck> checks;
  expected.for_each([&](PieceIndex piece) {
    const FileIndex of = manifest.file_of(piece);
    if (manifest.needs_header(of) || manifest.needs_piece_list(of)) return;
    const auto place = placement.home(piece);
    if (!place || !files[place->file.value]) return;
    PieceCheck check{.piece = piece, .fd = files[place->file.value].get(), .place = *place};
    if (!full && recorded.contains(piece)) check.xxh3 = opened->ledger.xxh3[piece.value];
    checks.push_back(check);
  });
  const auto checked = check_pieces(manifest, checks, workers);
  for (std::size_t i = 0; i < checks.size(); ++i) {
    ++report.pieces;
    report.bytes += checks[i].place.length;
    const auto part = placement.part(checks[i].piece);
    if (!checked[i].ok) {
      report.wrong.push_back(describe_piece(manifest, placement, checks[i].piece) +
                             (is_edited(*opened, checks[i].place.file)
                                  ? ": the file was changed since it was fetched"
                                  : ": does not match its digest"));
    } else if (part && files[part->file.value] &&
               !part_matches(checks[i].fd, checks[i].place, files[part->file.value].get(), *part)) {
      report.wrong.push_back(describe_piece(manifest, placement, checks[i].piece) + ": " +
                             placement.file(part->file).path + " has other bytes of it");
    }
  }
  report.missing_pieces = manifest.piece_count() - expected.count();
  if (completed) {
    // Files that hold no tensors are either here or were left out.
    PieceSet brought = expected;
    for (const TensorRows& rows : *completed) insert_pieces(rows, manifest, brought);
    report.unselected_pieces = manifest.piece_count() - brought.count();
  }
  return report;
}

}  // namespace shardswarm
