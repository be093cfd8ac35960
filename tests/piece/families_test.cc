// The outline and the stages of real model families, against tests/piece/families/*.json.
#include "tests/support/families.h"

#include <gmock/gmock.h>

#include <stdexcept>

#include "piece/outline.h"
#include "piece/selection.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::ElementsAre;

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

}  // namespace
}  // namespace shardswarm::test
