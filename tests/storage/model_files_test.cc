// Which files of a directory belong to its model, seen through the manifest that is made of them.
#include "storage/model_files.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/store.h"
#include "tests/storage/index_rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

using ModelFilesTest = IndexTest;

// --- which files belong ---

TEST_F(ModelFilesTest, DotFilesAndDotFoldersAreLeftOut) {
  write_tree(model_, files_);
  write_file(model_ / ".gitattributes", "x");
  write_file(model_ / ".cache" / "huggingface" / "a.lock", "x");
  write_file(model_ / "part" / ".hidden.safetensors", "no header");
  EXPECT_EQ(must(index()).manifest->id(), manifest_of(files_)->id());
}

// A hub cache: snapshots/<commit>/ holds links into blobs/.
TEST_F(ModelFilesTest, ASnapshotOfLinksIsTheModelThatTheyLeadTo) {
  int n = 0;
  for (const auto& [path, bytes] : files_) {
    const std::string blob = "blob" + std::to_string(n++);
    write_file(dir_ / "hub" / "blobs" / blob, bytes);
    const fs::path link = dir_ / "hub" / "snapshots" / "0a1b" / path;
    fs::create_directories(link.parent_path());
    const fs::path blobs = fs::path(path).has_parent_path() ? "../../../blobs" : "../../blobs";
    fs::create_symlink(blobs / blob, link);
  }
  model_ = dir_ / "hub" / "snapshots" / "0a1b";
  const auto report = must(index());
  EXPECT_EQ(report.manifest->id(), manifest_of(files_)->id());
  Rig rig;
  std::vector<std::string> warnings;
  const auto store = must(Store::open_source(
      rig.environment(), {.directory = model_, .state_directory = state_}, warnings));
  EXPECT_TRUE(store->have().complete());
  const PieceIndex last(report.manifest->piece_count() - 1);
  EXPECT_TRUE(same(rig.read_piece(*store, last), piece_of(files_, *report.manifest, last)));
}

// What cannot be read is named and left out: the id is that of the rest.
TEST_F(ModelFilesTest, LinksThatLeadNowhereAreLeftOut) {
  write_tree(model_, files_);
  fs::create_symlink(dir_ / "gone", model_ / "b.json");
  fs::create_symlink("itself", model_ / "itself");
  fs::create_directory_symlink(model_, model_ / "part" / "above");
  const auto report = must(index());
  EXPECT_EQ(report.manifest->id(), manifest_of(files_)->id());
  EXPECT_THAT(report.warnings,
              UnorderedElementsAre(HasSubstr("'b.json' is a link to nothing"),
                                   HasSubstr("'itself' is a link"),
                                   HasSubstr("'part/above/' is a link to a folder")));
}

// MAN-39: a link to a folder that is not above it is followed.
TEST_F(ModelFilesTest, ALinkToAnotherFolderIsFollowed) {
  write_tree(model_, files_);
  fs::create_directory_symlink(model_ / "part", model_ / "twin");
  files_["twin/b.safetensors"] = files_["part/b.safetensors"];
  const auto report = must(index());
  EXPECT_EQ(report.manifest->id(), manifest_of(files_)->id());
  EXPECT_THAT(report.warnings, IsEmpty());
}

TEST_F(ModelFilesTest, WhatIsNoFileIsLeftOut) {
  write_tree(model_, files_);
  ASSERT_EQ(::mkfifo((model_ / "pipe.json").c_str(), 0600), 0);
  fs::create_symlink("/dev/null", model_ / "device.safetensors");
  const auto report = must(index());
  EXPECT_EQ(report.manifest->id(), manifest_of(files_)->id());
  EXPECT_THAT(report.warnings, UnorderedElementsAre(HasSubstr("'pipe.json' is a named pipe"),
                                                    HasSubstr("'device.safetensors' is a device")));
}

// MAN-34
TEST_F(ModelFilesTest, NamesThatUnixAllowsTravel) {
  for (const char* name : {"new\nline.txt", "back\\slash.txt", "latin\xe9.txt", "tab\t.txt",
                           "\x1b[31m.json", "a b/\xff\xfe/c d", "-rf", "trailing . "}) {
    files_[name] = bytes_of(name);
  }
  write_tree(model_, files_);
  const auto report = must(index());
  EXPECT_EQ(report.manifest->id(), manifest_of(files_)->id());
  EXPECT_THAT(report.warnings, IsEmpty());
}

TEST_F(ModelFilesTest, SafetensorsThatAnIndexDoesNotNameAreSpare) {
  files_["model.safetensors.index.json"] =
      bytes_of(R"({"weight_map":{"model.layers.0.w":"./a.safetensors"}})");
  files_["consolidated.safetensors"] = safetensors({{"other", 1000}}, 8);
  write_tree(model_, files_);
  const auto report = must(index());
  const auto kind = [&](std::string_view path) {
    return report.manifest->file(file_named(*report.manifest, path)).kind;
  };
  EXPECT_EQ(kind("a.safetensors"), FileKind::kTensors);
  EXPECT_EQ(kind("consolidated.safetensors"), FileKind::kSpareTensors);
  EXPECT_EQ(kind("part/b.safetensors"), FileKind::kTensors) << "the index is of another folder";
  EXPECT_EQ(kind("model.safetensors.index.json"), FileKind::kPlain);
}

