#include "node/directory.h"

#include <algorithm>
#include <thread>

#include "storage/catalogue.h"
#include "storage/ledger.h"
#include "storage/meta_dir.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

unsigned cores() { return std::max(1U, std::thread::hardware_concurrency()); }

// Files that are not as they were recorded. One that is still being fetched has no name yet, and
// nothing to compare with.
bool any_changed(const fs::path& directory, const DirectoryRecord& record, const Manifest& manifest,
                 const LedgerContent& ledger) {
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    if (!ledger.files[i]) continue;
    const std::string name = (directory / manifest.file(FileIndex(i)).path).string();
    const auto fd = open_for_reading(name);
    std::error_code ec;
    if (!fd && record.fetched && fs::exists(record.meta / "incoming" / std::to_string(i), ec)) {
      continue;
    }
    const auto identity = fd ? identity_of(fd->get(), name) : fail(Errc::kNotFound, name);
    if (!identity || *identity != *ledger.files[i]) return true;
  }
  return false;
}

// Of a file that is here whole the root tells the bytes; else headers tell the pieces' lengths.
std::uint64_t recorded_bytes(const fs::path& meta, const Manifest& root, const PieceSet& recorded) {
  std::vector<std::uint32_t> here(root.file_count());
  recorded.for_each([&](PieceIndex piece) { ++here[root.file_of(piece).value]; });
  std::uint64_t bytes = 0;
  bool parts = false;
  for (std::uint32_t i = 0; i < root.file_count(); ++i) {
    const FileEntry& file = root.file(FileIndex(i));
    if (here[i] == file.pieces) {
      if (file.pieces > 0) bytes += file.size - file.header_bytes;
    } else if (here[i] > 0) {
      parts = true;
    }
  }
  if (!parts) return bytes;
  const auto manifest = load_manifest_from(meta);
  if (!manifest) return bytes;
  recorded.for_each([&](PieceIndex piece) {
    const FileIndex file = root.file_of(piece);
    if (here[file.value] == root.file(file).pieces || (*manifest)->needs_header(file)) return;
    bytes += (*manifest)->extent(piece).length;
  });
  return bytes;
}

HeldDirectory look_at(const CatalogueEntry& entry, const fs::path& state) {
  HeldDirectory held{.directory = entry.directory, .model = entry.model, .changed = true};
  const auto record = find_record(entry.directory, state);
  if (!record) return held;
  const auto root = load_root(record->meta);
  if (!root || root->id() != entry.model) return held;
  for (const FileEntry& file : root->root().files) {
    held.total_bytes += file.size - file.header_bytes;
  }
  const auto ledger = Ledger::read(record->ledger, root->piece_count(), root->file_count());
  if (!ledger || ledger->model != entry.model) return held;
  held.layout = ledger->layout;
  held.present_bytes = recorded_bytes(record->meta, *root, ledger->recorded);
  held.complete = ledger->recorded.complete();
  held.changed = any_changed(entry.directory, *record, *root, *ledger);
  return held;
}

}  // namespace

Result<IndexReport> index_directory(const IndexOptions& options) {
  Workers workers(cores());
  auto report = index_directory(options, workers);
  if (!report) return report;
  const auto added =
      Catalogue(options.state_directory).add(options.directory, report->manifest->id());
  if (!added) report->warnings.push_back("not registered: " + added.error().message);
  return report;
}

Result<VerifyReport> verify_directory(const std::filesystem::path& directory,
                                      const std::filesystem::path& state_directory, bool full) {
  std::string notice;
  const auto engine = make_io_engine(EngineKind::kPosix, nullptr, notice);
  Workers workers(cores());
  return verify_directory({.engine = *engine, .workers = workers, .post = {}}, directory,
                          state_directory, full);
}

Result<std::shared_ptr<const Manifest>> find_manifest(
    const std::filesystem::path& place, const std::filesystem::path& state_directory) {
  std::error_code ec;
  if (std::filesystem::is_directory(place, ec)) {
    return load_directory_manifest(place, state_directory);
  }
  if (std::filesystem::is_regular_file(place, ec)) {
    auto manifest = load_manifest_from(place.parent_path());
    if (!manifest) return std::unexpected(manifest.error());
    return *manifest;
  }
  if (const auto id = digest_from_hex(place.string())) return load_manifest(state_directory, *id);
  return fail(Errc::kNotFound,
              "'" + place.string() + "' is no directory, ticket, manifest or id of a known model");
}

Result<std::vector<HeldDirectory>> list_directories(const fs::path& state_directory) {
  const auto entries = Catalogue(state_directory).entries();
  if (!entries) return std::unexpected(entries.error());
  std::vector<HeldDirectory> held;
  for (const CatalogueEntry& entry : *entries) held.push_back(look_at(entry, state_directory));
  return held;
}

Result<void> forget_directory(const fs::path& directory, const fs::path& state_directory) {
  return Catalogue(state_directory).forget(directory);
}

}  // namespace shardswarm
