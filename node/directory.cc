#include "node/directory.h"

#include <algorithm>
#include <thread>

#include "piece/file_roles.h"
#include "storage/catalogue.h"
#include "storage/convert.h"
#include "storage/holding.h"
#include "storage/hub_cache.h"
#include "storage/ledger.h"
#include "storage/meta_dir.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

unsigned cores() { return std::max(1U, std::thread::hardware_concurrency()); }

// Files that are not as they were recorded. One that is still being fetched has no name yet, and
// nothing to compare with.
bool any_changed(const fs::path& directory, const DirectoryRecord& record,
                 const Placement& placement, const LedgerContent& ledger) {
  for (std::uint32_t i = 0; i < placement.file_count(); ++i) {
    if (!ledger.files[i] || !placement.exists(PlacedIndex(i))) continue;
    const auto identity = file_identity(directory / placement.file(PlacedIndex(i)).path);
    std::error_code ec;
    const bool incoming =
        record.fetched && fs::exists(record.meta / "incoming" / std::to_string(i), ec);
    if (!identity && incoming) continue;
    if (!identity || *identity != *ledger.files[i]) return true;
  }
  return false;
}

std::optional<HeldParts> fetched_parts(const DirectoryRecord& record, const Manifest& manifest,
                                       const LedgerContent& ledger) {
  const auto holding = load_holding(record.meta, manifest);
  if (!record.fetched || !holding) return std::nullopt;
  const Outline outline = make_outline(manifest);
  const auto held = completed_tensors(*holding, manifest, outline);
  if (!held) return std::nullopt;
  std::vector<bool> files(manifest.file_count());
  for (std::size_t i = 0; i < files.size(); ++i) files[i] = ledger.files[i].has_value();
  return held_parts(*held, files, manifest, outline);
}

HeldDirectory look_at(const CatalogueEntry& entry, const fs::path& state) {
  HeldDirectory held{.directory = entry.directory, .model = entry.model, .changed = true};
  const auto record = find_record(entry.directory, state);
  if (!record) return held;
  const auto manifest = load_manifest_from(record->meta);
  const auto head = Ledger::read_head(record->ledger);
  if (!manifest || (*manifest)->id() != entry.model || !head || head->model != entry.model) {
    return held;
  }
  held.total_bytes = (*manifest)->data_bytes();
  held.layout = head->layout;
  const auto placement = Placement::of_directory(head->layout, record->meta, **manifest);
  if (!placement) return held;
  const auto ledger =
      Ledger::read(record->ledger, (*manifest)->piece_count(), placement->file_count());
  if (!ledger) return held;
  ledger->recorded.for_each([&](PieceIndex piece) {
    if ((*manifest)->needs_header((*manifest)->file_of(piece))) return;
    if (const auto place = placement->home(piece)) held.present_bytes += place->length;
  });
  held.complete = ledger->recorded.complete();
  held.changed = any_changed(entry.directory, *record, *placement, *ledger);
  if (!held.complete) held.parts = fetched_parts(*record, **manifest, *ledger);
  return held;
}

}  // namespace

Result<IndexReport> index_directory(const IndexOptions& options) {
  Workers workers(cores());
  auto report = index_directory(options, workers);
  if (!report) return report;
  if (!has_weights(report->manifest->root())) {
    report->warnings.push_back(
        report->directory.string() +
        " holds no file with weights (safetensors, GGUF and the like): if it is no checkpoint, "
        "name another directory; a seed serves every file in it");
  }
  const auto added =
      Catalogue(options.state_directory).add(report->directory, report->manifest->id());
  if (!added)
    report->warnings.push_back("it is missing in `shardswarm list`: " + added.error().message);
  return report;
}

Result<VerifyReport> verify_directory(const std::filesystem::path& directory,
                                      const std::filesystem::path& state_directory, bool full) {
  const auto place = find_model_place(directory);
  if (!place) return std::unexpected(place.error());
  std::string notice;
  const auto engine = make_io_engine(EngineKind::kPosix, nullptr, notice);
  Workers workers(cores());
  return verify_directory({.engine = *engine, .workers = workers, .post = {}}, place->directory,
                          state_directory, full);
}

Result<void> drop_from_directory(const std::filesystem::path& directory,
                                 const Selection& selection) {
  const std::filesystem::path meta = directory / kMetaDirName;
  auto manifest = load_manifest_from(meta);
  if (!manifest) {
    return fail(manifest.error().code, "nothing was fetched into " + directory.string() + " (" +
                                           manifest.error().message + ")");
  }
  for (const FileIndex file : headers_needed(selection, (*manifest)->root())) {
    if (!(*manifest)->needs_header(file)) continue;
    return fail(Errc::kMalformed, meta.string() + " lacks the header of " +
                                      (*manifest)->file(file).path + ": fetch into it again first");
  }
  const auto resolved = resolve(selection, **manifest, make_outline(**manifest));
  if (!resolved) return std::unexpected(resolved.error());
  BlockingStorage storage(cores());
  auto store = Store::open_target(
      storage.environment(),
      {.directory = directory, .step = HoldingStep{.drop = true, .selection = resolved->parts}},
      *manifest, *resolved);
  if (!store) return std::unexpected(store.error());
  return storage.finish(**store);
}

Result<void> convert_directory(const std::filesystem::path& directory, Layout layout,
                               const std::atomic<bool>* cancel) {
  BlockingStorage storage(cores());
  return convert_directory(storage, directory, layout, cancel);
}

Result<std::shared_ptr<const Manifest>> find_manifest(
    const std::filesystem::path& place, const std::filesystem::path& state_directory) {
  std::error_code ec;
  if (std::filesystem::is_directory(place, ec)) {
    const auto model = find_model_place(place);
    if (!model) return std::unexpected(model.error());
    return load_directory_manifest(model->directory, state_directory);
  }
  if (std::filesystem::is_regular_file(place, ec)) {
    auto manifest = load_manifest_from(place.parent_path());
    if (!manifest) return std::unexpected(manifest.error());
    return *manifest;
  }
  if (const auto id = digest_from_hex(place.string())) return load_manifest(state_directory, *id);
  return fail(Errc::kNotFound, "'" + place.string() +
                                   "' is not a directory, ticket, manifest or id of a known model");
}

Result<std::vector<HeldDirectory>> list_directories(const fs::path& state_directory) {
  const auto entries = Catalogue(state_directory).entries();
  if (!entries) return std::unexpected(entries.error());
  std::vector<HeldDirectory> held;
  for (const CatalogueEntry& entry : *entries) held.push_back(look_at(entry, state_directory));
  return held;
}

Result<HeldDirectory> look_at_directory(const fs::path& directory,
                                        const fs::path& state_directory) {
  const auto place = find_model_place(directory);
  if (!place) return std::unexpected(place.error());
  const auto record = find_record(place->directory, state_directory);
  if (!record) return std::unexpected(record.error());
  const auto head = Ledger::read_head(record->ledger);
  if (!head) return std::unexpected(head.error());
  return look_at({.directory = place->directory, .model = head->model}, state_directory);
}

Result<void> forget_directory(const fs::path& directory, const fs::path& state_directory) {
  const auto place = find_model_place(directory);
  if (!place) return std::unexpected(place.error());
  return Catalogue(state_directory).forget(place->directory);
}

}  // namespace shardswarm
