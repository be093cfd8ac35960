// The outline and the stages of real model families, against tests/piece/families/*.json.
#include "tests/support/families.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>

#include "piece/outline.h"
#include "piece/selection.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Names = std::set<std::string>;

TEST(FamiliesFormat, BracesStandForNumbers) {
  EXPECT_THAT(expanded("norm.weight"), ElementsAre("norm.weight"));
  EXPECT_THAT(expanded("h.{0-2,5}.w"), ElementsAre("h.0.w", "h.1.w", "h.2.w", "h.5.w"));
  EXPECT_THAT(expanded("h.{0-1}.e.{7}"), ElementsAre("h.0.e.7", "h.1.e.7"));
  EXPECT_THROW(expanded("h.{0-1.w"), std::runtime_error);
  EXPECT_THROW(expanded("h.{a}.w"), std::runtime_error);
}

TEST(FamiliesFormat, EachFamilyIsAModel) {
  ASSERT_FALSE(families().empty());
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Manifest manifest = manifest_of(family);
    const Outline outline = make_outline(manifest);
    EXPECT_EQ(outline.tensors.size(), family.tensors.size());
    const ResolvedSelection all = must(resolve({}, manifest, outline));
    EXPECT_TRUE(all.everything);
  }
}

// A family with its manifest and its outline.
struct Model {
  explicit Model(const Family& of)
      : family(of), manifest(manifest_of(of)), outline(make_outline(manifest)) {}

  Names brought_by(const Selection& selection) const {
    Names names;
    for (const TensorRows& run : must(resolve(selection, manifest, outline)).tensors) {
      names.insert(info_of(manifest, run).name);
    }
    return names;
  }

  Names named_by(const std::vector<std::string>& globs) const {
    Names names;
    for (const FamilyTensor& tensor : family.tensors) {
      if (named(globs, tensor.name)) names.insert(tensor.name);
    }
    return names;
  }

  // All tensors outside the layers of all stacks, as the outline sees them.
  Names outside() const {
    Names names;
    for (const OutlineTensor& tensor : outline.tensors) {
      if (tensor.stack == kNoStack) names.insert(outline.full_name(tensor, manifest));
    }
    return names;
  }

  const Family& family;
  Manifest manifest;
  Outline outline;
};

// One stage a layer, so that the first and the last have one layer each.
void expect_needs(const Model& model, const std::string& stack, const StackNeeds& needs) {
  SCOPED_TRACE(stack);
  const auto index = model.outline.find_stack(stack);
  ASSERT_TRUE(index);
  const std::uint32_t layers = model.outline.stacks[*index].layers;
  ASSERT_EQ(layers, needs.layers);
  ASSERT_THAT(layers, Ge(2U)) << "a fixture needs a first and a last stage";
  const auto stage = [&](std::uint32_t number, const std::vector<std::string>& globs) {
    SCOPED_TRACE("stage " + std::to_string(number) + " of " + std::to_string(layers));
    const Selection selection{.stages = {{number, layers}}, .stacks = {stack}};
    Names beside = model.brought_by(selection);
    std::erase_if(beside, [&](const std::string& name) {
      const auto unit = unit_of(name);
      return unit && unit->stack == stack && unit->index == number - 1;
    });
    EXPECT_EQ(beside, model.named_by(globs));
  };
  stage(1, needs.first);
  if (layers > 2) stage(2, needs.middle);
  if (layers > 3) stage(layers - 1, needs.middle);
  stage(layers, needs.last);
}

TEST(Families, StagesGetWhatTheirEnginesNeed) {
  EXPECT_THAT(families(), SizeIs(Ge(40U)));
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Model model(family);
    ASSERT_THAT(model.outline.stacks, Not(IsEmpty()));
    EXPECT_EQ(model.outline.stacks[0].name, family.main);
    for (const auto& [stack, needs] : family.stacks) expect_needs(model, stack, needs);
  }
}

// Without --stack the stages of the main stack together are the model.
TEST(Families, StagesOfTheMainStackAreTheWholeModel) {
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Model model(family);
    Names names;
    for (std::uint32_t stage = 1; stage <= 2; ++stage) {
      names.merge(model.brought_by({.stages = {{stage, 2}}}));
    }
    EXPECT_THAT(names, SizeIs(family.tensors.size()));
  }
}

// Engines such as exo want everything outside the layers on every rank.
TEST(Families, SharedAllBringsAllThatIsOutsideLayersToEachStack) {
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Model model(family);
    const Names outside = model.outside();
    for (const Stack& stack : model.outline.stacks) {
      const Selection selection{
          .layers = {{0, 0}}, .stacks = {stack.name}, .shared = SharedTensors::kAll};
      const Names got = model.brought_by(selection);
      EXPECT_TRUE(std::ranges::includes(got, outside)) << stack.name;
    }
  }
}

}  // namespace
}  // namespace shardswarm::test
