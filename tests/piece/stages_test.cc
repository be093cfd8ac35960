// How layers are shared out to stages, against all ways there are.
#include <gmock/gmock.h>

#include <algorithm>
#include <optional>
#include <random>
#include <vector>

#include "piece/selection.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Stack stack_of(std::vector<std::uint64_t> layers, std::uint64_t input = 0,
               std::uint64_t output = 0) {
  const auto count = static_cast<std::uint32_t>(layers.size());
  return {.name = "layers",
          .layers = count,
          .numbered = count,
          .layer_bytes = std::move(layers),
          .input_bytes = input,
          .output_bytes = output};
}

std::vector<std::uint32_t> lengths(const std::vector<LayerRange>& stages) {
  std::vector<std::uint32_t> lengths;
  for (const LayerRange& stage : stages) lengths.push_back(stage.last - stage.first + 1);
  return lengths;
}

std::vector<std::uint32_t> split(const Stack& stack, std::uint32_t count) {
  return lengths(must(split_stages(stack, count)));
}

TEST(Stages, AreEvenWhereLayersAre) {
  EXPECT_THAT(split(stack_of(std::vector<std::uint64_t>(8, 10)), 4), ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(split(stack_of(std::vector<std::uint64_t>(8, 10)), 1), ElementsAre(8));
  EXPECT_THAT(split(stack_of(std::vector<std::uint64_t>(3, 10)), 3), ElementsAre(1, 1, 1));
}

TEST(Stages, GiveTheEarlierOneMoreOnTies) {
  EXPECT_THAT(split(stack_of({10, 10, 10}), 2), ElementsAre(2, 1));
  EXPECT_THAT(split(stack_of(std::vector<std::uint64_t>(4, 10)), 3), ElementsAre(2, 1, 1));
  // The largest stage has 3 layers either way.
  EXPECT_THAT(split(stack_of(std::vector<std::uint64_t>(10, 10)), 4), ElementsAre(3, 3, 3, 1));
}

TEST(Stages, CountWhatStandsOutsideWithItsSide) {
  EXPECT_THAT(split(stack_of({10, 10, 10, 10}, 20, 0), 2), ElementsAre(1, 3));
  EXPECT_THAT(split(stack_of({10, 10, 10, 10}, 0, 20), 2), ElementsAre(3, 1));
  EXPECT_THAT(split(stack_of({10, 10, 10, 10}, 20, 20), 2), ElementsAre(2, 2));
  // So much before the first layer that it is a stage with that one alone.
  EXPECT_THAT(split(stack_of({1, 1, 1, 1, 1, 1, 1}, 100, 2), 3), ElementsAre(1, 5, 1));
}

TEST(Stages, HaveAtLeastOneLayerEach) {
  EXPECT_THAT(split(stack_of({0, 0, 0, 0}), 4), ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(split(stack_of({0, 0, 0, 90}), 3), ElementsAre(2, 1, 1));
  EXPECT_THAT(split(stack_of({90, 0, 0, 0}), 3), ElementsAre(2, 1, 1));
}

// MTP layers stand behind those that stages are made of; they weigh on the last one.
TEST(Stages, AreMadeOfLayersBeforeMtpLayers) {
  Stack stack = stack_of({10, 10, 10, 10, 20}, 0, 20);
  stack.layers = 4;
  EXPECT_THAT(split(stack, 2), ElementsAre(3, 1));
  EXPECT_FALSE(split_stages(stack, 5));
}

TEST(Stages, MoreThanLayersAreRefused) {
  for (const std::uint32_t count : {0U, 4U, ~0U}) {
    const auto stages = split_stages(stack_of({1, 2, 3}), count);
    ASSERT_FALSE(stages) << count;
    EXPECT_EQ(stages.error().code, Errc::kUsage);
    EXPECT_THAT(stages.error().message, HasSubstr("3"));
  }
  EXPECT_FALSE(split_stages(stack_of({}), 1));
}

std::uint64_t largest(const Stack& stack, const std::vector<std::uint32_t>& lengths) {
  std::uint64_t most = 0;
  std::uint32_t layer = 0;
  for (std::size_t stage = 0; stage < lengths.size(); ++stage) {
    std::uint64_t bytes = stage == 0 ? stack.input_bytes : 0;
    if (stage + 1 == lengths.size()) bytes += stack.output_bytes;
    for (std::uint32_t i = 0; i < lengths[stage]; ++i) bytes += stack.layer_bytes[layer++];
    most = std::max(most, bytes);
  }
  return most;
}

// All ways to share out `layers`, the one with more in earlier stages first.
void all_ways(std::uint32_t layers, std::uint32_t count, std::vector<std::uint32_t>& prefix,
              std::vector<std::vector<std::uint32_t>>& ways) {
  if (count == 1) {
    ways.push_back(prefix);
    ways.back().push_back(layers);
    return;
  }
  for (std::uint32_t here = layers - count + 1; here >= 1; --here) {
    prefix.push_back(here);
    all_ways(layers - here, count - 1, prefix, ways);
    prefix.pop_back();
  }
}

TEST(StagesProperties, MakeTheLargestAsSmallAsPossibleAndEarlierOnesLonger) {
  std::mt19937 random(7);
  for (int i = 0; i < 3'000; ++i) {
    // Few different sizes make many ties.
    const std::uint64_t sizes = random() % 2 == 0 ? 3 : 1000;
    std::vector<std::uint64_t> layers(1 + random() % 9);
    for (std::uint64_t& bytes : layers) bytes = random() % (sizes + 1);
    const auto n = static_cast<std::uint32_t>(layers.size());
    const Stack stack = stack_of(std::move(layers), random() % (2 * sizes), random() % (2 * sizes));
    const std::uint32_t count = 1 + static_cast<std::uint32_t>(random() % n);
    std::vector<std::vector<std::uint32_t>> ways;
    std::vector<std::uint32_t> prefix;
    all_ways(n, count, prefix, ways);
    const auto best =
        std::ranges::min_element(ways, {}, [&](const auto& way) { return largest(stack, way); });
    const std::vector<LayerRange> stages = must(split_stages(stack, count));
    ASSERT_EQ(lengths(stages), *best) << "model " << i;
    std::uint32_t first = 0;
    for (const LayerRange& stage : stages) {
      ASSERT_EQ(stage.first, first);
      first = stage.last + 1;
    }
    ASSERT_EQ(first, n);
  }
}

}  // namespace
}  // namespace shardswarm::test
