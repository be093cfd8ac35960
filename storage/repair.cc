#include "storage/repair.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ranges>

#include "storage/directory_store.h"
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

// A selection that the directory holds whole. A fetch of it brings nothing new, but all that was
// held once and is not recorded (Store::wanted).
Result<Selection> held_selection(const Holding& holding, const Manifest& manifest) {
  if (holding.steps.empty()) return Selection{};
  const Outline outline = make_outline(manifest);
  const auto held = replay(holding.steps, manifest, outline);
  if (!held) return std::unexpected(held.error());
  for (const HoldingStep& step : std::views::reverse(holding.steps)) {
    if (step.drop) continue;
    const auto resolved = resolve(step.selection, manifest, outline);
    // What a later step dropped must not come back.
    if (resolved && subtract(resolved->tensors, *held).empty()) return step.selection;
  }
  for (const TensorRows& rows : *held) {
    const TensorInfo& info = manifest.tensors(rows.file)[rows.tensor.value].info;
    if (rows.rows != Rows{0, row_count(info)}) continue;
    const std::string path = manifest.file(rows.file).path;
    const std::size_t folder = path.rfind('/');
    const std::string prefix =
        folder == std::string::npos ? std::string() : path.substr(0, folder + 1);
    return Selection{.tensors = {exactly(prefix + info.name)}};
  }
  return fail(Errc::kUsage,
              "the directory holds slices of tensors alone: fetch the same selection again");
}

}  // namespace

Result<Repair> forget_pieces(const fs::path& directory, std::span<const PieceIndex> pieces) {
  const fs::path meta = directory / kMetaDirName;
  const auto lock = lock_meta(meta, true);
  if (!lock) return std::unexpected(lock.error());
  const auto manifest = load_manifest_from(meta);
  if (!manifest) {
    return fail(manifest.error().code,
                "nothing was fetched into " + directory.string() + ": " + manifest.error().message);
  }
  const auto head = Ledger::read_head(meta / "ledger");
  if (!head) return std::unexpected(head.error());
  const auto placement = Placement::of_directory(head->layout, meta, **manifest);
  if (!placement) return std::unexpected(placement.error());
  const auto holding = load_holding(meta, **manifest);
  if (!holding) return std::unexpected(holding.error());
  auto selection = held_selection(*holding, **manifest);
  if (!selection) return std::unexpected(selection.error());

  LedgerContent content;
  auto ledger =
      Ledger::open(meta / "ledger", (*manifest)->piece_count(), placement->file_count(), content);
  if (!ledger) return std::unexpected(ledger.error());
  if (auto lost = ledger->append_lost(pieces); !lost) return std::unexpected(lost.error());
  if (::fsync(ledger->fd()) != 0) {
    return fail_errno(errno, "cannot sync the record of " + directory.string());
  }
  return Repair{.model = (*manifest)->id(), .selection = std::move(*selection)};
}

}  // namespace shardswarm
