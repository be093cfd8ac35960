// How tensors are cut: worked examples of spec/manifest.md, and what every cut must satisfy.
#include "piece/tiling.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <string>

#include "base/limits.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {

namespace {

using limits::kKiB;
using limits::kMiB;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Shape = std::vector<std::uint64_t>;

Tiling tile(Dtype dtype, const Shape& shape) { return tile_tensor(dtype, shape); }

struct Example {
  Dtype dtype;
  Shape shape;
  std::uint64_t blocks;
  std::uint64_t block_bytes;
  std::uint64_t pieces;
};

void expect_tilings(const std::vector<Example>& examples) {
  for (const Example& row : examples) {
    SCOPED_TRACE(json_of({.name = "t", .shape = row.shape, .dtype = row.dtype}, 0));
    const Tiling tiling = tile(row.dtype, row.shape);
    EXPECT_EQ(tiling.blocks, row.blocks);
    EXPECT_EQ(tiling.block_bytes, row.block_bytes);
    EXPECT_EQ(tiling.pieces(), row.pieces);
  }
}

std::vector<std::uint32_t> sizes(const Tiling& tiling) {
  std::vector<std::uint32_t> sizes;
  for (std::uint64_t i = 0; i < tiling.pieces(); ++i) sizes.push_back(tiling.piece_bytes(i));
  return sizes;
}

std::vector<std::uint64_t> offsets(const Tiling& tiling) {
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t i = 0; i < tiling.pieces(); ++i) offsets.push_back(tiling.piece_offset(i));
  return offsets;
}

// MAN-21
TEST(Tiling, MakesNoPieceOfNothing) {
  expect_tilings({{Dtype::kF32, {0}, 0, 0, 0},
                  {Dtype::kF32, {0, 4096, 4096}, 0, 0, 0},
                  {Dtype::kU8, {1 << 20, 0, 1 << 20}, 0, 0, 0},
                  {Dtype::kF4, {8, 0}, 0, 0, 0}});
}

// MAN-21
TEST(Tiling, LeavesATensorUpToOneMebibyteWhole) {
  expect_tilings({{Dtype::kBF16, {}, 1, 2, 1},
                  {Dtype::kU8, {1}, 1, 1, 1},
                  {Dtype::kF32, {896}, 1, 3584, 1},
                  {Dtype::kU8, {kMiB}, 1, kMiB, 1},
                  {Dtype::kBF16, {8, 65536}, 1, kMiB, 1},
                  // Entries of 128 KiB, yet one piece: stacked experts are cut above 1 MiB only.
                  {Dtype::kU8, {8, 128, 1024}, 1, kMiB, 1}});
}

// MAN-23
TEST(Tiling, CutsALargerTensorIntoRowBlocks) {
  expect_tilings({
      // gcd(dim 0, 8) blocks: 8, 4, 2, 1.
      {Dtype::kBF16, {4096, 4096}, 8, 4 * kMiB, 32},
      {Dtype::kBF16, {14336, 4096}, 8, 14 * kMiB, 112},
      {Dtype::kU8, {12, 1 << 20}, 4, 3 * kMiB, 12},
      {Dtype::kU8, {6, 1 << 20}, 2, 3 * kMiB, 6},
      {Dtype::kU8, {7, 1 << 20}, 1, 7 * kMiB, 7},
      // One byte over 1 MiB, and one row.
      {Dtype::kU8, {kMiB + 1}, 1, kMiB + 1, 2},
      {Dtype::kU8, {1, 2 * kMiB}, 1, 2 * kMiB, 2},
      // Rank 1 counts too, and blocks may be small.
      {Dtype::kU8, {kMiB + 8}, 8, kMiB / 8 + 1, 8},
  });
}

