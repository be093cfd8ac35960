#include "storage/held_selection.h"

#include <algorithm>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>

#include "storage/holding.h"
#include "storage/ledger.h"
#include "storage/meta_dir.h"
#include "storage/placement.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

// A glob that matches this name and no other.
std::string exactly(std::string_view name) {
  std::string glob;
  for (const char c : name) {
    const bool special = c == '*' || c == '?' || c == '[';
    glob += special ? std::string{'[', c, ']'} : std::string(1, c);
  }
  return glob;
}

// The newest selection that was fetched and of which nothing was dropped since; else one tensor
// that is held whole.
std::optional<Selection> held_tensors(const Holding& holding, const Manifest& manifest,
                                      const Outline& outline, const TensorSet& held) {
  for (const HoldingStep& step : std::views::reverse(holding.steps)) {
    if (step.drop) continue;
    const auto resolved = resolve(step.selection, manifest, outline);
    if (resolved && subtract(resolved->tensors, held).empty()) return step.selection;
  }
  for (const TensorRows& rows : held) {
    const TensorInfo& info = info_of(manifest, rows);
    if (rows.rows != Rows{0, row_count(info)}) continue;
    const std::string& path = manifest.file(rows.file).path;
    return Selection{.tensors = {exactly(path.substr(0, path.rfind('/') + 1) + info.name)}};
  }
  return std::nullopt;
}

// A file that was named alone stands in no step: the ledger tells of it.
void add_plain_files(const LedgerContent& ledger, const Manifest& manifest, Selection& selection) {
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const FileEntry& file = manifest.file(FileIndex(i));
    if (file.kind != FileKind::kTensors && ledger.files[i]) {
      selection.files.push_back(exactly(file.path));
    }
  }
}

}  // namespace

Result<HeldSelection> held_selection(const fs::path& directory) {
  const fs::path meta = directory / kMetaDirName;
  const auto manifest = load_manifest_from(meta);
  if (!manifest) {
    return fail(manifest.error().code, "nothing was fetched into " + directory.string() + " (" +
                                           manifest.error().message + ")");
  }
  const auto head = Ledger::read_head(meta / "ledger");
  if (!head) return std::unexpected(head.error());
  const auto placement = Placement::of_directory(head->layout, meta, **manifest);
  if (!placement) return std::unexpected(placement.error());
  const auto ledger =
      Ledger::read(meta / "ledger", (*manifest)->piece_count(), placement->file_count());
  if (!ledger) return std::unexpected(ledger.error());
  const auto holding = load_holding(meta, **manifest);
  if (!holding) return std::unexpected(holding.error());
  if (holding->steps.empty()) {
    return fail(Errc::kUsage, "the fetch into " + directory.string() +
                                  " was never completed: run it again, that mends it, too");
  }
  const Outline outline = make_outline(**manifest);
  const auto held = replay(holding->steps, **manifest, outline);
  if (!held) return std::unexpected(held.error());
  auto selection = held_tensors(*holding, **manifest, outline, *held);
  if (!selection) {
    return fail(Errc::kUsage,
                directory.string() + " holds slices of tensors alone: fetch the same slices again");
  }
  if (!selection->whole()) add_plain_files(*ledger, **manifest, *selection);
  return HeldSelection{.model = (*manifest)->id(), .selection = std::move(*selection)};
}

}  // namespace shardswarm
