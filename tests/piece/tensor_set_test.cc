// Sets of rows: their algebra against bitmaps, their bytes and pieces against the tiling.
#include "piece/tensor_set.h"

#include <gmock/gmock.h>

#include <map>
#include <random>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using limits::kMiB;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TensorRows run(std::uint32_t file, std::uint32_t tensor, std::uint64_t begin, std::uint64_t end) {
  return {FileIndex(file), TensorIndex(tensor), {begin, end}};
}

TensorInfo info_of(Dtype dtype, std::vector<std::uint64_t> shape) {
  const TensorSpec spec{.name = "t", .shape = shape, .dtype = dtype};
  return {.name = "t", .dtype = dtype, .shape = std::move(shape), .end = spec.bytes()};
}

TEST(RowsOfTensors, AreDimZero) {
  EXPECT_EQ(row_count(info_of(Dtype::kF32, {})), 1U);
  EXPECT_EQ(row_count(info_of(Dtype::kF32, {7})), 7U);
  EXPECT_EQ(row_count(info_of(Dtype::kF32, {0, 5})), 0U);
  EXPECT_EQ(row_count(info_of(Dtype::kF32, {5, 0})), 5U);
}

TEST(RowsOfTensors, HaveBytesWhereTheyAreWhole) {
  EXPECT_EQ(row_bytes(info_of(Dtype::kF32, {})), 4U);
  EXPECT_EQ(row_bytes(info_of(Dtype::kF32, {7})), 4U);
  EXPECT_EQ(row_bytes(info_of(Dtype::kBF16, {7, 3, 2})), 12U);
  EXPECT_EQ(row_bytes(info_of(Dtype::kF32, {0, 5})), 0U);
  EXPECT_EQ(row_bytes(info_of(Dtype::kF32, {5, 0})), 0U);
  EXPECT_EQ(row_bytes(info_of(Dtype::kF4, {8, 4})), 2U);
  EXPECT_EQ(row_bytes(info_of(Dtype::kF4, {8, 3})), std::nullopt);
  EXPECT_EQ(row_bytes(info_of(Dtype::kF4, {8})), std::nullopt);
  EXPECT_EQ(row_bytes(info_of(Dtype::kF6E2M3, {8, 2})), std::nullopt);
  EXPECT_EQ(row_bytes(info_of(Dtype::kF6E2M3, {8, 4})), 3U);
}

TEST(TensorSets, AreNormalised) {
  EXPECT_THAT(normalized({}), IsEmpty());
  EXPECT_THAT(normalized({run(1, 0, 3, 5), run(0, 2, 0, 1), run(1, 0, 0, 3), run(0, 2, 5, 6),
                          run(0, 2, 0, 2), run(0, 1, 4, 5)}),
              ElementsAre(run(0, 1, 4, 5), run(0, 2, 0, 2), run(0, 2, 5, 6), run(1, 0, 0, 5)));
  // A tensor without rows is there; no rows of one that has some are not.
  EXPECT_THAT(normalized({run(0, 0, 0, 0), run(0, 0, 0, 0)}), ElementsAre(run(0, 0, 0, 0)));
  EXPECT_THAT(normalized({run(0, 0, 0, 0), run(0, 0, 2, 3), run(0, 1, 4, 4)}),
              ElementsAre(run(0, 0, 2, 3)));
}

TEST(TensorSets, WithoutRowsGoWithTheirTensor) {
  const TensorSet empty = {run(0, 0, 0, 0), run(0, 1, 0, 0), run(0, 2, 0, 4)};
  EXPECT_THAT(subtract(empty, {run(0, 1, 0, 0)}), ElementsAre(run(0, 0, 0, 0), run(0, 2, 0, 4)));
  EXPECT_EQ(subtract(empty, {}), empty);
  EXPECT_THAT(subtract(empty, empty), IsEmpty());
  EXPECT_EQ(unite(empty, empty), empty);
}

// Tensor t of file f has rows [0, 12), as bits.
using Bitmap = std::map<std::pair<std::uint32_t, std::uint32_t>, std::vector<bool>>;

