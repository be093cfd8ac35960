// Opening a directory to serve from, and verifying one: both begin with finding what it should
// hold.
#include <cerrno>
#include <utility>

#include "storage/directory_store.h"
#include "storage/indexer.h"
#include "storage/meta_dir.h"
#include "storage/piece_check.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

}  // namespace

// Opens files and ledger; friend of the store that it makes.
class SourceOpener {
 public:
  struct Opened {
    std::shared_ptr<DirectoryStore> store;
    LedgerContent ledger;
    std::vector<std::optional<FileIdentity>> identities;
  };

  static Result<Opened> open(StorageEnvironment environment, const fs::path& directory,
                             const fs::path& state, std::vector<std::string>& warnings) {
    const auto record = find_record(directory, state);
    if (!record) return std::unexpected(record.error());
    Fd lock;
    if (record->fetched) {
      auto locked = lock_meta(record->meta, false);
      if (!locked) return std::unexpected(locked.error());
      lock = std::move(*locked);
    }
    auto manifest = load_manifest_from(record->meta);
    if (!manifest) return std::unexpected(manifest.error());
    auto ledger =
        Ledger::read(record->ledger, (*manifest)->piece_count(), (*manifest)->file_count());
    if (!ledger) return std::unexpected(ledger.error());
    if (ledger->model != (*manifest)->id()) {
      return fail(Errc::kMalformed, record->ledger.string() + " is of another model");
    }
    Opened opened;
    opened.store = std::shared_ptr<DirectoryStore>(
        new DirectoryStore(std::move(environment), std::move(*manifest)));
    opened.store->directory_ = directory;
    opened.store->lock_ = std::move(lock);
    opened.store->layout_ = ledger->layout;
    opened.ledger = std::move(*ledger);
    open_files(opened, *record, warnings);
    return opened;
  }

  static void trust(Opened& opened, std::vector<std::string>& warnings,
                    const std::atomic<bool>* cancel) {
    opened.store->trust(opened.ledger, opened.identities, &warnings, cancel);
    // As found before anything was read again: what changes later shows.
    opened.store->expected_ = opened.identities;
  }
  static const std::vector<Fd>& files(const Opened& opened) { return opened.store->files_; }

 private:
  static void open_files(Opened& opened, const DirectoryRecord& record,
                         std::vector<std::string>& warnings) {
    DirectoryStore& store = *opened.store;
    const Manifest& manifest = store.manifest();
    opened.identities.resize(manifest.file_count());
    std::vector<bool> recorded(manifest.file_count());
    opened.ledger.recorded.for_each(
        [&](PieceIndex piece) { recorded[manifest.file_of(piece).value] = true; });
    for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
      if (!recorded[i] && !opened.ledger.files[i]) continue;
      auto fd = open_for_reading(store.directory_ / manifest.file(FileIndex(i)).path);
      if (!fd && record.fetched) {
        if (auto incoming = open_for_reading(record.meta / "incoming" / std::to_string(i))) {
          fd = std::move(incoming);
        }
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
                                                  const fs::path& directory,
                                                  const fs::path& state_directory,
                                                  std::vector<std::string>& warnings,
                                                  const std::atomic<bool>* cancel) {
  auto opened = SourceOpener::open(std::move(environment), directory, state_directory, warnings);
  if (!opened) return std::unexpected(opened.error());
  SourceOpener::trust(*opened, warnings, cancel);
  if (cancel != nullptr && cancel->load()) {
    return fail(Errc::kCancelled, "opening " + directory.string() + " was interrupted");
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
void check_frame(const Manifest& manifest, FileIndex file, int fd,
                 std::vector<std::string>& wrong) {
  const FileEntry& entry = manifest.file(file);
  const auto identity = identity_of(fd, entry.path);
  if (!identity) {
    wrong.push_back(identity.error().message);
    return;
  }
  if (identity->size != entry.size) {
    wrong.push_back(entry.path + ": has " + std::to_string(identity->size) + " bytes instead of " +
                    std::to_string(entry.size));
  }
  std::vector<std::byte> header(entry.header_bytes);
  const auto read = read_exactly(fd, 0, header, entry.path);
  if (entry.kind != FileKind::kPlain && (!read || sha256(header) != entry.header_digest)) {
    wrong.push_back(entry.path + ": the safetensors header is not the model's");
  }
}

}  // namespace

Result<VerifyReport> verify_directory(StorageEnvironment environment, const fs::path& directory,
                                      const fs::path& state_directory, bool full) {
  Workers& workers = environment.workers;
  VerifyReport report;
  const auto opened =
      SourceOpener::open(std::move(environment), directory, state_directory, report.wrong);
  if (!opened) return std::unexpected(opened.error());
  const Manifest& manifest = opened->store->manifest();
  const auto& files = SourceOpener::files(*opened);
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    if (files[i]) check_frame(manifest, FileIndex(i), files[i].get(), report.wrong);
  }
  std::vector<PieceCheck> checks;
  opened->ledger.recorded.for_each([&](PieceIndex piece) {
    const FileIndex file = manifest.file_of(piece);
    if (!files[file.value] || manifest.needs_header(file) || manifest.needs_piece_list(file))
      return;
    PieceCheck check{
        .piece = piece, .fd = files[file.value].get(), .extent = manifest.extent(piece)};
    if (!full) check.xxh3 = opened->ledger.xxh3[piece.value];
    checks.push_back(check);
  });
  const auto checked = check_pieces(manifest, checks, workers);
  for (std::size_t i = 0; i < checks.size(); ++i) {
    ++report.pieces;
    report.bytes += checks[i].extent.length;
    if (!checked[i].ok) {
      report.wrong.push_back(describe_piece(manifest, checks[i].piece) +
                             ": does not match its digest");
    }
  }
  report.missing_pieces = manifest.piece_count() - opened->ledger.recorded.count();
  return report;
}

}  // namespace shardswarm