// MAN-24
TEST(Tiling, CutsEachBlockFromItsOwnStart) {
  // Two blocks of 1.5 MiB: the second one's pieces begin at 1.5 MiB, not at 2 MiB.
  const Tiling tiling = tile(Dtype::kU8, {2, 3 * kMiB / 2});
  EXPECT_THAT(offsets(tiling), ElementsAre(0, kMiB, 3 * kMiB / 2, 5 * kMiB / 2));
  EXPECT_THAT(sizes(tiling), ElementsAre(kMiB, kMiB / 2, kMiB, kMiB / 2));
  EXPECT_EQ(tiling.pieces_per_block(), 2U);
}

// MAN-22
TEST(Tiling, CutsStackedExpertsIntoEntries) {
  expect_tilings({
      // DBRX-like experts, and MLX's switch_mlp (4-bit weights in U32).
      {Dtype::kBF16, {16, 10752, 6144}, 16, 126 * kMiB, 2016},
      {Dtype::kU32, {128, 768, 256}, 128, 768 * kKiB, 128},
      // Entries of exactly 32 KiB, rank 3 and more.
      {Dtype::kU8, {33, 32, 1024}, 33, 32 * kKiB, 33},
      {Dtype::kU8, {33, 8, 4, 1024}, 33, 32 * kKiB, 33},
      // 3 experts of 1.5 MiB.
      {Dtype::kU8, {3, 1536, 1024}, 3, 1536 * kKiB, 6},
      // Entries with partial last pieces.
      {Dtype::kU8, {5, 1025, 1024}, 5, kMiB + kKiB, 10},
  });
}

