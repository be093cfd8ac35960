#include "storage/holding.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "piece/selection_text.h"
#include "proto/holding.pb.h"
#include "storage/placement.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kName = "holding";
// 2^20 tensors of up to 30 bytes, and the selections.
constexpr std::uint64_t kHoldingBytesMax = 64 * limits::kMiB;
constexpr std::size_t kChecksumBytes = 8;
// Given in the life of a directory.
constexpr std::uint32_t kNumbersMax = 1U << 22;

void put_file(const CompactFile& file, proto::HoldingFile& out) {
  out.set_number(file.number);
  out.set_path(file.path);
  for (const TensorRows& tensor : file.tensors) {
    proto::HoldingTensor& entry = *out.add_tensors();
    entry.set_file(tensor.file.value);
    entry.set_tensor(tensor.tensor.value);
    entry.set_row_begin(tensor.rows.begin);
    entry.set_row_end(tensor.rows.end);
  }
}

bool fits(const TensorRows& rows, const Manifest& manifest) {
  if (rows.file.value >= manifest.file_count()) return false;
  if (manifest.file(rows.file).kind != FileKind::kTensors || manifest.needs_header(rows.file) ||
      manifest.is_copy(rows.file, rows.tensor)) {
    return false;
  }
  const auto tensors = manifest.tensors(rows.file);
  if (rows.tensor.value >= tensors.size()) return false;
  return rows.rows.begin <= rows.rows.end &&
         rows.rows.end <= row_count(tensors[rows.tensor.value].info);
}

// What may stand in a holding only once.
struct Seen {
  std::set<std::uint32_t> numbers;
  std::set<std::string> paths;
  std::set<std::pair<FileIndex, TensorIndex>> tensors;  // of files that are not superseded
};

bool take_file(const proto::HoldingFile& in, const Manifest& manifest, std::uint32_t next_number,
               Seen& seen, std::vector<CompactFile>& files) {
  CompactFile file{.number = in.number(), .path = in.path(), .tensors = {}};
  if (!check_path(file.path) || file.number < first_compact_number(manifest) ||
      file.number >= next_number || in.tensors().empty()) {
    return false;
  }
  if (!seen.numbers.insert(file.number).second || !seen.paths.insert(file.path).second) {
    return false;
  }
  for (const proto::HoldingTensor& entry : in.tensors()) {
    file.tensors.push_back({FileIndex(entry.file()),
                            TensorIndex(entry.tensor()),
                            {entry.row_begin(), entry.row_end()}});
    if (!fits(file.tensors.back(), manifest)) return false;
  }
  files.push_back(std::move(file));
  return true;
}

}  // namespace

Result<Holding> load_holding(const fs::path& meta, const Manifest& manifest) {
  const fs::path path = meta / kName;
  Seen seen;
  const auto damaged = [&] {
    return fail(Errc::kMalformed, path.string() + " is damaged, or of another model");
  };
  const auto bytes = read_small_file(path, kHoldingBytesMax);
  if (!bytes && bytes.error().code == Errc::kNotFound) return Holding{};
  if (!bytes) return std::unexpected(bytes.error());
  if (bytes->size() < kChecksumBytes) return damaged();
  const auto body = std::span(*bytes).first(bytes->size() - kChecksumBytes);
  const auto stated = little_endian_at<std::uint64_t>(*bytes, body.size());
  proto::Holding message;
  if (stated != xxh3_64(body) ||
      !message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return damaged();
  }
  Holding holding;
  holding.next_number = message.next_number();
  if (holding.next_number > first_compact_number(manifest) + kNumbersMax) return damaged();
  for (const auto& file : message.files()) {
    if (!take_file(file, manifest, holding.next_number, seen, holding.files)) return damaged();
    for (const TensorRows& rows : holding.files.back().tensors) {
      if (!seen.tensors.emplace(rows.file, rows.tensor).second) return damaged();
    }
  }
  for (const auto& file : message.superseded()) {
    if (!take_file(file, manifest, holding.next_number, seen, holding.superseded)) {
      return damaged();
    }
  }
  for (const auto& step : message.steps()) {
    auto selection = parse_selection_json(step.selection());
    if (!selection) return damaged();
    holding.steps.push_back({.drop = step.drop(), .selection = std::move(*selection)});
  }
  return holding;
}

