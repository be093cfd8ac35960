// Which files a compact directory has, over random models and random sequences of what it is to
// hold.
#include "storage/compact_plan.h"

#include <gmock/gmock.h>

#include <map>
#include <random>
#include <set>

#include "base/limits.h"
#include "storage/compact_files.h"
#include "storage/placement.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using testing::HasSubstr;
using Random = std::mt19937_64;

std::uint64_t below(Random& random, std::uint64_t end) { return random() % end; }

TensorRows whole(const Manifest& manifest, FileIndex file, TensorIndex tensor) {
  return {file, tensor, {0, row_count(manifest.tensors(file)[tensor.value].info)}};
}

// Every tensor of the kTensors files, whole.
TensorSet all_of(const Manifest& manifest) {
  TensorSet set;
  for (std::uint32_t f = 0; f < manifest.file_count(); ++f) {
    if (manifest.file(FileIndex(f)).kind != FileKind::kTensors) continue;
    for (std::uint32_t t = 0; t < manifest.tensors(FileIndex(f)).size(); ++t) {
      set.push_back(whole(manifest, FileIndex(f), TensorIndex(t)));
    }
  }
  return set;
}

std::vector<std::uint64_t> random_shape(Random& random) {
  switch (below(random, 6)) {
    case 0:
      return {};
    case 1:
      return {0, 3};
    case 2:
      return {below(random, 40) + 1};
    default:
      return {below(random, 40) + 1, (below(random, 20) + 1) * 2};
  }
}

// Several stacks, components, files and dtypes; names that are odd.
Manifest random_model(Random& random) {
  static const std::vector<std::string> folders = {"", "vae/", "text encoder/"};
  static const std::vector<std::string> stacks = {"model.layers", "blocks/of", "h\xc3\xa9",
                                                  std::string(150, 'x')};
  static const std::vector<Dtype> dtypes = {Dtype::kU8, Dtype::kBF16, Dtype::kF32, Dtype::kF4};
  ModelBuilder builder;
  builder.plain("config.json", 10);
  const std::uint64_t components = below(random, folders.size()) + 1;
  for (std::uint64_t c = 0; c < components; ++c) {
    std::map<std::uint64_t, std::vector<TensorSpec>> files;
    const std::uint64_t of_files = below(random, 3) + 1;
    const auto add = [&](const std::string& name) {
      TensorSpec spec{.name = name, .shape = random_shape(random)};
      spec.dtype = dtypes[below(random, dtypes.size())];
      if (spec.shape.size() < 2) spec.dtype = Dtype::kU8;
      files[below(random, of_files)].push_back(spec);
    };
    add("embed/tokens");
    add("norm");
    for (std::uint64_t s = 0; s < below(random, stacks.size()) + 1; ++s) {
      for (std::uint64_t layer = 0; layer < below(random, 4) + 1; ++layer) {
        const std::string prefix = stacks[s] + "." + std::to_string(layer) + ".";
        for (std::uint64_t t = 0; t < below(random, 3) + 1; ++t) add(prefix + std::to_string(t));
      }
    }
    // A plain file where a unit's file would be.
    if (below(random, 3) == 0) builder.plain(folders[c] + "model-outside.safetensors", 5);
    for (const auto& [number, tensors] : files) {
      builder.tensors(folders[c] + "part-" + std::to_string(number) + ".safetensors", tensors);
    }
  }
  return builder.build();
}

TensorSet random_needed(Random& random, const Manifest& manifest) {
  TensorSet needed;
  const std::uint64_t share = below(random, 4) + 1;
  for (TensorRows rows : all_of(manifest)) {
    if (below(random, 4) >= share) continue;
    const TensorInfo& info = info_of(manifest, rows);
    const std::uint64_t count = rows.rows.end;
    if (below(random, 3) == 0 && row_bytes(info).value_or(0) > 0 && count > 1) {
      rows.rows.begin = below(random, count);
      rows.rows.end = rows.rows.begin + 1 + below(random, count - rows.rows.begin);
    }
    needed.push_back(rows);
  }
  return needed;
}

const CompactFile* numbered(const std::vector<CompactFile>& files, std::uint32_t number) {
  const auto at = std::ranges::find(files, number, &CompactFile::number);
  return at == files.end() ? nullptr : &*at;
}

