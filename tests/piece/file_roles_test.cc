// Which plain files come with every part of a model, and what is said of those that do not.
#include "piece/file_roles.h"

#include <gmock/gmock.h>

#include <map>
#include <string>
#include <vector>

#include "base/limits.h"
#include "piece/outline.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using limits::kMiB;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::map<std::string, FileRole> roles_of(const std::vector<std::string>& paths,
                                         std::uint64_t size = 5) {
  ModelBuilder builder;
  for (const std::string& path : paths) builder.plain(path, size);
  const ManifestRoot root = builder.root();
  const std::vector<FileRole> roles = file_roles(root);
  std::map<std::string, FileRole> by_path;
  for (std::size_t i = 0; i < roles.size(); ++i) by_path[root.files[i].path] = roles[i];
  return by_path;
}

void expect_role(FileRole role, const std::vector<std::string>& paths, std::uint64_t size = 5) {
  for (const auto& [path, found] : roles_of(paths, size)) {
    EXPECT_EQ(static_cast<int>(found), static_cast<int>(role)) << path;
  }
}

TEST(FileRoles, WeightsOfOtherFormatsAreKnownByName) {
  expect_role(FileRole::kOtherFormat,
              {"pytorch_model.bin",
               "pytorch_model-00001-of-00002.bin",
               "consolidated.00.pth",
               "optimizer.pt",
               "model.ckpt",
               "model-Q4_K_M.gguf",
               "MODEL.GGUF",
               "ggml-model.ggml",
               "llava.llamafile",
               "rust_model.ot",
               "tf_model.h5",
               "flax_model.msgpack",
               "saved_model/saved_model.pb",
               "saved_model/variables/variables.index",
               "saved_model/variables/variables.data-00000-of-00001",
               "bert_model.ckpt.index",
               "bert_model.ckpt.meta",
               "bert_model.ckpt.data-00000-of-00001",
               "model.ckpt-1000.data-00000-of-00001",
               "weights.npz",
               "model.tflite",
               "gemma.task",
               "gemma.litertlm",
               "model.nemo",
               "model_state.pdparams",
               "rank0.engine",
               "Model.mlmodel",
               "coreml/model.mlpackage/Manifest.json",
               "coreml/model.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
               "coreml/model.mlmodelc/model.mil",
               "onnx/model.onnx",
               "onnx/model.onnx_data",
               "onnx/model.onnx_data_1",
               "onnx/model.onnx_data_12",
               "onnx/model.onnx.data",
               "onnx/onnx__MatMul_1234",
               "params_shard_0.bin",
               "ndarray-cache.json"});
}

TEST(FileRoles, NoHalfOfAPairComes) {
  // OpenVINO's and ncnn's descriptions beside their numbers, and lists of files of another format.
  expect_role(
      FileRole::kOtherFormat,
      {"openvino_model.xml", "openvino_model.bin", "ncnn/model.param", "ncnn/model.bin",
       "tokenizer.xml", "tokenizer.bin", "pytorch_model.bin.index.json", "tf_model.h5.index.json"});
  // Without the other half they are files like others.
  const auto alone = roles_of({"layout.xml", "sub/model.bin", "model.param"});
  EXPECT_EQ(alone.at("layout.xml"), FileRole::kSmall);
  EXPECT_EQ(alone.at("model.param"), FileRole::kSmall);
}

TEST(FileRoles, ConfigurationComesWhateverItsSize) {
  const std::vector<std::string> files = {"config.json",        "tokenizer.json",
                                          "sub/tokenizer.json", "tokenizer.model.v3",
                                          "Tokenizer.JSON",     "tokenizer.bin",
                                          "merges.txt",         "vocab.txt",
                                          "spiece.model",       "sentencepiece.bpe.model",
                                          "qwen.tiktoken",      "chat_template.jinja",
                                          "modeling_x.py",      "model.safetensors.index.json",
                                          "generation.yaml"};
  expect_role(FileRole::kConfiguration, files);
  expect_role(FileRole::kConfiguration, files, 70 * kMiB);
}

TEST(FileRoles, OtherFilesComeUpTo64MiB) {
  const std::vector<std::string> files = {"README.md",  "LICENSE",      "bin",    "data.bin.txt.gz",
                                          "figure.png", "notes.binary", "x.index"};
  expect_role(FileRole::kSmall, files, limits::kSmallFileBytesMax);
  expect_role(FileRole::kLarge, files, limits::kSmallFileBytesMax + 1);
}