// MAN-22
TEST(Tiling, SmallEntriesAndMatricesAreNoStackedExperts) {
  expect_tilings({
      // One byte short of 32 KiB: row blocks.
      {Dtype::kU8, {40, 1, 32 * kKiB - 1}, 8, 5 * (32 * kKiB - 1), 8},
      // Rank 2 with rows of 32 KiB.
      {Dtype::kU8, {40, 32 * kKiB}, 8, 160 * kKiB, 8},
      // A convolution: 2048 x 3 x 14 x 14.
      {Dtype::kBF16, {2048, 3, 14, 14}, 8, 301'056, 8},
  });
}

// MAN-23
TEST(Tiling, TakesAsManyRowBlocksAsAreWholeBytes) {
  const std::uint64_t odd = (1 << 19) + 1;  // elements in a row
  expect_tilings({
      // Rows of 4 bits x odd: 8 rows make 8 halves, so 4 blocks of 2 rows are whole bytes.
      {Dtype::kF4, {8, odd}, 4, odd, 4},
      {Dtype::kF4, {16, odd}, 8, odd, 8},
      {Dtype::kF4, {24, odd}, 4, 3 * odd, 8},
      {Dtype::kF4, {12, odd}, 2, 3 * odd, 4},
      // 4 rows: gcd 4, but a block of one row has half a byte; 2 blocks of 2 rows.
      {Dtype::kF4, {4, (1 << 20) + 1}, 2, (1 << 20) + 1, 4},
      {Dtype::kF4, {6, odd}, 1, 3 * odd, 2},
      {Dtype::kF4, {2, (1 << 21) + 1}, 1, (1 << 21) + 1, 3},
      // 6 bits x odd: four rows make 3 bytes x odd.
      {Dtype::kF6E2M3, {8, odd}, 2, 3 * odd, 4},
      {Dtype::kF6E3M2, {16, odd}, 4, 3 * odd, 8},
      {Dtype::kF6E3M2, {32, odd}, 8, 3 * odd, 16},
      {Dtype::kF6E2M3, {4, odd}, 1, 3 * odd, 2},
      // Whole rows: as any other.
      {Dtype::kF4, {8, 1 << 20}, 8, 512 * kKiB, 8},
  });
}

// MAN-22: an expert that is not whole bytes cannot be a piece; row blocks stand in.
TEST(Tiling, StackedSubByteEntriesFallBackToRowBlocks) {
  const std::uint64_t odd = (1 << 18) + 1;
  expect_tilings({{Dtype::kF4, {16, 1, odd}, 8, odd, 8},
                  {Dtype::kF4, {10, 1, odd}, 1, 5 * odd, 2},
                  {Dtype::kF4, {10, 2, odd}, 10, odd, 10},
                  // Exactly 32 KiB in 6-bit elements cannot be; the next whole entry is 32769.
                  {Dtype::kF6E2M3, {40, 1, 43'692}, 40, 32'769, 40},
                  {Dtype::kF6E2M3, {40, 1, 43'688}, 8, 5 * 32'766, 8}});
}

// MAN-25
TEST(Tiling, CutsBytesOutsideTensorsAtMebibytes) {
  EXPECT_THAT(sizes(tile_bytes(0)), IsEmpty());
  EXPECT_THAT(sizes(tile_bytes(1)), ElementsAre(1));
  EXPECT_THAT(sizes(tile_bytes(kMiB)), ElementsAre(kMiB));
  EXPECT_THAT(sizes(tile_bytes(2 * kMiB + 5)), ElementsAre(kMiB, kMiB, 5));
  EXPECT_THAT(offsets(tile_bytes(2 * kMiB + 5)), ElementsAre(0, kMiB, 2 * kMiB));
}

// MAN-24: the numbers stay right for the largest file that a root may name.
TEST(Tiling, CountsPiecesOfTheLargestFile) {
  const Tiling tiling = tile(Dtype::kF64, {std::uint64_t{1} << 50});
  EXPECT_EQ(tiling.blocks, 8U);
  EXPECT_EQ(tiling.pieces(), std::uint64_t{1} << 33);
  EXPECT_EQ(tiling.piece_offset(tiling.pieces() - 1), (std::uint64_t{1} << 53) - kMiB);
  EXPECT_EQ(tiling.piece_bytes(tiling.pieces() - 1), kMiB);
}

// A tensor of up to 64 Mi elements; dimensions are odd, or have few or many factors of two.
class RandomTensors {
 public:
  TensorSpec next() {
    TensorSpec tensor{.name = "t", .dtype = static_cast<Dtype>(below(22))};
    const std::uint64_t most = (64 * kMiB) >> below(5);
    std::uint64_t elements = 1;
    for (std::uint64_t tries = below(6); tries > 0; --tries) {
      const std::uint64_t dim = (1 + below(100)) << below(9);
      if (elements * dim > most) continue;
      tensor.shape.push_back(dim);
      elements *= dim;
    }
    std::shuffle(tensor.shape.begin(), tensor.shape.end(), random_);
    // Whole bytes, as a header guarantees them.
    while (bits(tensor) % 8 != 0) {
      if (tensor.shape.empty()) tensor.shape.push_back(1);
      tensor.shape[below(tensor.shape.size())] *= 2;
    }
    return tensor;
  }

  static std::uint64_t bits(const TensorSpec& tensor) {
    return std::accumulate(tensor.shape.begin(), tensor.shape.end(),
                           std::uint64_t{dtype_bits(tensor.dtype)}, std::multiplies<>());
  }

 private:
  std::uint64_t below(std::uint64_t n) {
    return std::uniform_int_distribution<std::uint64_t>(0, n - 1)(random_);
  }
  std::mt19937_64 random_{20'240'607};
};

void expect_a_partition(const Tiling& tiling, std::uint64_t bytes) {
  std::uint64_t at = 0;
  for (std::uint64_t i = 0; i < tiling.pieces(); ++i) {
    ASSERT_EQ(tiling.piece_offset(i), at) << "piece " << i;
    ASSERT_GE(tiling.piece_bytes(i), 1U) << "piece " << i;
    ASSERT_LE(tiling.piece_bytes(i), kMiB) << "piece " << i;
    at += tiling.piece_bytes(i);
  }
  EXPECT_EQ(at, bytes);
}

bool begins_a_piece(const Tiling& tiling, std::uint64_t offset) {
  std::uint64_t low = 0;
  std::uint64_t high = tiling.pieces();
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    tiling.piece_offset(middle) < offset ? low = middle + 1 : high = middle;
  }
  return low < tiling.pieces() && tiling.piece_offset(low) == offset;
}

// MAN-20
TEST(TilingProperties, PiecesCoverEveryTensorOnce) {
  RandomTensors random;
  std::uint64_t large = 0;
  for (int i = 0; i < 8'000; ++i) {
    const TensorSpec tensor = random.next();
    SCOPED_TRACE(json_of(tensor, 0));
    const Tiling tiling = tile(tensor.dtype, tensor.shape);
    expect_a_partition(tiling, tensor.bytes());
    large += tiling.pieces() > 1 ? 1 : 0;
    if (tensor.bytes() <= kMiB) {
      EXPECT_EQ(tiling.pieces(), 1U);
    }
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(large, 1'000U);  // else the generator tests nothing
}

// MAN-23: what a rank of 2, 4 or 8 loads of dim 0 are whole pieces, if its edge is a whole byte.
TEST(TilingProperties, RanksOfDimZeroAreWholePieces) {
  RandomTensors random;
  int seen = 0;
  for (int i = 0; i < 8'000; ++i) {
    const TensorSpec tensor = random.next();
    if (tensor.bytes() <= kMiB || tensor.shape[0] % 8 != 0) continue;
    if (RandomTensors::bits(tensor) / 8 % 8 != 0) continue;
    ++seen;
    const Tiling tiling = tile(tensor.dtype, tensor.shape);
    for (std::uint64_t rank = 1; rank < 8; ++rank) {
      EXPECT_TRUE(begins_a_piece(tiling, tensor.bytes() / 8 * rank))
          << json_of(tensor, 0) << " at rank " << rank << "/8";
    }
  }
  EXPECT_GT(seen, 500);
}

// MAN-22: an expert is whole pieces.
TEST(TilingProperties, EntriesOfStackedExpertsAreWholePieces) {
  RandomTensors random;
  int seen = 0;
  for (int i = 0; i < 8'000; ++i) {
    const TensorSpec tensor = random.next();
    if (tensor.bytes() <= kMiB || tensor.shape.size() < 3) continue;
    const std::uint64_t entry_bits = RandomTensors::bits(tensor) / tensor.shape[0];
    if (entry_bits % 8 != 0 || entry_bits / 8 < 32 * kKiB) continue;
    ++seen;
    const Tiling tiling = tile(tensor.dtype, tensor.shape);
    EXPECT_EQ(tiling.blocks, tensor.shape[0]) << json_of(tensor, 0);
    EXPECT_EQ(tiling.block_bytes, entry_bits / 8) << json_of(tensor, 0);
  }
  EXPECT_GT(seen, 500);
}

// The rule as the house states it, computed another way: the largest power of two up to 8 that
// divides dim 0 and makes whole bytes.
TEST(TilingProperties, RowBlocksAreTheLargestPowerOfTwoThatFits) {
  RandomTensors random;
  int seen = 0;
  for (int i = 0; i < 8'000; ++i) {
    const TensorSpec tensor = random.next();
    if (tensor.bytes() <= kMiB || tensor.shape.size() > 2) continue;
    ++seen;
    std::uint64_t blocks = 8;
    while (tensor.shape[0] % blocks != 0 || RandomTensors::bits(tensor) / blocks % 8 != 0 ||
           RandomTensors::bits(tensor) % (8 * blocks) != 0) {
      blocks /= 2;
    }
    EXPECT_EQ(tile(tensor.dtype, tensor.shape).blocks, blocks) << json_of(tensor, 0);
  }
  EXPECT_GT(seen, 200);
}

}  // namespace
}  // namespace shardswarm::test