Bitmap bitmap_of(const std::vector<TensorRows>& rows) {
  Bitmap bits;
  for (const TensorRows& each : rows) {
    std::vector<bool>& tensor = bits[{each.file.value, each.tensor.value}];
    tensor.resize(12);
    for (std::uint64_t row = each.rows.begin; row < each.rows.end; ++row) tensor[row] = true;
  }
  return bits;
}

TensorSet set_of(const Bitmap& bits) {
  TensorSet set;
  for (const auto& [tensor, rows] : bits) {
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
      if (!rows[row]) continue;
      const std::uint64_t begin = row;
      while (row < rows.size() && rows[row]) ++row;
      set.push_back(run(tensor.first, tensor.second, begin, row));
    }
  }
  return set;
}

TEST(TensorSetProperties, UniteAndSubtractAsBitmapsDo) {
  std::mt19937 random(5);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  const auto some = [&] {
    std::vector<TensorRows> rows(below(9));
    for (TensorRows& each : rows) {
      const std::uint64_t begin = below(12);
      each =
          run(below(2), below(3), begin, begin + 1 + below(static_cast<std::uint32_t>(12 - begin)));
    }
    return rows;
  };
  for (int i = 0; i < 20'000; ++i) {
    std::vector<TensorRows> left = some();
    const std::vector<TensorRows> right = some();
    const TensorSet a = normalized(left);
    const TensorSet b = normalized(right);
    ASSERT_EQ(a, set_of(bitmap_of(left)));
    Bitmap rest = bitmap_of(left);
    for (auto& [tensor, rows] : bitmap_of(right)) {
      for (std::size_t row = 0; row < rows.size(); ++row) {
        if (rows[row] && rest.contains(tensor)) rest[tensor][row] = false;
      }
    }
    ASSERT_EQ(subtract(a, b), set_of(rest));
    left.insert(left.end(), right.begin(), right.end());
    ASSERT_EQ(unite(a, b), set_of(bitmap_of(left)));
  }
}

TEST(TensorSetProperties, PiecesAreThoseThatHoldAByte) {
  const std::vector<TensorSpec> specs = {
      {"scalar", {}, Dtype::kF32},
      {"small", {96, 5}, Dtype::kBF16},
      {"rows", {16, kMiB / 4 + 1}},
      {"odd", {7, kMiB / 2 + 3}},
      {"long", {3 * kMiB + 5}},
      {"experts", {12, 3, kMiB / 2}},
      {"none", {4, 0}},
      {"halves", {8, 3}, Dtype::kF4},
  };
  const Manifest manifest =
      ModelBuilder().plain("a", 3).tensors("m.safetensors", specs).plain("z", kMiB + 1).build();
  const FileIndex file = manifest.find_file("m.safetensors").value();
  const auto entries = manifest.tensors(file);
  std::mt19937_64 random(6);
  for (int i = 0; i < 5'000; ++i) {
    const auto t = static_cast<std::uint32_t>(random() % entries.size());
    const TensorEntry& entry = entries[t];
    const std::uint64_t rows = row_count(entry.info);
    const auto each = row_bytes(entry.info);
    Rows wanted{0, rows};
    if (each && random() % 8 != 0) {
      wanted.begin = random() % rows;
      wanted.end = wanted.begin + random() % (rows - wanted.begin + 1);
    }
    const std::uint64_t begin = wanted.begin * each.value_or(0);
    const std::uint64_t end = each ? wanted.end * *each : entry.info.bytes();
    PieceSet expected(manifest.piece_count());
    for (std::uint32_t p = 0; p < entry.pieces; ++p) {
      const std::uint64_t offset = entry.tiling.piece_offset(p);
      if (begin < end && begin < offset + entry.tiling.piece_bytes(p) && offset < end) {
        expected.insert(PieceIndex(entry.first_piece.value + p));
      }
    }
    PieceSet pieces(manifest.piece_count());
    insert_pieces({file, TensorIndex(t), wanted}, manifest, pieces);
    ASSERT_EQ(pieces, expected) << entry.info.name << " " << wanted.begin << "-" << wanted.end;
    ASSERT_EQ(bytes_of({{file, TensorIndex(t), wanted}}, manifest), end - begin);
  }
}

}  // namespace
}  // namespace shardswarm::test