// What must hold of every plan.
void expect_sound(const Manifest& manifest, const Holding& before, const Holding& after,
                  const TensorSet& needed, bool purge) {
  std::map<std::pair<FileIndex, TensorIndex>, Rows> placed;
  std::set<std::string> paths;
  std::set<std::uint32_t> numbers;
  for (const auto* files : {&after.files, &after.superseded}) {
    for (const CompactFile& file : *files) {
      EXPECT_TRUE(check_path(file.path)) << file.path;
      EXPECT_LE(file.path.size() - (file.path.rfind('/') + 1), 255U) << file.path;
      EXPECT_TRUE(paths.insert(file.path).second) << file.path << " is named twice";
      EXPECT_FALSE(manifest.find_file(file.path)) << file.path;
      EXPECT_TRUE(numbers.insert(file.number).second) << file.number << " is given twice";
      EXPECT_GE(file.number, first_compact_number(manifest));
      EXPECT_LT(file.number, after.next_number);
      EXPECT_FALSE(file.tensors.empty());
      const CompactFile* was = numbered(before.files, file.number);
      if (was == nullptr) was = numbered(before.superseded, file.number);
      if (was == nullptr) {
        EXPECT_GE(file.number, before.next_number) << "a number that was given before";
      } else {
        EXPECT_EQ(*was, file) << "a number means the same for ever";
      }
    }
  }
  for (const CompactFile& file : after.files) {
    for (const TensorRows& rows : file.tensors) {
      EXPECT_TRUE(placed.emplace(std::pair(rows.file, rows.tensor), rows.rows).second)
          << file.path << ": a tensor in two files";
    }
  }
  for (const TensorRows& rows : needed) {
    const auto at = placed.find({rows.file, rows.tensor});
    ASSERT_NE(at, placed.end());
    EXPECT_EQ(at->second, rows.rows);
  }
  if (purge) {
    EXPECT_EQ(placed.size(), needed.size());
  }
  // Nothing vanishes: each file of before is there still, or is to be removed.
  for (const auto* files : {&before.files, &before.superseded}) {
    for (const CompactFile& file : *files) {
      EXPECT_TRUE(numbered(after.files, file.number) || numbered(after.superseded, file.number));
    }
  }
  for (const CompactFile& old : after.superseded) {
    const bool replaced = std::ranges::any_of(old.tensors, [&](const TensorRows& rows) {
      return placed.contains({rows.file, rows.tensor});
    });
    EXPECT_TRUE(purge || replaced) << "others' unfinished files stay";
  }
  EXPECT_EQ(after.steps, before.steps);
}

// Files of before with needed tensors only, with just their rows, are not written again.
void expect_kept(const Holding& before, const Holding& after, const TensorSet& needed) {
  for (const CompactFile& file : before.files) {
    const bool fits = std::ranges::all_of(file.tensors, [&](const TensorRows& rows) {
      return std::ranges::binary_search(needed, rows);
    });
    if (fits) {
      EXPECT_NE(numbered(after.files, file.number), nullptr) << file.path;
    }
  }
}

TEST(CompactPlanTest, EverySequenceOfNeedsHasSoundPlans) {
  Random random(20'260'101);
  for (int round = 0; round < 300 && !testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(round);
    const Manifest manifest = random_model(random);
    const Outline outline = make_outline(manifest);
    Holding holding;
    std::set<std::uint32_t> standing;
    const auto stands = [&](const CompactFile& file) { return standing.contains(file.number); };
    for (int step = 0; step < 8 && !testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE(step);
      const TensorSet needed = random_needed(random, manifest);
      const bool purge = below(random, 4) == 0;
      const auto planned = plan_compact(manifest, outline, holding, needed, stands, purge);
      ASSERT_TRUE(planned) << planned.error().message;
      expect_sound(manifest, holding, *planned, needed, purge);
      // Only while all of before stands and nothing is superseded do candidates not compete.
      const bool settled = holding.superseded.empty() && std::ranges::all_of(holding.files, stands);
      if (settled) expect_kept(holding, *planned, needed);
      EXPECT_TRUE(Placement::compact(manifest, planned->files, planned->next_number));
      holding = *planned;
      // The fetch completes, or is stopped with some files named.
      const bool completes = below(random, 2) == 0;
      for (const CompactFile& file : holding.files) {
        if (completes || below(random, 2) == 0) standing.insert(file.number);
      }
      if (completes) holding.superseded.clear();
    }
  }
}

