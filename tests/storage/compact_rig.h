// A model and a directory that is fetched into, dropped from and looked at.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "storage/holding.h"
#include "tests/storage/varied.h"

namespace shardswarm::test {

class CompactTest : public testing::Test {
 protected:
  void use(Files files) {
    files_ = std::move(files);
    manifest_ = manifest_of(files_);
    outline_ = make_outline(*manifest_);
  }
  Result<ResolvedSelection> resolved(const Selection& selection) const {
    return resolve(selection, *manifest_, outline_);
  }
  Result<std::shared_ptr<Store>> open(Rig& rig, const std::filesystem::path& directory,
                                      const Selection& selection, std::optional<Layout> layout = {},
                                      bool drop = false) const {
    const auto what = resolved(selection);
    if (!what) return std::unexpected(what.error());
    if (!layout && !std::filesystem::exists(directory / ".shardswarm")) layout = Layout::kCompact;
    return Store::open_target(
        rig.environment(),
        {.directory = directory, .layout = layout, .step = HoldingStep{drop, selection}}, manifest_,
        *what);
  }
  // To the end; bytes put.
  std::uint64_t fetch(const std::filesystem::path& directory, const Selection& selection,
                      std::optional<Layout> layout = {}) const {
    Rig rig;
    auto store = must(open(rig, directory, selection, layout));
    const std::uint64_t bytes = rig.put_missing(*store, store->wanted(), files_);
    must(rig.finish(*store));
    return bytes;
  }
  void drop(const std::filesystem::path& directory, const Selection& selection) const {
    Rig rig;
    auto store = must(open(rig, directory, selection, {}, true));
    EXPECT_TRUE((store->wanted() - store->have()).empty());
    must(rig.finish(*store));
  }
  std::uint64_t bytes_in(const PieceSet& pieces) const {
    std::uint64_t bytes = 0;
    pieces.for_each([&](PieceIndex piece) { bytes += manifest_->extent(piece).length; });
    return bytes;
  }
  TensorSet replayed(const std::vector<HoldingStep>& steps) const {
    return must(replay(steps, *manifest_, outline_));
  }
  // The directory holds just this, says so, and serves every piece with a byte of it.
  void expect_holds(const std::filesystem::path& directory, const TensorSet& set) const {
    const SeenTensors seen = look_into(directory, tensors_files(directory));
    expect_tensors(seen, originals(set, *manifest_, files_));
    expect_index_and_shard(directory, seen);
    expect_served(directory, set);
    EXPECT_TRUE(std::filesystem::is_empty(directory / ".shardswarm" / "incoming"));
  }
  void expect_served(const std::filesystem::path& directory, const TensorSet& set) const {
    Rig rig;
    PieceSet pieces(manifest_->piece_count());
    for (const TensorRows& rows : set) insert_pieces(rows, *manifest_, pieces);
    std::vector<std::string> warnings;
    const auto source = must(Store::open_source(
        rig.environment(), {.directory = directory, .state_directory = directory / "none"},
        warnings));
    EXPECT_TRUE(warnings.empty()) << warnings.front();
    EXPECT_EQ(source->progress().rechecked_bytes, 0U);
    pieces.for_each([&](PieceIndex piece) {
      ASSERT_TRUE(source->have().contains(piece)) << piece.value;
      EXPECT_TRUE(same(rig.read_piece(*source, piece), piece_of(files_, *manifest_, piece)));
    });
    EXPECT_EQ(problems(directory), std::vector<std::string>());
  }
  std::vector<std::string> problems(const std::filesystem::path& directory) const {
    Rig rig;
    return must(verify_directory(rig.environment(), directory, directory / "none", true)).wrong;
  }
  std::map<std::string, std::pair<std::uint64_t, std::int64_t>> marks(
      const std::filesystem::path& directory) const {
    std::map<std::string, std::pair<std::uint64_t, std::int64_t>> marks;
    for (const auto& path : tensors_files(directory)) marks[path] = mark_of(directory / path);
    return marks;
  }

  TempDir dir_;
  std::filesystem::path target_ = dir_ / "model";
  Files files_;
  std::shared_ptr<const Manifest> manifest_;
  Outline outline_;
};

// Two layers and what stands beside them, in two files. Slices cut through pieces: rows of 300
// bytes, two blocks of 1,201,500.
inline Files two_layers() {
  const auto matrix = [](std::string name) {
    return VariedTensor{.name = std::move(name), .dtype = Dtype::kU8, .shape = {8'010, 300}};
  };
  Files files;
  files["config.json"] = bytes_of("{\"num_hidden_layers\":2}");
  files["model.safetensors.index.json"] = bytes_of("{\"weight_map\":{}}");
  files["a.safetensors"] = safetensors_of({matrix("model.layers.0.w"),
                                           {"model.layers.0.b", Dtype::kBF16, {40}},
                                           {"model.embed_tokens.weight", Dtype::kF32, {10, 4}}},
                                          1, {{"format", "pt"}});
  files["b.safetensors"] = safetensors_of({matrix("model.layers.1.w"),
                                           {"model.layers.1.b", Dtype::kBF16, {40}},
                                           {"model.norm.weight", Dtype::kF32, {10}}},
                                          2, {{"format", "pt"}, {"more", "x"}});
  return files;
}

class TwoLayersTest : public CompactTest {
 protected:
  TwoLayersTest() { use(two_layers()); }
  PieceIndex piece_of_tensor(std::string_view path, std::string_view name,
                             std::uint32_t number = 0) const {
    for (const TensorEntry& tensor : manifest_->tensors(file_named(*manifest_, path))) {
      if (tensor.info.name == name) return PieceIndex(tensor.first_piece.value + number);
    }
    throw std::runtime_error("no such tensor in the test's model");
  }
  const Selection layer0_{.layers = {{0, 0}}};
  const Selection layer1_{.layers = {{1, 1}}};
  const Selection third_{.tensors = {"model.layers.0.w"}, .slices = {{"model.layers.0.w", 0, 3}}};
};

}  // namespace shardswarm::test
