#include "tools/real_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/limits.h"
#include "tests/support/project.h"

namespace shardswarm::test {
namespace {

using Json = nlohmann::json;

std::map<std::string, SyntheticTensor> by_name(const SyntheticModel& model) {
  std::map<std::string, SyntheticTensor> tensors;
  for (const auto& [path, in_file] : model.weight_files) {
    for (const SyntheticTensor& tensor : in_file) {
      EXPECT_TRUE(tensors.emplace(tensor.name, tensor).second) << tensor.name << " twice";
    }
  }
  return tensors;
}

std::vector<std::uint64_t> shape(const SyntheticModel& model, const std::string& name) {
  return by_name(model).at(name).shape;
}

Json config(const SyntheticModel& model) {
  for (const auto& [path, content] : model.plain_files) {
    if (path == "config.json") return Json::parse(content);
  }
  return {};
}

// ../shared/layouts beside the repository; empty without it.
std::filesystem::path real_layouts() {
  const auto place = test::project_root().parent_path() / "shared/layouts";
  return std::filesystem::exists(place) ? place : std::filesystem::path();
}

struct Expected {
  std::string name;
  std::uint64_t bytes;
  std::size_t tensors;
  std::size_t files;
};

// Bytes and files as the published indexes and model cards say; where there is no index the bytes
// follow from the number of parameters.
const Expected kExpected[] = {
    {"llama-3.1-8b", 16'060'522'496, 291, 4},
    {"llama-3.1-8b-int8", 9'086'705'888, 739, 2},
    {"llama-405b", 811'706'777'600, 1137, 191},
    {"gemma-2-2b", 2'614'341'888 * 4, 288, 3},
    {"gpt2", (124'439'808 + 12 * 1024 * 1024) * 4, 160, 1},
    {"gpt-neox-20b", 41'293'685'880, 664, 46},
    {"falcon-7b", 14'434'379'520, 196, 2},
    {"bloom-560m", 559'214'592 * 2, 293, 1},
    {"mpt-7b", 13'298'573'312, 194, 2},
    {"mamba-130m", 129'135'360 * 4, 242, 1},
    {"chatglm3-6b", 12'487'168'064, 200, 7},
    {"mixtral-8x22b", 281'241'268'224, 1739, 59},
    {"deepseek-v3", 688'574'839'360, 91'991, 163},
    {"qwen3-30b-a3b-mlx-4bit", 17'174'622'208, 1351, 4},
    {"dbrx", 263'193'047'040, 323, 61},
    {"t5-base", 222'903'552ULL * 4, 257, 1},
    {"qwen2-vl-2b", 4'417'971'200, 729, 2},
    {"llava-1.5-7b", 14'126'854'144, 686, 3},
};

TEST(RealModel, BytesTensorsAndFilesAreTheRealOnes) {
  std::vector<std::string> names;
  for (const Expected& expected : kExpected) {
    SCOPED_TRACE(expected.name);
    names.push_back(expected.name);
    const auto model = real_model(expected.name);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(tensor_bytes(*model), expected.bytes);
    EXPECT_EQ(by_name(*model).size(), expected.tensors);
    EXPECT_EQ(model->weight_files.size(), expected.files);
    EXPECT_GT(config(*model).size(), 3U);
  }
  EXPECT_THAT(real_model_names(), testing::UnorderedElementsAreArray(names));
}

TEST(RealModel, AgreesWithTheRealIndexes) {
  const std::filesystem::path layouts = real_layouts();
  if (layouts.empty()) {
    GTEST_SKIP() << "no real indexes: ../shared does not stand beside the repository";
  }
  for (const std::string name : {"llama-3.1-8b-int8", "mixtral-8x22b"}) {
    SCOPED_TRACE(name);
    std::ifstream index_file(layouts / name / "model.safetensors.index.json");
    std::ifstream config_file(layouts / name / "config.json");
    const Json index = Json::parse(index_file);
    const Json real_config = Json::parse(config_file);
    const SyntheticModel model = real_model(name).value();
    std::map<std::string, std::string> weights;
    for (const auto& [path, tensors] : model.weight_files) {
      for (const SyntheticTensor& tensor : tensors) weights[tensor.name] = path;
    }
    const auto real = index["weight_map"].get<std::map<std::string, std::string>>();
    EXPECT_TRUE(weights == real);  // thousands of lines if it printed them
    EXPECT_EQ(tensor_bytes(model), index["metadata"]["total_size"].get<std::uint64_t>());
    const Json made = config(model);
    for (const auto& [field, value] : made.items()) {
      if (value.is_object()) continue;
      EXPECT_EQ(value, real_config[field]) << field;
    }
  }
}

TEST(RealModel, DeepseeksFilesAreKnownByTheirNamesAndTheMtpHeadByItsNumber) {
  const SyntheticModel model = real_model("deepseek-v3").value();
  EXPECT_EQ(model.weight_files.front().first, "model-00001-of-000163.safetensors");
  const auto tensors = by_name(model);
  const auto& scale = tensors.at("model.layers.61.mlp.experts.255.up_proj.weight_scale_inv");
  EXPECT_EQ(scale.shape, (std::vector<std::uint64_t>{16, 56}));  // 3.5 KB
  EXPECT_TRUE(tensors.contains("model.layers.61.shared_head.head.weight"));
  EXPECT_TRUE(tensors.contains("model.layers.2.mlp.gate_proj.weight"));
  EXPECT_FALSE(tensors.contains("model.layers.2.mlp.gate.weight"));
  EXPECT_EQ(config(model)["num_hidden_layers"], 61);
  EXPECT_EQ(config(model)["n_routed_experts"], 256);
}

TEST(RealModel, TheNamesAndShapesThatTellTheFamilies) {
  const auto of = [](const std::string& name, const std::string& tensor) {
    return shape(real_model(name).value(), tensor);
  };
  using Dims = std::vector<std::uint64_t>;
  EXPECT_EQ(of("gpt2", "wte.weight"), (Dims{50257, 768}));
  EXPECT_EQ(of("gpt2", "h.11.attn.c_attn.weight"), (Dims{768, 2304}));  // transposed
  EXPECT_EQ(of("gpt2", "h.0.attn.bias"), (Dims{1, 1, 1024, 1024}));
  EXPECT_EQ(of("dbrx", "transformer.blocks.39.ffn.experts.mlp.w1"), (Dims{172'032, 6144}));
  EXPECT_EQ(of("qwen3-30b-a3b-mlx-4bit", "model.layers.0.mlp.switch_mlp.down_proj.weight"),
            (Dims{128, 2048, 96}));
  EXPECT_EQ(of("qwen3-30b-a3b-mlx-4bit", "model.layers.0.mlp.switch_mlp.down_proj.scales"),
            (Dims{128, 2048, 12}));
  EXPECT_EQ(of("llama-3.1-8b-int8", "model.layers.0.mlp.up_proj.weight_format"), Dims{});
  EXPECT_EQ(of("chatglm3-6b", "transformer.encoder.layers.27.self_attention.query_key_value.bias"),
            Dims{4608});
  EXPECT_EQ(of("qwen2-vl-2b", "visual.blocks.31.attn.qkv.weight"), (Dims{3840, 1280}));
  EXPECT_FALSE(by_name(real_model("qwen2-vl-2b").value()).contains("lm_head.weight"));
  EXPECT_EQ(of("t5-base", "decoder.block.11.layer.1.EncDecAttention.q.weight"), (Dims{768, 768}));
  EXPECT_EQ(real_model("qwen3-30b-a3b-mlx-4bit")->order, WriterOrder::kMlx);
}

TEST(RealModel, EverySmallCopyKeepsNamesAndStructure) {
  for (const std::string& name : real_model_names()) {
    SCOPED_TRACE(name);
    const bool experts = name == "mixtral-8x22b" || name == "deepseek-v3" || name == "dbrx" ||
                         name == "qwen3-30b-a3b-mlx-4bit";
    RealModelOptions options{.divide = 32, .layers = 4};
    if (experts) options.experts = 8;
    const SyntheticModel small = real_model(name, options).value();
    EXPECT_LT(tensor_bytes(small), 40 * limits::kMiB);
    const auto real = by_name(real_model(name).value());
    for (const auto& [tensor, made] : by_name(small)) {
      for (const std::uint64_t dim : made.shape) EXPECT_GT(dim, 0U) << tensor;
      // The MTP head is numbered behind the last layer.
      if (tensor.starts_with("model.layers.4.")) continue;
      const auto same = real.find(tensor);
      ASSERT_NE(same, real.end()) << tensor;
      EXPECT_EQ(same->second.dtype, made.dtype) << tensor;
      EXPECT_EQ(same->second.shape.size(), made.shape.size()) << tensor;
    }
  }
}

TEST(RealModel, OverridesHoldAsGiven) {
  const SyntheticModel gpt2 = real_model("gpt2", {.divide = 32}).value();
  EXPECT_EQ(shape(gpt2, "wte.weight")[0], 1571U);  // odd stays odd
  EXPECT_EQ(config(gpt2)["vocab_size"], 1571);
  const SyntheticModel odd = real_model("gpt2", {.divide = 32, .vocabulary = 50257}).value();
  EXPECT_EQ(shape(odd, "wte.weight"), (std::vector<std::uint64_t>{50257, 24}));

  const RealModelOptions few{.divide = 64, .layers = 2, .experts = 3, .files = 5};
  const SyntheticModel mixtral = real_model("mixtral-8x22b", few).value();
  EXPECT_EQ(mixtral.weight_files.size(), 5U);
  EXPECT_EQ(mixtral.weight_files.back().first, "model-00005-of-00005.safetensors");
  EXPECT_EQ(config(mixtral)["num_local_experts"], 3);
  EXPECT_EQ(config(mixtral)["num_hidden_layers"], 2);
  EXPECT_EQ(by_name(mixtral).size(), 3U + 2 * (7 + 3 * 3));

  const SyntheticModel vision = real_model("qwen2-vl-2b", {.divide = 64, .layers = 3}).value();
  EXPECT_TRUE(by_name(vision).contains("visual.blocks.2.norm1.weight"));
  EXPECT_FALSE(by_name(vision).contains("visual.blocks.3.norm1.weight"));
}

TEST(RealModel, OneLayerOfDeepseekHasExperts) {
  const RealModelOptions one{.divide = 64, .layers = 1, .experts = 2};
  const auto tensors = by_name(real_model("deepseek-v3", one).value());
  EXPECT_TRUE(tensors.contains("model.layers.0.mlp.experts.1.up_proj.weight"));
  EXPECT_TRUE(tensors.contains("model.layers.1.eh_proj.weight"));
  EXPECT_FALSE(tensors.contains("model.layers.0.mlp.up_proj.weight"));
}

TEST(RealModel, WhatCannotBeMadeIsAnErrorThatSaysWhy) {
  const auto unknown = real_model("gpt-5");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::kNotFound);
  EXPECT_THAT(unknown.error().message, testing::HasSubstr("mixtral-8x22b"));
  const auto none = real_model("gpt2", {.experts = 4});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::kUsage);
  EXPECT_THAT(none.error().message, testing::HasSubstr("no experts"));
}

}  // namespace
}  // namespace shardswarm::test