TEST(CompactPlanTest, TheSamePlanTwiceChangesNothing) {
  Random random(7);
  for (int round = 0; round < 100 && !testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(round);
    const Manifest manifest = random_model(random);
    const Outline outline = make_outline(manifest);
    const auto nothing_stands = [](const CompactFile&) { return false; };
    Holding holding = must(plan_compact(manifest, outline, {}, random_needed(random, manifest),
                                        nothing_stands, false));
    const TensorSet needed = random_needed(random, manifest);
    holding = must(plan_compact(manifest, outline, holding, needed, nothing_stands, false));
    const auto old = holding.superseded;
    const auto stands = [&](const CompactFile& file) {
      return numbered(old, file.number) != nullptr;  // interrupted before anything got its name
    };
    EXPECT_EQ(must(plan_compact(manifest, outline, holding, needed, stands, false)), holding);
  }
}

class SmallPlanTest : public testing::Test {
 protected:
  Result<Holding> plan(const Holding& before, TensorSet needed, bool purge = false) const {
    return plan_compact(
        manifest_, outline_, before, normalized(std::move(needed)),
        [](const CompactFile&) { return true; }, purge);
  }
  TensorRows tensor(std::uint32_t index, std::uint64_t begin = 0, std::uint64_t end = 8) const {
    return {*manifest_.find_file("a.safetensors"), TensorIndex(index), {begin, end}};
  }
  Manifest manifest_ = ModelBuilder()
                           .plain("config.json", 5)
                           .tensors("a.safetensors", {{"model.layers.0.w", {8, 4}},
                                                      {"model.layers.0.z", {8, 4}},
                                                      {"model.layers.1.w", {8, 4}},
                                                      {"norm", {8}}})
                           .build();
  Outline outline_ = make_outline(manifest_);
};

TEST_F(SmallPlanTest, UnitsHaveAFileEachNamedAfterThem) {
  const auto planned = must(plan({}, {tensor(0), tensor(1), tensor(2), tensor(3)}));
  std::set<std::string> paths;
  for (const CompactFile& file : planned.files) paths.insert(file.path);
  EXPECT_EQ(paths,
            (std::set<std::string>{"a-model.layers-0.safetensors", "a-model.layers-1.safetensors",
                                   "a-outside.safetensors"}));
  EXPECT_TRUE(planned.superseded.empty());
}

TEST_F(SmallPlanTest, AnotherTensorOfAUnitGoesIntoAFileOfItsOwn) {
  const auto first = must(plan({}, {tensor(0)}));
  const auto second = must(plan(first, {tensor(0), tensor(1)}));
  ASSERT_EQ(second.files.size(), 2U);
  EXPECT_EQ(second.files[0], first.files[0]);
  EXPECT_EQ(second.files[1].path, "a-model.layers-0-2.safetensors");
  EXPECT_TRUE(second.superseded.empty());
}

TEST_F(SmallPlanTest, OnlyTheFileOfARangeThatGrowsIsWrittenAgain) {
  const auto first = must(plan({}, {tensor(0, 0, 4), tensor(2)}));
  const auto second = must(plan(first, {tensor(0, 0, 6), tensor(2)}));
  ASSERT_EQ(second.superseded.size(), 1U);
  EXPECT_EQ(second.superseded[0].tensors, std::vector<TensorRows>{tensor(0, 0, 4)});
  EXPECT_EQ(second.files[0], first.files[1]);
}

