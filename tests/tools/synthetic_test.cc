#include "tools/synthetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/support/temp_dir.h"

namespace shardswarm::test {
namespace {

constexpr TransformerShape kSmall{
    .layers = 3, .hidden = 256, .intermediate = 512, .experts = 4, .files = 2};

std::map<std::string, TensorInfo> written(const SyntheticModel& model, const TempDir& dir) {
  EXPECT_TRUE(write_checkpoint(model, dir.path(), 7));
  std::map<std::string, TensorInfo> tensors;
  for (const auto& [path, unused] : model.weight_files) {
    const auto bytes = read_file(dir / path);
    const auto length = safetensors_header_bytes(bytes);
    const auto header = parse_safetensors_header(std::span(bytes).first(*length));
    EXPECT_TRUE(header) << header.error().message;
    EXPECT_EQ(header->header_bytes + header->data_bytes, bytes.size()) << path;
    for (const TensorInfo& tensor : header->tensors) tensors[tensor.name] = tensor;
  }
  return tensors;
}

TEST(Synthetic, FilesAreValidAndHoldEveryTensorOnce) {
  for (auto* make : {llama_model, mixtral_model, deepseek_model}) {
    for (const WriterOrder order : {WriterOrder::kReference, WriterOrder::kMlx}) {
      const TempDir dir;
      SyntheticModel model = make(kSmall);
      model.order = order;
      const auto tensors = written(model, dir);
      std::uint64_t bytes = 0;
      for (const auto& [name, tensor] : tensors) bytes += tensor.bytes();
      EXPECT_EQ(bytes, tensor_bytes(model));
      EXPECT_TRUE(std::filesystem::exists(dir / "model.safetensors.index.json"));
    }
  }
}

TEST(Synthetic, TheReferenceOrderSortsByWidthThenName) {
  const TempDir dir;
  const auto tensors = written(deepseek_model(kSmall), dir);
  // F32 scales stand before BF16, and these before FP8.
  const auto& scale = tensors.at("model.layers.1.mlp.experts.0.up_proj.weight_scale_inv");
  const auto& norm = tensors.at("model.layers.1.input_layernorm.weight");
  const auto& weight = tensors.at("model.layers.1.mlp.experts.0.up_proj.weight");
  EXPECT_LT(scale.begin, norm.begin);
  EXPECT_LT(norm.begin, weight.begin);
}

TEST(Synthetic, TheMlxOrderScattersALayer) {
  const TempDir dir;
  SyntheticModel model = llama_model({.layers = 12, .hidden = 64, .intermediate = 128});
  model.order = WriterOrder::kMlx;
  const auto tensors = written(model, dir);
  std::vector<std::pair<std::uint64_t, bool>> by_offset;
  for (const auto& [name, tensor] : tensors) {
    by_offset.emplace_back(tensor.begin, name.starts_with("model.layers.5."));
  }
  std::sort(by_offset.begin(), by_offset.end());
  std::size_t runs = 0;
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    runs += by_offset[i].second && !by_offset[i - 1].second ? 1U : 0U;
  }
  EXPECT_GT(runs, 4U);
}

TEST(Synthetic, ContentIsAFunctionOfSeedAndName) {
  const TempDir one;
  const TempDir two;
  const TempDir other;
  const SyntheticModel model = llama_model({.layers = 1, .hidden = 64, .intermediate = 128});
  ASSERT_TRUE(write_checkpoint(model, one.path(), 1));
  ASSERT_TRUE(write_checkpoint(model, two.path(), 1));
  ASSERT_TRUE(write_checkpoint(model, other.path(), 2));
  EXPECT_EQ(read_file(one / "model.safetensors"), read_file(two / "model.safetensors"));
  EXPECT_NE(read_file(one / "model.safetensors"), read_file(other / "model.safetensors"));
}

TEST(Synthetic, ATiedModelHasNoHead) {
  const TempDir dir;
  const auto tensors = written(llama_model({.layers = 1, .tied = true}), dir);
  EXPECT_FALSE(tensors.contains("lm_head.weight"));
  EXPECT_TRUE(tensors.contains("model.embed_tokens.weight"));
}

TEST(Synthetic, DeepseeksExtraLayerIsNumberedBeyondTheOthers) {
  const TempDir dir;
  const auto tensors = written(deepseek_model(kSmall), dir);
  EXPECT_TRUE(tensors.contains("model.layers.3.eh_proj.weight"));
  EXPECT_TRUE(tensors.contains("model.layers.0.mlp.gate_proj.weight"));
  EXPECT_FALSE(tensors.contains("model.layers.0.mlp.experts.0.gate_proj.weight"));
}

TEST(Synthetic, AnUnwritablePlaceIsAnErrorThatNamesIt) {
  const TempDir dir;
  write_file(dir / "file", "in the way");
  const auto done = write_checkpoint(llama_model({.layers = 1}), dir / "file", 1);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, testing::HasSubstr("file"));
}

}  // namespace
}  // namespace shardswarm::test