TEST(FileRoles, KnowSafetensorsByTheirKind) {
  const Manifest manifest = ModelBuilder()
                                .tensors("a.safetensors", {{"w", {1}}})
                                .tensors("b.safetensors", {{"w", {1}}}, FileKind::kSpareTensors)
                                .build();
  EXPECT_THAT(file_roles(manifest.root()), ElementsAre(FileRole::kTensors, FileRole::kSecondCopy));
}

// A pipeline of two components with files of every reason.
const Manifest& roles_model() {
  static const Manifest manifest =
      ModelBuilder()
          .plain("a-Q4.gguf", 100)
          .plain("b-Q8.gguf", 200)
          .plain("config.json", 5)
          .plain("demo [1].mp4", 65 * kMiB)
          .tensors("consolidated.safetensors", {{"w", {7}}}, FileKind::kSpareTensors)
          .tensors("transformer/m.safetensors", {{"blocks.0.w", {90}}, {"blocks.1.w", {90}}})
          .tensors("vae/m.safetensors", {{"conv_in.weight", {3}}})
          .build();
  return manifest;
}

LeftOutReport report(const Selection& selection) {
  return report_left_out(must(resolve(selection, roles_model(), make_outline(roles_model()))),
                         roles_model());
}

TEST(LeftOut, NamesEachFileWithItsReasonAndTheFlagThatBringsIt) {
  const LeftOutReport left = report({.layers = {{0, 0}}});
  const auto size = [](const char* path) {
    return roles_model().file(roles_model().find_file(path).value()).size;
  };
  const std::uint64_t spare = size("consolidated.safetensors");
  const std::uint64_t vae = size("vae/m.safetensors");
  EXPECT_THAT(left.files,
              ElementsAre(LeftOut{"a-Q4.gguf", 100, WhyLeftOut::kOtherFormat},
                          LeftOut{"b-Q8.gguf", 200, WhyLeftOut::kOtherFormat},
                          LeftOut{"consolidated.safetensors", spare, WhyLeftOut::kSecondCopy},
                          LeftOut{"demo [1].mp4", 65 * kMiB, WhyLeftOut::kLarge},
                          LeftOut{"vae/m.safetensors", vae, WhyLeftOut::kComponent}));
  EXPECT_EQ(left.bytes, 300 + spare + 65 * kMiB + vae);
  EXPECT_EQ(left.flags,
            "--files '*.gguf' --files 'consolidated.safetensors' --files 'demo [[]1].mp4' "
            "--tensors 'vae/*'");
}

TEST(LeftOut, IsBroughtByItsFlags) {
  const LeftOutReport none =
      report({.layers = {{0, 0}},
              .tensors = {"vae/*"},
              .files = {"*.gguf", "consolidated.safetensors", "demo [[]1].mp4"}});
  EXPECT_THAT(none.files, IsEmpty());
  EXPECT_EQ(none.bytes, 0U);
  EXPECT_EQ(none.flags, "");
  EXPECT_THAT(report({}).files, IsEmpty());
}

TEST(LeftOut, OfManyKindsIsBroughtByOneFlag) {
  ModelBuilder builder;
  for (const char* name : {"a.gguf", "b.bin", "c.pt", "d.onnx", "e.h5"}) builder.plain(name, 1);
  const Manifest manifest = builder.tensors("m.safetensors", {{"l.0.w", {1}}}).build();
  const ResolvedSelection part =
      must(resolve({.layers = {{0, 0}}}, manifest, make_outline(manifest)));
  EXPECT_EQ(report_left_out(part, manifest).flags, "--files '*'");
}

TEST(LeftOut, ReasonsHaveStableNames) {
  EXPECT_EQ(why_name(WhyLeftOut::kOtherFormat), "other_format");
  EXPECT_EQ(why_name(WhyLeftOut::kLarge), "large");
  EXPECT_EQ(why_name(WhyLeftOut::kSecondCopy), "second_copy");
  EXPECT_EQ(why_name(WhyLeftOut::kComponent), "component");
  EXPECT_EQ(why_text(WhyLeftOut::kLarge), "larger than 64 MiB");
}

}  // namespace
}  // namespace shardswarm::test
