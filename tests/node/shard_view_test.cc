// Reading the tensors of directories of every kind by name.
#include "node/shard_view.h"

#include <gmock/gmock.h>

#include "tests/storage/compact_rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ShardViewTest : public CompactTest {
 protected:
  ShardViewTest() {
    Files files = two_layers();
    files["model.safetensors.index.json"] = bytes_of(
        "{\"weight_map\":{\"model.layers.0.w\":\"a.safetensors\",\"model.layers.1.w\":"
        "\"b.safetensors\"}}");
    files["vae/d.safetensors"] =
        safetensors_of({{"model.norm.weight", Dtype::kF32, {4, 2}}, {"none", Dtype::kU8, {0}}}, 9);
    use(files);
  }
  static SeenTensors seen(const ShardView& view) {
    SeenTensors seen;
    for (const auto& [name, tensor] : view.tensors()) {
      seen.emplace(name, SeenTensor{.dtype = tensor.dtype,
                                    .shape = tensor.shape,
                                    .bytes = {tensor.bytes.begin(), tensor.bytes.end()},
                                    .file = tensor.file.string()});
      EXPECT_TRUE(fs::exists(tensor.file));
    }
    return seen;
  }
  void expect_view(const fs::path& directory, const Selection& selection) const {
    const auto view = ShardView::open(directory);
    ASSERT_TRUE(view) << view.error().message;
    expect_tensors(seen(*view), originals(must(resolved(selection)).tensors, *manifest_, files_));
  }
  Error error_of(const fs::path& directory) const {
    const auto view = ShardView::open(directory);
    EXPECT_FALSE(view);
    return view ? Error{} : view.error();
  }
};

TEST_F(ShardViewTest, EveryLayoutShowsTheTensorsThatAreThere) {
  const Selection layer{.layers = {{0, 0}}};
  fetch(dir_ / "compact", layer, Layout::kCompact);
  expect_view(dir_ / "compact", layer);
  fetch(dir_ / "mirror", layer, Layout::kMirror);
  expect_view(dir_ / "mirror", layer);
  for (const Layout layout : {Layout::kOriginal, Layout::kMirror, Layout::kCompact}) {
    const fs::path directory = dir_ / ("all-" + std::string(layout_name(layout)));
    fetch(directory, {}, layout);
    expect_view(directory, {});
  }
  write_tree(dir_ / "plain", files_);
  expect_view(dir_ / "plain", {});
}

TEST_F(ShardViewTest, ComponentsTensorsAreNamedAfterTheirFolder) {
  write_tree(dir_ / "plain", files_);
  const ShardView view = must(ShardView::open(dir_ / "plain"));
  const TensorView* main = view.find("model.norm.weight");
  const TensorView* other = view.find("vae/model.norm.weight");
  ASSERT_NE(main, nullptr);
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(main->shape, (std::vector<std::uint64_t>{10}));
  EXPECT_EQ(other->shape, (std::vector<std::uint64_t>{4, 2}));
  EXPECT_EQ(other->file, dir_ / "plain/vae/d.safetensors");
  EXPECT_EQ(view.find("nobody"), nullptr);
  EXPECT_TRUE(view.find("vae/none")->bytes.empty());
}

TEST_F(ShardViewTest, ASliceHasItsOwnShapeAndAMirrorDoesNotShowHalfATensor) {
  const Selection third{.tensors = {"model.layers.0.w", "model.layers.0.b"},
                        .slices = {{"model.layers.0.w", 0, 3}}};
  fetch(dir_ / "compact", third, Layout::kCompact);
  expect_view(dir_ / "compact", third);
  fetch(dir_ / "mirror", third, Layout::kMirror);
  expect_view(dir_ / "mirror", {.tensors = {"model.layers.0.b"}});
}

TEST_F(ShardViewTest, DroppedTensorsOfAMirrorAreNotShown) {
  fetch(target_, {}, Layout::kMirror);
  drop(target_, {.tensors = {"*.w"}});
  expect_view(target_, {.tensors = {"*"}, .excludes = {"*.w"}});
}

// What stands under a name of the model without a verified piece may be anything.
TEST_F(ShardViewTest, FilesOfOthersInAMirrorAreNotShown) {
  const Selection layer{.tensors = {"model.layers.0.*"}};
  fetch(target_, layer, Layout::kMirror);
  for (const char* name : {"b.safetensors", "vae/d.safetensors"}) {
    ASSERT_FALSE(fs::exists(target_ / name));
    fs::create_directories((target_ / name).parent_path());
    write_file(target_ / name, files_.at(name));  // the right bytes, but nobody vouches for them
  }
  expect_view(target_, layer);
  for (const char* name : {"b.safetensors", "vae/d.safetensors"}) {
    fs::resize_file(target_ / name, 9);
  }
  expect_view(target_, layer);
}

