#include "tools/model_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardswarm::test {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr MakeModel kFamilies[] = {llama_model, mixtral_model, deepseek_model};

void expect_near(const TransformerShape& shape, std::uint64_t bytes, MakeModel make) {
  const auto found = shape_of_size(shape, bytes, make);
  ASSERT_TRUE(found) << found.error().message;
  const std::uint64_t has = tensor_bytes(make(*found));
  EXPECT_LE(has, bytes);
  EXPECT_GE(static_cast<double>(has), 0.97 * static_cast<double>(bytes))
      << shape.layers << " layers, hidden " << found->hidden << ", intermediate "
      << found->intermediate << ": " << has << " of " << bytes;
  EXPECT_EQ(found->hidden % found->heads, 0U);
  EXPECT_EQ(found->heads % found->kv_heads, 0U);
}

TEST(ModelSize, IsAtMostWhatIsAskedForAndAtLeast97Percent) {
  for (const MakeModel make : kFamilies) {
    for (std::uint64_t bytes = 16 * kMiB; bytes <= std::uint64_t{96} << 30;
         bytes = bytes * 19 / 10) {
      for (const std::uint32_t layers : {8U, 32U}) {
        expect_near({.layers = layers, .experts = 8, .files = 4}, bytes, make);
      }
    }
  }
}

TEST(ModelSize, HoldsForOddNumbersOfLayersAndLargeVocabularies) {
  for (const MakeModel make : kFamilies) {
    for (const std::uint64_t bytes : {256 * kMiB, 1000 * kMiB, 24'000 * kMiB}) {
      expect_near({.layers = 1, .experts = 8}, bytes, make);
      expect_near({.layers = 61, .experts = 3}, bytes, make);
      expect_near({.layers = 16, .vocabulary = 128'256, .experts = 8}, bytes, make);
      expect_near({.layers = 16, .vocabulary = 32'000, .experts = 8, .tied = true}, bytes, make);
    }
  }
}

TEST(ModelSize, WidthsOfLargeModelsAreLikeThoseOfRealOnes) {
  const auto shape = shape_of_size({.layers = 32}, std::uint64_t{16} << 30, llama_model);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->hidden % 128, 0U);
  EXPECT_EQ(shape->intermediate % 128, 0U);
  const double ratio =
      static_cast<double>(shape->intermediate) / static_cast<double>(shape->hidden);
  EXPECT_GT(ratio, 2.4);
  EXPECT_LT(ratio, 3.2);
}

TEST(ModelSize, WhatCannotBeSoSmallIsRefusedWithTheLeastSize) {
  const TransformerShape shape{.layers = 16, .vocabulary = 1 << 24};
  const auto found = shape_of_size(shape, 64 * kMiB, llama_model);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::kUsage);
  const std::string& message = found.error().message;
  const std::size_t at = message.find("the smallest has ");
  ASSERT_NE(at, std::string::npos) << message;
  const std::uint64_t least = std::stoull(message.substr(at + 17));
  EXPECT_GT(least, 64 * kMiB);
  EXPECT_TRUE(shape_of_size(shape, least, llama_model));
}

}  // namespace
}  // namespace shardswarm::test
