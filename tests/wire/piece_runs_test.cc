#include "wire/piece_runs.h"

#include <gmock/gmock.h>

#include <random>

#include "wire/frame.h"

namespace shardswarm {
namespace {

using ::testing::HasSubstr;
using Numbers = std::vector<std::uint32_t>;

std::vector<PieceChunk> cut(std::span<const PieceRun> runs) {
  std::vector<PieceChunk> chunks;
  for (PieceCutter cutter(runs); !cutter.done();) chunks.push_back(cutter.next());
  return chunks;
}

// Decodes the chunks and puts together runs that were cut in two.
std::vector<PieceRun> join(const std::vector<PieceChunk>& chunks) {
  std::vector<PieceRun> all;
  for (const PieceChunk& chunk : chunks) {
    const auto part = decode_pieces(chunk.runs, chunk.bitmap_first, chunk.bitmap);
    EXPECT_TRUE(part.has_value()) << part.error().message;
    if (!part) return {};
    EXPECT_TRUE(valid_runs(*part));
    for (const PieceRun& run : *part) {
      if (!all.empty() && all.back().first.value + all.back().count == run.first.value) {
        all.back().count += run.count;
      } else {
        all.push_back(run);
      }
    }
  }
  return all;
}

// Stretches of up to `stretch` pieces, between them gaps of up to `gap`.
std::vector<PieceRun> random_runs(std::mt19937& random, std::uint32_t pieces, std::uint32_t gap,
                                  std::uint32_t stretch) {
  std::vector<PieceRun> runs;
  for (auto at = static_cast<std::uint32_t>(random() % gap); at < pieces;) {
    const auto count =
        std::min<std::uint32_t>(pieces - at, 1 + static_cast<std::uint32_t>(random() % stretch));
    runs.push_back({PieceIndex(at), count});
    at += count + 1 + static_cast<std::uint32_t>(random() % gap);
  }
  return runs;
}

std::string decode_refusal(const Numbers& runs, std::uint32_t first = 0,
                           const std::vector<std::byte>& bitmap = {}) {
  const auto decoded = decode_pieces(runs, first, bitmap);
  return decoded ? "accepted" : decoded.error().message;
}

TEST(PieceRuns, EmptySetIsOneEmptyChunk) {
  const auto chunks = cut({});
  ASSERT_EQ(chunks.size(), 1U);
  EXPECT_TRUE(chunks[0].runs.empty());
  EXPECT_TRUE(chunks[0].bitmap.empty());
  EXPECT_TRUE(join(chunks).empty());
}

TEST(PieceRuns, TheSmallerFormIsTaken) {  // WIRE-50
  const std::vector<PieceRun> whole = {{PieceIndex(0), 774'000}};
  const auto one_run = cut(whole);
  ASSERT_EQ(one_run.size(), 1U);
  EXPECT_EQ(one_run[0].runs, (Numbers{0, 774'000}));

  std::vector<PieceRun> every_second;
  for (std::uint32_t i = 0; i < 1000; ++i) every_second.push_back({PieceIndex(500 + 2 * i), 1});
  const auto dense = cut(every_second);
  ASSERT_EQ(dense.size(), 1U);
  EXPECT_TRUE(dense[0].runs.empty());
  EXPECT_EQ(dense[0].bitmap_first, 500U);
  EXPECT_EQ(dense[0].bitmap.size(), 250U);
  EXPECT_EQ(join(dense), every_second);
}

TEST(PieceRuns, AFewFarPiecesStayOneMessage) {
  const std::vector<PieceRun> far = {{PieceIndex(0), 4}, {PieceIndex(1'000'000), 1}};
  EXPECT_EQ(cut(far).size(), 1U);
}

TEST(PieceRuns, LargestModelsAreCutIntoFramesThatFit) {  // WIRE-52
  std::mt19937 random(7);
  struct Shape {
    std::uint32_t pieces;
    std::uint32_t gap;
    std::uint32_t stretch;
  };
  constexpr std::uint32_t kAll = limits::kPiecesMax;
  for (const Shape shape :
       {Shape{1'000'000, 1, 1}, Shape{2'000'000, 3, 5}, Shape{kAll, 40, 9}, Shape{kAll, 300, 2},
        Shape{kAll, 2'000'000, 900'000}, Shape{kAll, 100'000, 1}}) {
    const auto runs = random_runs(random, shape.pieces, shape.gap, shape.stretch);
    const auto chunks = cut(runs);
    EXPECT_EQ(join(chunks), runs);
    for (const PieceChunk& chunk : chunks) {
      EXPECT_NE(chunk.runs.empty(), chunk.bitmap.empty());
      EXPECT_LE(chunk.runs.size(), limits::kControlBytesMax);
      EXPECT_LE(chunk.bitmap.size(), limits::kBitmapBytesMax);
    }
  }
}

TEST(PieceRuns, ARunThatCrossesABitmapsEndIsCut) {
  std::vector<PieceRun> runs;
  const std::uint32_t window = limits::kBitmapBytesMax * 8;
  for (std::uint32_t i = 0; i < window / 2 - 5; ++i) runs.push_back({PieceIndex(2 * i), 1});
  runs.push_back({PieceIndex(window - 4), 1000});
  const auto chunks = cut(runs);
  ASSERT_EQ(chunks.size(), 2U);
  EXPECT_EQ(chunks[0].bitmap.size(), limits::kBitmapBytesMax);
  EXPECT_EQ(join(chunks), runs);
}

TEST(PieceRuns, MalformedRunsAreRefused) {  // WIRE-50, WIRE-51
  EXPECT_THAT(decode_refusal({1}), HasSubstr("pairs"));
  EXPECT_THAT(decode_refusal({1, 2, 3}), HasSubstr("pairs"));
  EXPECT_THAT(decode_refusal({1, 0}), HasSubstr("no pieces"));
  EXPECT_EQ(decode_refusal({0, limits::kPiecesMax}), "accepted");
  EXPECT_THAT(decode_refusal({1, limits::kPiecesMax}), HasSubstr("beyond"));
  EXPECT_THAT(decode_refusal({UINT32_MAX, UINT32_MAX}), HasSubstr("beyond"));
  EXPECT_THAT(decode_refusal({0, 1, UINT32_MAX, 1}), HasSubstr("beyond"));
  EXPECT_EQ(decode_refusal({0, 1, 0, 1}), "accepted");
}

TEST(PieceRuns, MalformedBitmapsAreRefused) {  // WIRE-50, WIRE-51
  const std::vector<std::byte> one = {std::byte{1}};
  EXPECT_THAT(decode_refusal({0, 1}, 0, one), HasSubstr("both"));
  EXPECT_THAT(decode_refusal({}, 5), HasSubstr("no bitmap"));
  EXPECT_THAT(decode_refusal({0, 1}, 5), HasSubstr("no bitmap"));
  EXPECT_THAT(decode_refusal({}, 0, {std::byte{1}, std::byte{0}}), HasSubstr("without pieces"));
  EXPECT_EQ(decode_refusal({}, limits::kPiecesMax - 1, one), "accepted");
  EXPECT_THAT(decode_refusal({}, limits::kPiecesMax, one), HasSubstr("beyond"));
  EXPECT_THAT(decode_refusal({}, limits::kPiecesMax - 1, {std::byte{2}}), HasSubstr("beyond"));
  EXPECT_THAT(decode_refusal({}, UINT32_MAX, one), HasSubstr("beyond"));
  EXPECT_THAT(decode_refusal({}, 0, std::vector(limits::kBitmapBytesMax + 1, std::byte{1})),
              HasSubstr("32769"));
}

TEST(PieceRuns, ValidRunsAscendBelowTheLimit) {
  using Runs = std::vector<PieceRun>;
  EXPECT_TRUE(valid_runs({}));
  EXPECT_TRUE(valid_runs(Runs{{PieceIndex(0), 2}, {PieceIndex(2), 1}}));
  EXPECT_FALSE(valid_runs(Runs{{PieceIndex(0), 2}, {PieceIndex(1), 1}}));
  EXPECT_FALSE(valid_runs(Runs{{PieceIndex(5), 0}}));
  EXPECT_FALSE(valid_runs(Runs{{PieceIndex(5), 1}, {PieceIndex(0), 1}}));
  EXPECT_FALSE(valid_runs(Runs{{PieceIndex(limits::kPiecesMax - 1), 2}}));
  EXPECT_FALSE(valid_runs(Runs{{PieceIndex(UINT32_MAX), UINT32_MAX}}));
}

}  // namespace
}  // namespace shardswarm
