// What is written: the same bytes for the same tensor, holes, changed tensors, files beside the
// weights, components.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "tests/support/temp_dir.h"
#include "tools/pipeline.h"
#include "tools/real_model.h"
#include "tools/synthetic.h"

namespace shardswarm::test {
namespace {

using Json = nlohmann::json;
using Content = std::map<std::string, std::vector<std::byte>>;

constexpr RealModelOptions kTiny{.divide = 64, .layers = 2, .experts = 4};

// Reads every tensor of one file.
void add_content(const std::filesystem::path& file, Content& content) {
  const auto bytes = read_file(file);
  const std::uint64_t length = safetensors_header_bytes(bytes).value();
  const auto header = parse_safetensors_header(std::span(bytes).first(length));
  ASSERT_TRUE(header) << file << ": " << header.error().message;
  ASSERT_EQ(header->header_bytes + header->data_bytes, bytes.size()) << file;
  for (const TensorInfo& tensor : header->tensors) {
    const auto at = std::span(bytes).subspan(length + tensor.begin, tensor.bytes());
    EXPECT_TRUE(content.emplace(tensor.name, std::vector(at.begin(), at.end())).second);
  }
}

Content written(const SyntheticModel& model, const WriteOptions& options = {}) {
  const TempDir dir;
  const auto done = write_checkpoint(model, dir.path(), 1, options);
  EXPECT_TRUE(done) << done.error().message;
  Content content;
  for (const auto& [path, tensors] : model.weight_files) add_content(dir / path, content);
  return content;
}

Json json_of(const std::filesystem::path& file) {
  const auto bytes = read_file(file);
  const char* text = reinterpret_cast<const char*>(bytes.data());
  return Json::parse(text, text + bytes.size());
}

TEST(WriteCheckpoint, EveryTableGivesValidFiles) {
  for (const std::string& name : real_model_names()) {
    SCOPED_TRACE(name);
    const SyntheticModel model = real_model(name, {.divide = 64, .layers = 1}).value();
    std::uint64_t bytes = 0;
    for (const auto& [tensor, content] : written(model)) bytes += content.size();
    EXPECT_EQ(bytes, tensor_bytes(model));
  }
}

TEST(WriteCheckpoint, ATensorHasTheSameBytesInAnyOrderAndFile) {
  const SyntheticModel model = real_model("mixtral-8x22b", kTiny).value();
  const Content content = written(model);
  SyntheticModel other = model;
  other.order = WriterOrder::kMlx;
  EXPECT_TRUE(written(other) == content);
  RealModelOptions split = kTiny;
  split.files = 7;
  EXPECT_TRUE(written(real_model("mixtral-8x22b", split).value()) == content);
}

TEST(WriteCheckpoint, OnlyWhatAGlobNamesIsChanged) {
  const SyntheticModel model = real_model("mixtral-8x22b", kTiny).value();
  const Content before = written(model);
  const Content after = written(model, {.change = {"model.layers.1.*", "*.q_proj.weight"}});
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, bytes] : before) {
    const bool changed = name.starts_with("model.layers.1.") || name.ends_with(".q_proj.weight");
    EXPECT_EQ(after.at(name) != bytes, changed) << name;
  }
}

TEST(WriteCheckpoint, ASparseCheckpointHasItsSizeButTakesNoSpace) {
  const TempDir dir;
  const SyntheticModel model = real_model("llama-3.1-8b-int8").value();
  ASSERT_TRUE(write_checkpoint(model, dir.path(), 1, {.sparse = true}));
  std::uint64_t bytes = 0;
  std::uint64_t taken = 0;
  for (const auto& [path, tensors] : model.weight_files) {
    struct stat status{};
    ASSERT_EQ(::stat((dir / path).c_str(), &status), 0);
    bytes += static_cast<std::uint64_t>(status.st_size);
    taken += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  EXPECT_GT(bytes, tensor_bytes(model));  // and the headers
  EXPECT_LT(bytes, tensor_bytes(model) + limits::kMiB);
  EXPECT_LT(taken, limits::kMiB);
  const Json index = json_of(dir / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 9'086'705'888);
  EXPECT_EQ(index["weight_map"].size(), 739U);
}

TEST(WriteCheckpoint, AConsolidatedFileStandsBesideAndInNoIndex) {
  const TempDir dir;
  SyntheticModel model = real_model("mixtral-8x22b", kTiny).value();
  ASSERT_GT(model.weight_files.size(), 1U);
  ASSERT_TRUE(add_consolidated(model));
  ASSERT_TRUE(write_checkpoint(model, dir.path(), 1));
  Content consolidated;
  add_content(dir / "consolidated.safetensors", consolidated);
  EXPECT_TRUE(consolidated.contains("layers.1.self_attn.q_proj.weight"));
  EXPECT_EQ(std::filesystem::file_size(dir / "original/consolidated.00.pth"), tensor_bytes(model));
  const Json index = json_of(dir / "model.safetensors.index.json");
  for (const auto& [name, file] : index["weight_map"].items()) {
    EXPECT_NE(file, "consolidated.safetensors") << name;
  }
}

TEST(WriteCheckpoint, WithoutAnIndexAConsolidatedFileIsRefused) {
  SyntheticModel model = real_model("gpt2", {.divide = 64}).value();
  const auto done = add_consolidated(model);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::kUsage);
}

TEST(WriteCheckpoint, APipelinesComponentsHaveFoldersAndIndexesOfTheirOwn) {
  const TempDir dir;
  const SyntheticModel model = diffusion_pipeline({.layers = 3, .files = 2});
  ASSERT_TRUE(write_checkpoint(model, dir.path(), 1));
  const Json index = json_of(dir / "transformer/diffusion_pytorch_model.safetensors.index.json");
  EXPECT_EQ(index["weight_map"]["proj_out.weight"],
            "diffusion_pytorch_model-00002-of-00002.safetensors");
  Content transformer;
  for (const std::string number : {"00001", "00002"}) {
    const std::string file = "diffusion_pytorch_model-" + number + "-of-00002.safetensors";
    add_content(dir / ("transformer/" + file), transformer);
  }
  EXPECT_EQ(index["weight_map"].size(), transformer.size());
  EXPECT_TRUE(transformer.contains("transformer_blocks.2.attn.to_q.weight"));
  EXPECT_FALSE(transformer.contains("transformer_blocks.3.attn.to_q.weight"));
  EXPECT_EQ(json_of(dir / "transformer/config.json")["num_layers"], 3);
  EXPECT_TRUE(json_of(dir / "model_index.json").contains("vae"));
  for (const std::string file : {"text_encoder/model.safetensors", "tokenizer/tokenizer.json",
                                 "vae/diffusion_pytorch_model.safetensors"}) {
    EXPECT_TRUE(std::filesystem::exists(dir / file)) << file;
  }
  for (const std::string folder : {"", "text_encoder/", "vae/"}) {
    EXPECT_FALSE(std::filesystem::exists(dir / (folder + "model.safetensors.index.json")));
  }
}

}  // namespace
}  // namespace shardswarm::test