// MAN-65: the root says it, so that who fetches needs no index.
TEST_F(ModelFilesTest, CopiesOfTensorsStandInTheRoot) {
  files_["b.safetensors"] = safetensors({{"model.layers.0.scale", 3500}, {"z", 10}}, 9);
  files_["model.safetensors.index.json"] =
      bytes_of(R"({"weight_map":{"model.layers.0.w":"a.safetensors","z":"b.safetensors",)"
               R"("model.layers.0.scale":"b.safetensors"}})");
  write_tree(model_, files_);
  const auto manifest = must(index()).manifest;
  const FileIndex a = file_named(*manifest, "a.safetensors");
  EXPECT_TRUE(manifest->is_copy(a, TensorIndex(1)));
  EXPECT_THAT(manifest->file(a).copies, SizeIs(1));
  EXPECT_THAT(manifest->file(file_named(*manifest, "b.safetensors")).copies, IsEmpty());
  EXPECT_TRUE(must(index()).reused);
}

TEST_F(ModelFilesTest, AnIndexThatNamesAMissingShardNamesBoth) {
  files_["model.safetensors.index.json"] =
      bytes_of(R"({"weight_map":{"x":"a.safetensors","y":"model-00002.safetensors"}})");
  write_tree(model_, files_);
  expect_error(Errc::kMalformed, "model-00002.safetensors");
  expect_error(Errc::kMalformed, "model.safetensors.index.json");
}

// The weights are all there: a loader that needs the index says so itself.
TEST_F(ModelFilesTest, ABrokenIndexIsNamedAndPassedOver) {
  for (const char* json : {"", "{", "[]", "{}", R"({"weight_map":3})", R"({"weight_map":{"x":1}})",
                           R"({"weight_map":{"x":["a.safetensors"]}})"}) {
    SCOPED_TRACE(json);
    files_["model.safetensors.index.json"] = bytes_of(json);
    write_tree(model_, files_);
    const auto report = must(index());
    EXPECT_EQ(report.manifest->id(), manifest_of(files_)->id());
    EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("model.safetensors.index.json")));
  }
}

TEST_F(ModelFilesTest, AnIndexNeedsNoMetadata) {
  for (const char* metadata : {"", R"("metadata":null,)", R"("metadata":{"total_size":null},)",
                               R"("metadata":{"quantization_level":"4"},)"}) {
    files_["model.safetensors.index.json"] = bytes_of(
        "{" + std::string(metadata) + R"("weight_map":{"model.layers.0.w":"a.safetensors"}})");
    write_tree(model_, files_);
    EXPECT_THAT(must(index()).warnings, IsEmpty()) << metadata;
  }
}

// --- Git LFS ---

Bytes lfs_pointer() {
  return bytes_of("version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, '7') +
                  "\nsize 4976698672\n");
}

TEST_F(ModelFilesTest, APointerInPlaceOfTheWeightsIsRefused) {
  files_.clear();
  files_["config.json"] = bytes_of("{}");
  files_["model-00001-of-00002.safetensors"] = lfs_pointer();
  write_tree(model_, files_);
  expect_error(Errc::kMalformed, "git lfs pull");
  expect_error(Errc::kMalformed, "model-00001-of-00002.safetensors");
}

TEST_F(ModelFilesTest, PointersInPlaceOfWeightsOfOtherFormatsAreRefused) {
  files_.clear();
  files_["README.md"] = bytes_of("a model");
  files_["model-q4.gguf"] = lfs_pointer();
  write_tree(model_, files_);
  expect_error(Errc::kMalformed, "model-q4.gguf");
  // One that is there makes the others side files.
  files_["model-q8.gguf"] = noise(5000, 3);
  write_tree(model_, files_);
  const auto report = must(index());
  EXPECT_EQ(report.manifest->id(), manifest_of(files_)->id());
  EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("model-q4.gguf")));
}

TEST_F(ModelFilesTest, APointerBesideTheWeightsTravelsAndIsNamed) {
  files_["tokenizer.json"] = lfs_pointer();
  files_["onnx/model.onnx"] = lfs_pointer();
  write_tree(model_, files_);
  write_file(model_ / "consolidated.safetensors", lfs_pointer());
  const auto report = must(index());
  EXPECT_EQ(report.manifest->file_count(), files_.size() + 1);
  EXPECT_THAT(report.warnings,
              UnorderedElementsAre(HasSubstr("tokenizer.json"), HasSubstr("onnx/model.onnx"),
                                   HasSubstr("consolidated.safetensors")));
}

TEST_F(ModelFilesTest, NoDirectoryAndAnEmptyOneAreNotFound) {
  expect_error(Errc::kNotFound, model_.string());
  fs::create_directories(model_);
  expect_error(Errc::kNotFound, model_.string());
}

}  // namespace
}  // namespace shardswarm::test
