#include "piece/tensor_set.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/limits.h"

namespace shardswarm {
namespace {

bool same_tensor(const TensorRows& a, const TensorRows& b) {
  return a.file == b.file && a.tensor == b.tensor;
}

const TensorEntry& entry_of(const TensorRows& rows, const Manifest& manifest) {
  return manifest.tensors(rows.file)[rows.tensor.value];
}

// The bytes of a run of rows, counted from the start of its tensor.
struct Span {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

Span span_of(const Rows& rows, const TensorInfo& info) {
  assert(rows.begin <= rows.end && rows.end <= row_count(info));
  if (rows.begin == 0 && rows.end == row_count(info)) return {0, info.bytes()};
  const std::uint64_t each = row_bytes(info).value_or(0);
  return {rows.begin * each, rows.end * each};
}

// The piece of a tensor that holds the byte at `offset`.
std::uint64_t piece_at(const Tiling& tiling, std::uint64_t offset) {
  return offset / tiling.block_bytes * tiling.pieces_per_block() +
         offset % tiling.block_bytes / limits::kPieceBytesMax;
}

}  // namespace

std::uint64_t row_count(const TensorInfo& info) { return info.shape.empty() ? 1 : info.shape[0]; }

std::optional<std::uint64_t> row_bytes(const TensorInfo& info) {
  if (info.bytes() == 0) return 0;
  const std::uint64_t rows = row_count(info);
  if (info.bytes() % rows != 0) return std::nullopt;
  return info.bytes() / rows;
}

TensorSet normalized(std::vector<TensorRows> rows) {
  std::sort(rows.begin(), rows.end());
  TensorSet set;
  for (const TensorRows& run : rows) {
    const bool empty = run.rows.begin >= run.rows.end;
    if (empty && run.rows.begin != 0) continue;  // no rows of a tensor that has some
    if (set.empty() || !same_tensor(set.back(), run)) {
      set.push_back(run);
      continue;
    }
    Rows& last = set.back().rows;
    if (empty) continue;
    if (last.begin == last.end) {
      last = run.rows;  // there are rows: the run without any meant nothing
    } else if (run.rows.begin <= last.end) {
      last.end = std::max(last.end, run.rows.end);
    } else {
      set.push_back(run);
    }
  }
  return set;
}

TensorSet unite(const TensorSet& a, const TensorSet& b) {
  std::vector<TensorRows> both = a;
  both.insert(both.end(), b.begin(), b.end());
  return normalized(std::move(both));
}

std::uint32_t tensor_count(const TensorSet& set) {
  std::uint32_t count = 0;
  for (std::size_t i = 0; i < set.size(); ++i) {
    count += i > 0 && same_tensor(set[i - 1], set[i]) ? 0 : 1;
  }
  return count;
}

TensorSet subtract(const TensorSet& a, const TensorSet& b) {
  TensorSet left;
  auto from = b.begin();  // behind all that can cut neither this run nor a later one
  for (const TensorRows& run : a) {
    const bool empty = run.rows.begin == run.rows.end;
    while (from != b.end() &&
           (std::pair(from->file, from->tensor) < std::pair(run.file, run.tensor) ||
            (!empty && same_tensor(*from, run) && from->rows.end <= run.rows.begin))) {
      ++from;
    }
    if (empty) {
      if (from == b.end() || !same_tensor(*from, run)) left.push_back(run);
      continue;
    }
    std::uint64_t begin = run.rows.begin;
    for (auto cut = from; cut != b.end() && same_tensor(*cut, run); ++cut) {
      if (cut->rows.begin >= run.rows.end) break;
      if (cut->rows.begin > begin) {
        left.push_back({run.file, run.tensor, {begin, cut->rows.begin}});
      }
      begin = std::max(begin, cut->rows.end);
    }
    if (begin < run.rows.end) left.push_back({run.file, run.tensor, {begin, run.rows.end}});
  }
  return left;
}

std::uint64_t bytes_of(const TensorSet& set, const Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const TensorRows& run : set) {
    const Span span = span_of(run.rows, entry_of(run, manifest).info);
    bytes += span.end - span.begin;
  }
  return bytes;
}

void insert_pieces(const TensorRows& rows, const Manifest& manifest, PieceSet& pieces) {
  const TensorEntry& entry = entry_of(rows, manifest);
  const Span span = span_of(rows.rows, entry.info);
  if (span.begin == span.end) return;
  const auto first = static_cast<std::uint32_t>(piece_at(entry.tiling, span.begin));
  const auto last = static_cast<std::uint32_t>(piece_at(entry.tiling, span.end - 1));
  pieces.insert(PieceRun{PieceIndex(entry.first_piece.value + first), last - first + 1});
}

}  // namespace shardswarm