Result<void> save_holding(const fs::path& meta, const Holding& holding) {
  proto::Holding message;
  message.set_next_number(holding.next_number);
  for (const CompactFile& file : holding.files) put_file(file, *message.add_files());
  for (const CompactFile& file : holding.superseded) put_file(file, *message.add_superseded());
  for (const HoldingStep& step : holding.steps) {
    proto::HoldingStep& out = *message.add_steps();
    out.set_drop(step.drop);
    out.set_selection(selection_json(step.selection));
  }
  std::vector<std::byte> bytes(message.ByteSizeLong());
  if (bytes.size() + kChecksumBytes > kHoldingBytesMax) {
    return fail(Errc::kLimit, (meta / kName).string() + " would be larger than 64 MiB");
  }
  message.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()));
  append_little_endian(bytes, xxh3_64(bytes));
  return replace_file(meta / kName, bytes);
}

namespace {

// Tensors outside the layers that the layers of `held` need.
TensorSet needed_beside(const TensorSet& held, const Manifest& manifest, const Outline& outline) {
  struct Here {
    bool any = false;
    bool first = false;
    bool last = false;
  };
  std::vector<Here> stacks(outline.stacks.size());
  for (const OutlineTensor& tensor : outline.tensors) {
    if (tensor.stack == kNoStack) continue;
    const auto at = std::ranges::lower_bound(held, TensorRows{tensor.file, tensor.tensor, {}});
    if (at == held.end() || at->file != tensor.file || at->tensor != tensor.tensor) continue;
    Here& here = stacks[tensor.stack];
    here.any = true;
    here.first |= tensor.layer == 0;
    here.last |= tensor.layer + 1 == outline.stacks[tensor.stack].layers;
  }
  TensorSet needed;
  for (const OutlineTensor& tensor : outline.tensors) {
    if (tensor.stack != kNoStack) continue;
    for (std::uint32_t s = 0; s < stacks.size(); ++s) {
      const auto side = outline.side(tensor, s);
      const Here& here = stacks[s];
      const bool takes = side == Side::kEverybody ? here.any
                         : side == Side::kInput   ? here.first
                         : side == Side::kOutput  ? here.last
                         : side == Side::kBoth    ? here.first || here.last
                                                  : false;
      if (!takes) continue;
      const TensorInfo& info = info_of(manifest, tensor);
      needed.push_back({tensor.file, tensor.tensor, {0, row_count(info)}});
      break;
    }
  }
  return needed;
}

}  // namespace

Result<TensorSet> replay(const std::vector<HoldingStep>& steps, const Manifest& manifest,
                         const Outline& outline) {
  TensorSet held;
  for (const HoldingStep& step : steps) {
    const auto resolved = resolve(step.selection, manifest, outline);
    if (!resolved) return std::unexpected(resolved.error());
    if (!step.drop) {
      held = unite(held, resolved->tensors);
      continue;
    }
    TensorSet left = subtract(held, resolved->tensors);
    const bool by_layers = !step.selection.layers.empty() || !step.selection.stages.empty();
    // What a dropped layer shares with those that stay stays too, as far as it was here.
    if (by_layers) {
      const TensorSet beside = needed_beside(left, manifest, outline);
      left = unite(left, subtract(beside, subtract(beside, held)));
    }
    held = std::move(left);
  }
  return held;
}

std::optional<TensorSet> completed_tensors(const Holding& holding, const Manifest& manifest,
                                           const Outline& outline) {
  if (holding.steps.empty()) return std::nullopt;
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const bool tensors = manifest.file(FileIndex(i)).kind == FileKind::kTensors;
    if (tensors && manifest.needs_header(FileIndex(i))) return std::nullopt;
  }
  auto held = replay(holding.steps, manifest, outline);
  return held ? std::optional(std::move(*held)) : std::nullopt;
}

}  // namespace shardswarm