TEST_F(SmallPlanTest, ADropCutsOnlyTheFilesThatItTouches) {
  const auto first = must(plan({}, {tensor(0), tensor(1), tensor(2), tensor(3)}));
  const auto second = must(plan(first, {tensor(0), tensor(3)}, true));
  ASSERT_EQ(second.superseded.size(), 2U);
  ASSERT_EQ(second.files.size(), 2U);
  EXPECT_NE(numbered(second.files, numbered(first.files, second.files[0].number)->number), nullptr);
  const auto none = must(plan(second, {}, true));
  EXPECT_TRUE(none.files.empty());
  EXPECT_EQ(none.superseded.size(), 4U);
  EXPECT_EQ(none.next_number, second.next_number);
}

TEST_F(SmallPlanTest, RowsThatAreNoOneRunAreRefused) {
  const auto planned = plan({}, {tensor(0, 0, 2), tensor(0, 4, 6)});
  ASSERT_FALSE(planned);
  EXPECT_EQ(planned.error().code, Errc::kUsage);
  EXPECT_THAT(planned.error().message,
              testing::AllOf(HasSubstr("model.layers.0.w"), HasSubstr("mirror")));
}

TEST(CompactPlanTest, OneNameTwiceInAComponentIsRefusedAndInTwoComponentsIsNot) {
  for (const std::string other : {"b.safetensors", "vae/b.safetensors"}) {
    const Manifest manifest = ModelBuilder()
                                  .tensors("a.safetensors", {{"w", {4}}, {"x", {4}}})
                                  .tensors(other, {{"w", {4}}})
                                  .build();
    const auto planned = plan_compact(
        manifest, make_outline(manifest), {}, all_of(manifest),
        [](const CompactFile&) { return true; }, false);
    if (other.starts_with("vae/")) {
      ASSERT_TRUE(planned) << planned.error().message;
      EXPECT_EQ(planned->files.size(), 2U);
      continue;
    }
    ASSERT_FALSE(planned);
    EXPECT_EQ(planned.error().code, Errc::kUsage);
    EXPECT_THAT(planned.error().message, testing::AllOf(HasSubstr("'w'"), HasSubstr("mirror")));
  }
}

// A file name has at most 255 bytes, and an index's ending is longer than a tensors file's.
TEST(CompactPlanTest, LongNamesOfTheOriginalMakeNamesThatFileSystemsTake) {
  const std::string only(243, 'n');
  const std::string indexed(232, 'i');
  const Manifest manifest = ModelBuilder()
                                .tensors(only + ".safetensors", {{"layers.0.w", {4}}, {"n", {4}}})
                                .plain("vae/" + indexed + ".safetensors.index.json", 7)
                                .tensors("vae/a.safetensors", {{"layers.0.w", {4}}, {"n", {4}}})
                                .build();
  const auto planned = must(plan_compact(
      manifest, make_outline(manifest), {}, all_of(manifest),
      [](const CompactFile&) { return true; }, false));
  expect_sound(manifest, {}, planned, all_of(manifest), false);
  for (const TextFile& index : compact_indexes(manifest, planned.files)) {
    EXPECT_LE(index.path.size() - (index.path.rfind('/') + 1), 255U) << index.path;
  }
}

// A path that load_holding would not take must not be planned.
TEST(CompactPlanTest, AFolderTooDeepForFurtherNamesIsRefused) {
  std::string folder;
  while (folder.size() < 1000) folder += std::string(99, 'f') + "/";
  const Manifest manifest =
      ModelBuilder().tensors(folder + "a.safetensors", {{"model.layers.0.w", {4}}}).build();
  const auto planned = plan_compact(
      manifest, make_outline(manifest), {}, all_of(manifest),
      [](const CompactFile&) { return true; }, false);
  ASSERT_FALSE(planned);
  EXPECT_EQ(planned.error().code, Errc::kUsage);
}

TEST(CompactPlanTest, StacksThatLookAlikeInFileNamesAreKeptApart) {
  const Manifest manifest =
      ModelBuilder()
          .tensors("a.safetensors", {{"x/y.0.w", {4}}, {"x_y.0.w", {4}}, {"x:y.0.w", {4}}})
          .build();
  const auto planned = must(plan_compact(
      manifest, make_outline(manifest), {}, all_of(manifest),
      [](const CompactFile&) { return true; }, false));
  EXPECT_EQ(planned.files.size(), 3U);
  expect_sound(manifest, {}, planned, all_of(manifest), false);
}

}  // namespace
}  // namespace shardswarm::test
