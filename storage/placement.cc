#include "storage/placement.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/limits.h"
#include "storage/compact_files.h"
#include "storage/meta_dir.h"

namespace shardswarm {

std::uint32_t first_compact_number(const Manifest& manifest) { return manifest.file_count() + 1; }

Placement Placement::as_original(const Manifest& manifest) {
  Placement placement;
  placement.manifest_ = &manifest;
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const FileEntry& entry = manifest.file(FileIndex(i));
    placement.files_.push_back(
        {.path = entry.path, .size = entry.size, .head = manifest.header_blob(FileIndex(i))});
  }
  return placement;
}

Result<Placement> Placement::compact(const Manifest& manifest,
                                     const std::vector<CompactFile>& files,
                                     std::uint32_t next_number) {
  Placement placement;
  placement.manifest_ = &manifest;
  placement.compact_ = true;
  placement.files_.resize(std::max(next_number, first_compact_number(manifest)));
  const ComponentBases bases = component_bases(manifest);
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const FileEntry& entry = manifest.file(FileIndex(i));
    if (entry.kind == FileKind::kTensors) continue;
    const bool ours = replaced_by_ours(entry.path, bases);
    placement.files_[i] = {
        .path = ours ? std::string(kMetaDirName) + "/original/" + entry.path : entry.path,
        .size = entry.size,
        .head = manifest.header_blob(FileIndex(i)),
        .ours = ours};
  }
  placement.files_[manifest.file_count()] = {
      .path = std::string(kMetaDirName) + "/cut",
      .size = std::uint64_t{manifest.piece_count()} * limits::kPieceBytesMax,
      .head = nullptr,
      .ours = true};
  for (const CompactFile& file : files) {
    auto head = compact_header(manifest, file.tensors);
    if (!head) return std::unexpected(head.error());
    std::uint64_t at = (*head)->size();
    for (const TensorRows& rows : file.tensors) {
      const TensorInfo& info = info_of(manifest, rows);
      const bool whole = rows.rows.begin == 0 && rows.rows.end == row_count(info);
      const std::uint64_t row = whole ? 0 : row_bytes(info).value_or(0);
      const std::uint64_t begin = rows.rows.begin * row;
      const std::uint64_t end = whole ? info.bytes() : rows.rows.end * row;
      placement.tensors_.push_back({.rows = rows,
                                    .file = PlacedIndex(file.number),
                                    .offset = at,
                                    .begin = begin,
                                    .end = end});
      at += end - begin;
    }
    placement.files_[file.number] = {.path = file.path, .size = at, .head = std::move(*head)};
  }
  std::ranges::sort(placement.tensors_, {}, &PlacedTensor::rows);
  return placement;
}

Result<Placement> Placement::of_directory(Layout layout, const std::filesystem::path& meta,
                                          const Manifest& manifest) {
  if (layout != Layout::kCompact) return as_original(manifest);
  const auto holding = load_holding(meta, manifest);
  if (!holding) return std::unexpected(holding.error());
  return compact(manifest, holding->files, holding->next_number);
}

const Placement::PlacedTensor* Placement::find(FileIndex file, TensorIndex tensor) const {
  const auto found = std::ranges::lower_bound(
      tensors_, std::pair(file, tensor), {},
      [](const PlacedTensor& placed) { return std::pair(placed.rows.file, placed.rows.tensor); });
  const bool here =
      found != tensors_.end() && found->rows.file == file && found->rows.tensor == tensor;
  return here ? &*found : nullptr;
}

std::optional<Place> Placement::home(PieceIndex piece) const {
  const PieceExtent extent = manifest_->extent(piece);
  if (!compact_ || manifest_->file(extent.file).kind != FileKind::kTensors) {
    return Place{
        .file = PlacedIndex(extent.file.value), .offset = extent.offset, .length = extent.length};
  }
  const TensorIndex index = *manifest_->tensor_of(piece);
  const PlacedTensor* placed = find(extent.file, index);
  if (placed == nullptr) return std::nullopt;
  const TensorInfo& info = manifest_->tensors(extent.file)[index.value].info;
  const std::uint64_t at =
      extent.offset - manifest_->file(extent.file).header_bytes - info.begin;  // in the tensor
  if (at >= placed->end || at + extent.length <= placed->begin) return std::nullopt;
  if (at >= placed->begin && at + extent.length <= placed->end) {
    return Place{.file = placed->file,
                 .offset = placed->offset + (at - placed->begin),
                 .length = extent.length};
  }
  return Place{.file = PlacedIndex(manifest_->file_count()),
               .offset = std::uint64_t{piece.value} * limits::kPieceBytesMax,
               .length = extent.length};
}

std::optional<Place> Placement::part(PieceIndex piece) const {
  if (!compact_) return std::nullopt;
  const auto whole = home(piece);
  if (!whole || whole->file.value != manifest_->file_count()) return std::nullopt;
  const PieceExtent extent = manifest_->extent(piece);
  const TensorIndex index = *manifest_->tensor_of(piece);
  const PlacedTensor* placed = find(extent.file, index);
  const TensorInfo& info = manifest_->tensors(extent.file)[index.value].info;
  const std::uint64_t at = extent.offset - manifest_->file(extent.file).header_bytes - info.begin;
  const std::uint64_t begin = std::max(at, placed->begin);
  const std::uint64_t end = std::min(at + extent.length, placed->end);
  return Place{.file = placed->file,
               .offset = placed->offset + (begin - placed->begin),
               .length = static_cast<std::uint32_t>(end - begin),
               .from = static_cast<std::uint32_t>(begin - at)};
}

}  // namespace shardswarm