TEST_F(ShardViewTest, WhatWasCutOffAFileIsNotShown) {
  Files files = two_layers();
  files["c.safetensors"] = safetensors_of(
      {{"x", Dtype::kU8, {5000}}, {"y", Dtype::kU8, {5000}}, {"z", Dtype::kU8, {0}}}, 3);
  use(files);
  fetch(target_, {}, Layout::kMirror);
  fs::resize_file(target_ / "c.safetensors", files_.at("c.safetensors").size() - 1);
  expect_view(target_, {.tensors = {"*"}, .excludes = {"y", "z"}});
}

TEST_F(ShardViewTest, AConversionThatIsDueIsBusy) {
  for (const Layout layout : {Layout::kMirror, Layout::kCompact}) {
    fetch(dir_ / std::string(layout_name(layout)), {}, layout);
    write_file(dir_ / std::string(layout_name(layout)) / ".shardswarm/converted", "");
    EXPECT_EQ(error_of(dir_ / std::string(layout_name(layout))).code, Errc::kBusy);
  }
}

TEST_F(ShardViewTest, TheViewOutlivesTheDirectorysFiles) {
  fetch(target_, {}, Layout::kCompact);
  const ShardView view = must(ShardView::open(target_));
  const auto expected = originals(must(resolved({})).tensors, *manifest_, files_);
  fs::remove_all(target_);
  const TensorView* tensor = view.find("model.layers.0.w");
  EXPECT_TRUE(same(tensor->bytes, expected.at("model.layers.0.w").bytes));
}

TEST_F(ShardViewTest, ACompactDirectoryWithoutOurFolderIsReadable) {
  fetch(target_, {}, Layout::kCompact);
  fs::remove_all(target_ / ".shardswarm");
  expect_view(target_, {});
}

TEST_F(ShardViewTest, WhatIsNotCompleteIsNotFound) {
  {
    Rig rig;
    must(rig.finish(*must(open(rig, target_, {}, Layout::kCompact))));
  }
  EXPECT_EQ(error_of(target_).code, Errc::kNotFound);
  EXPECT_THAT(error_of(target_).message, HasSubstr(target_.string()));
  fetch(target_, {});
  flip_byte(target_ / "model-model.layers-0.safetensors", 5000);
  {
    Rig rig;
    must(open(rig, target_, {}));  // notices, mends nothing
  }
  EXPECT_EQ(error_of(target_).code, Errc::kNotFound);
  fetch(target_, {});
  expect_view(target_, {});
  EXPECT_EQ(error_of(dir_ / "nowhere").code, Errc::kNotFound);
}

TEST_F(ShardViewTest, DamageIsNamed) {
  fetch(target_, {}, Layout::kCompact);
  const std::string file = "model-model.layers-0.safetensors";
  const Bytes good = read_file(target_ / file);
  const auto expect_malformed = [&](const std::string& name) {
    EXPECT_EQ(error_of(target_).code, Errc::kMalformed);
    EXPECT_THAT(error_of(target_).message, HasSubstr(name));
  };
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{4095}, std::size_t{5000}, good.size() - 1}) {
    SCOPED_TRACE(size);
    write_file(target_ / file, std::span(good).first(size));
    expect_malformed(file);
  }
  write_file(target_ / file, good);
  flip_byte(target_ / file, 8);
  expect_malformed(file);
  fs::remove(target_ / file);
  EXPECT_FALSE(ShardView::open(target_));
  write_file(target_ / file, good);
  for (const char* text : {"", "[]", "{}", "{\"complete\":1,\"files\":[]}", "{\"complete\":true}",
                           "{\"complete\":true,\"files\":[{\"path\":7}]}",
                           "{\"complete\":true,\"files\":[{\"path\":\"../x.safetensors\"}]}",
                           "{\"complete\":true,\"files\":[{}]}"}) {
    SCOPED_TRACE(text);
    write_file(target_ / "shard.json", text);
    expect_malformed("shard.json");
  }
  // A file named twice holds each tensor twice.
  write_file(target_ / "shard.json", "{\"complete\":true,\"files\":[{\"path\":\"" + file +
                                         "\"},{\"path\":\"" + file + "\"}]}");
  expect_malformed("model.layers.0");
}

TEST_F(ShardViewTest, APlainDirectorysDamageIsNamed) {
  write_tree(target_, files_);
  fs::resize_file(target_ / "b.safetensors", files_.at("b.safetensors").size() - 1);
  EXPECT_EQ(error_of(target_).code, Errc::kMalformed);
  EXPECT_THAT(error_of(target_).message, HasSubstr("b.safetensors"));
}

// A changed piece is not verified, so its tensor is not shown.
TEST_F(ShardViewTest, ATensorThatChangedIsNotShown) {
  fetch(target_, {}, Layout::kOriginal);
  flip_byte(target_ / "a.safetensors", files_.at("a.safetensors").size() - 1);
  const ShardView view = must(ShardView::open(target_));
  EXPECT_EQ(view.find("model.embed_tokens.weight"), nullptr);
  EXPECT_NE(view.find("model.layers.0.w"), nullptr);
}

}  // namespace
}  // namespace shardswarm::test
