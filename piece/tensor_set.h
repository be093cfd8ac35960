// Sets of rows of tensors: what a selection means before it is turned into pieces.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "piece/manifest.h"
#include "piece/piece_set.h"

namespace shardswarm {

// Rows [begin, end) of dim 0. A scalar has one row, a tensor without bytes may have none.
struct Rows {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  friend auto operator<=>(const Rows&, const Rows&) = default;
};

// Rows of a tensor: 1 for rank 0, else dim 0.
std::uint64_t row_count(const TensorInfo& info);
// Bytes of one row; nothing if rows are not whole bytes (F4, F6). 0 for tensors without bytes.
std::optional<std::uint64_t> row_bytes(const TensorInfo& info);

// Rows of one tensor of a model.
struct TensorRows {
  FileIndex file;
  TensorIndex tensor;
  Rows rows;
  friend auto operator<=>(const TensorRows&, const TensorRows&) = default;
};

// Ascending by file, tensor and row; runs of one tensor neither touch nor overlap. A tensor without
// bytes is in the set as the run of its rows, be it [0, 0).
using TensorSet = std::vector<TensorRows>;

// Any order, overlaps allowed -> a TensorSet.
TensorSet normalized(std::vector<TensorRows> rows);
TensorSet unite(const TensorSet& a, const TensorSet& b);
std::uint32_t tensor_count(const TensorSet& set);
// What of `a` is not in `b`. A tensor without rows goes when `b` has it.
TensorSet subtract(const TensorSet& a, const TensorSet& b);

// REQUIRES of all below: the headers of the files are there; rows that are no whole tensor have
// whole bytes.
inline const TensorInfo& info_of(const Manifest& manifest, const TensorRows& rows) {
  return manifest.tensors(rows.file)[rows.tensor.value].info;
}
std::uint64_t bytes_of(const TensorSet& set, const Manifest& manifest);
// Every piece that holds a byte of the set, also those that it cuts through.
void insert_pieces(const TensorRows& rows, const Manifest& manifest, PieceSet& pieces);

}  // namespace shardswarm
