#include "tools/sharding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardswarm::test {
namespace {

using testing::ElementsAre;

// Tensors t0, t1, ... of so many bytes.
std::vector<PlannedTensor> of_bytes(const std::vector<std::uint64_t>& sizes) {
  std::vector<PlannedTensor> tensors;
  for (const std::uint64_t size : sizes) {
    tensors.push_back({.tensor = {"t" + std::to_string(tensors.size()), Dtype::kU8, {size}},
                       .counted_bytes = size});
  }
  return tensors;
}

// How many tensors each file has.
std::vector<std::size_t> counts(const WeightFiles& files) {
  std::vector<std::size_t> counted;
  for (const auto& [path, tensors] : files) counted.push_back(tensors.size());
  return counted;
}

TEST(Sharding, AFileIsFullWhenTheNextTensorWouldNotFit) {
  const SplitRule rule{.shard_bytes = 10};
  EXPECT_THAT(counts(split_by_rule(of_bytes({5, 5, 1, 4, 6}), rule)), ElementsAre(2, 2, 1));
}

TEST(Sharding, ATensorBeyondTheLimitHasAFileOfItsOwn) {
  const SplitRule rule{.shard_bytes = 10};
  EXPECT_THAT(counts(split_by_rule(of_bytes({50, 1, 50}), rule)), ElementsAre(1, 1, 1));
}

TEST(Sharding, OrAFileIsFullOnceItReachedTheLimit) {
  const SplitRule rule{.shard_bytes = 10, .close_when_full = true};
  EXPECT_THAT(counts(split_by_rule(of_bytes({5, 4, 6, 10, 1}), rule)), ElementsAre(3, 1, 1));
}

TEST(Sharding, ATensorMayBeginAFileAndCountOtherBytesThanItsOwn) {
  auto tensors = of_bytes({1, 1, 1, 1});
  tensors[1].counted_bytes = 10;
  tensors[3].starts_file = true;
  const auto files = split_by_rule(tensors, {.shard_bytes = 10, .total_digits = 6});
  EXPECT_THAT(counts(files), ElementsAre(1, 1, 1, 1));
  EXPECT_EQ(files[2].first, "model-00003-of-000004.safetensors");
}

TEST(Sharding, WithoutALimitThereIsOneFile) {
  auto tensors = of_bytes({1, 1});
  tensors[1].starts_file = true;
  const auto files = split_by_rule(tensors, {});
  EXPECT_THAT(counts(files), ElementsAre(2));
  EXPECT_EQ(files[0].first, "model.safetensors");
}

TEST(Sharding, EvenFilesHaveAboutTheSameBytes) {
  std::vector<SyntheticTensor> tensors;
  for (PlannedTensor& planned : of_bytes({1, 1, 1, 3, 2, 1})) tensors.push_back(planned.tensor);
  const auto files = split_evenly(tensors, 3, "m");
  EXPECT_THAT(counts(files), ElementsAre(3, 1, 2));
  EXPECT_EQ(files[1].first, "m-00002-of-00003.safetensors");
}

}  // namespace
}  // namespace shardswarm::test
