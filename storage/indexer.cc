#include "storage/indexer.h"

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "storage/digest_index.h"
#include "storage/hub_cache.h"
#include "storage/index_hash.h"
#include "storage/ledger.h"
#include "storage/meta_dir.h"
#include "storage/model_files.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

Result<std::shared_ptr<Manifest>> make_manifest(std::vector<HashedFile>& files) {
  ManifestRoot root;
  std::vector<Blob> lists;
  for (HashedFile& work : files) {
    const auto list = std::make_shared<const std::vector<std::byte>>(std::move(work.piece_list));
    const ModelFile& file = work.file;
    FileEntry entry{.path = file.path, .size = file.identity.size, .kind = file.kind};
    entry.copies = file.copies;
    if (file.header) {
      entry.header_bytes = file.header->size();
      entry.header_digest = sha256(*file.header);
    }
    if (work.extents.size() > limits::kPiecesMax) {
      return fail(Errc::kLimit, shown(file.path) + " has too many pieces");
    }
    entry.pieces = static_cast<std::uint32_t>(work.extents.size());
    entry.piece_list_digest = sha256(*list);
    lists.push_back(list);
    root.files.push_back(std::move(entry));
  }
  const auto bytes = encode_root(root);
  if (!bytes) return std::unexpected(bytes.error());
  auto manifest = Manifest::from_root(*bytes);
  if (!manifest) return std::unexpected(manifest.error());
  auto shared = std::make_shared<Manifest>(std::move(*manifest));
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    if (files[i].file.header) {
      if (auto added = shared->add_header(FileIndex(i), files[i].file.header); !added) {
        return std::unexpected(added.error());
      }
    }
    if (auto added = shared->add_piece_list(FileIndex(i), lists[i]); !added) {
      return std::unexpected(added.error());
    }
  }
  return shared;
}

// What is known of this directory, if every file still is what it was.
std::shared_ptr<Manifest> unchanged(const fs::path& state, const fs::path& ledger_path,
                                    const std::vector<ModelFile>& files) {
  const auto head = Ledger::read_head(ledger_path);
  if (!head) return nullptr;
  auto manifest = load_manifest_from(model_meta_dir(state, head->model));
  if (!manifest || (*manifest)->file_count() != files.size()) return nullptr;
  const auto ledger =
      Ledger::read(ledger_path, (*manifest)->piece_count(), (*manifest)->file_count());
  if (!ledger || !ledger->recorded.complete() || (*manifest)->id() != head->model) return nullptr;
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    const FileEntry& entry = (*manifest)->file(FileIndex(i));
    if (entry.path != files[i].path || entry.kind != files[i].kind) return nullptr;
    if (entry.copies != files[i].copies) return nullptr;
    if (ledger->files[i] != files[i].identity) return nullptr;
    if ((*manifest)->needs_header(FileIndex(i)) || (*manifest)->needs_piece_list(FileIndex(i)))
      return nullptr;
  }
  return *manifest;
}

Result<void> remember(const fs::path& state, const fs::path& ledger_path, const Manifest& manifest,
                      const std::vector<HashedFile>& files, std::vector<std::string>& warnings) {
  const fs::path meta = model_meta_dir(state, manifest.id());
  if (auto saved = save_manifest(meta, manifest); !saved) return saved;
  std::error_code ec;
  fs::create_directories(ledger_path.parent_path(), ec);
  if (ec) return fail_errno(ec.value(), "cannot make " + ledger_path.parent_path().string());
  auto ledger = Ledger::create(ledger_path, manifest.id(), Layout::kOriginal);
  if (!ledger) return std::unexpected(ledger.error());
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    std::vector<PieceRecord> records;
    records.reserve(files[i].xxh3.size());
    const std::uint32_t first = manifest.first_piece(FileIndex(i)).value;
    for (std::uint32_t p = 0; p < files[i].xxh3.size(); ++p) {
      records.push_back({PieceIndex(first + p), files[i].xxh3[p]});
    }
    auto appended = records.empty() ? Result<void>{} : ledger->append_pieces(records);
    if (appended) appended = ledger->append_file(PlacedIndex(i), files[i].file.identity);
    if (!appended) return appended;
  }
  // Whoever needs it and does not find it makes it.
  if (const auto made = DigestIndex::write(meta / kDigestIndexName, manifest); !made) {
    warnings.push_back("no digest index was kept: " + made.error().message);
  }
  return {};
}

// Hashes the files and remembers what came of it.
Result<std::shared_ptr<const Manifest>> index_anew(const IndexOptions& options,
                                                   const fs::path& ledger_path,
                                                   std::vector<ModelFile> found, Workers& workers,
                                                   std::vector<std::string>& warnings) {
  std::vector<HashedFile> files;
  files.reserve(found.size());
  for (ModelFile& file : found) files.push_back(cut_into_pieces(std::move(file)));
  auto hashed =
      hash_files(files, {.progress = options.progress, .cancel = options.cancel}, workers);
  if (!hashed) return std::unexpected(hashed.error());
  for (const HashedFile& work : files) {
    const std::string name = printable(work.file.location.string());
    const auto identity = identity_of(work.file.fd.get(), name);
    if (!identity || *identity != work.file.identity) {
      return fail(Errc::kIo, name + " changed while it was being read: index it again");
    }
  }
  auto manifest = make_manifest(files);
  if (!manifest) return std::unexpected(manifest.error());
  auto kept = remember(options.state_directory, ledger_path, **manifest, files, warnings);
  if (!kept) return std::unexpected(kept.error());
  return *manifest;
}

}  // namespace

Result<IndexReport> index_directory(const IndexOptions& options, Workers& workers) {
  auto place = find_model_place(options.directory);
  if (!place) return std::unexpected(place.error());
  IndexReport report{.directory = std::move(place->directory)};
  if (!place->note.empty()) report.warnings.push_back(std::move(place->note));
  auto found = find_model_files(report.directory);
  if (!found) return std::unexpected(found.error());
  std::ranges::move(found->warnings, std::back_inserter(report.warnings));
  const auto ledger_path = directory_ledger(options.state_directory, report.directory);
  if (!ledger_path) return std::unexpected(ledger_path.error());
  if (auto known = unchanged(options.state_directory, *ledger_path, found->files)) {
    report.manifest = std::move(known);
    report.reused = true;
  } else {
    auto manifest =
        index_anew(options, *ledger_path, std::move(found->files), workers, report.warnings);
    if (!manifest) return std::unexpected(manifest.error());
    report.manifest = std::move(*manifest);
  }
  report.files = report.manifest->file_count();
  report.bytes = report.manifest->total_bytes();
  report.pieces = report.manifest->piece_count();
  for (std::uint32_t i = 0; i < report.files; ++i) {
    report.tensors += report.manifest->tensors(FileIndex(i)).size();
  }
  return report;
}

}  // namespace shardswarm
