// How selections are written: ranges, stages, globs.
#include <gmock/gmock.h>

#include <random>
#include <string>

#include "piece/selection.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(LayerRangeText, IsARangeOrOneLayer) {
  EXPECT_EQ(must(parse_layer_range("8-15")), (LayerRange{8, 15}));
  EXPECT_EQ(must(parse_layer_range("0-0")), (LayerRange{0, 0}));
  EXPECT_EQ(must(parse_layer_range("7")), (LayerRange{7, 7}));
  EXPECT_EQ(must(parse_layer_range("0-4294967295")), (LayerRange{0, ~0U}));
}

TEST(LayerRangeText, OfAnotherFormIsRefusedWithAnExample) {
  for (const char* text : {"",    "-",   "8-",         "-8",           "15-8",
                           "a",   "8-b", "1-2-3",      "8--15",        "8..15",
                           "8,9", " 8",  "8 ",         "8 - 15",       "+8",
                           "0x8", "8.0", "4294967296", "0-4294967296", "99999999999999999999"}) {
    const auto range = parse_layer_range(text);
    ASSERT_FALSE(range) << text;
    EXPECT_EQ(range.error().code, Errc::kUsage) << text;
    EXPECT_THAT(range.error().message,
                AllOf(HasSubstr("'" + std::string(text) + "'"), HasSubstr("8-15")));
  }
}

TEST(StageText, IsOneOfSeveralCountedFromOne) {
  EXPECT_EQ(must(parse_stage("2/4")), (Stage{2, 4}));
  EXPECT_EQ(must(parse_stage("1/1")), (Stage{1, 1}));
  EXPECT_EQ(must(parse_stage("4/4")), (Stage{4, 4}));
}

TEST(StageText, OfAnotherFormIsRefusedWithAnExample) {
  for (const char* text : {"", "/", "2", "2/", "/4", "0/4", "5/4", "0/0", "1/0", "a/b", "2/4/8",
                           "-1/4", "2 /4", "2/4 ", "1/4294967296", "2of4"}) {
    const auto stage = parse_stage(text);
    ASSERT_FALSE(stage) << text;
    EXPECT_EQ(stage.error().code, Errc::kUsage) << text;
    EXPECT_THAT(stage.error().message,
                AllOf(HasSubstr("'" + std::string(text) + "'"), HasSubstr("2/4")));
  }
}

TEST(ExpertRangeText, IsARangeOrOneExpert) {
  EXPECT_EQ(must(parse_expert_range("0-31")), (ExpertRange{0, 31}));
  EXPECT_EQ(must(parse_expert_range("7")), (ExpertRange{7, 7}));
  for (const char* text : {"", "-", "3-2", "a", "1-2-3", " 1"}) {
    const auto range = parse_expert_range(text);
    ASSERT_FALSE(range) << text;
    EXPECT_EQ(range.error().code, Errc::kUsage) << text;
    EXPECT_THAT(range.error().message,
                AllOf(HasSubstr("'" + std::string(text) + "'"), HasSubstr("0-31")));
  }
}

TEST(SliceText, IsAGlobWithARankCountedFromZero) {
  EXPECT_EQ(must(parse_slice("*.q_proj.weight:0/2")), (Slice{"*.q_proj.weight", 0, 2}));
  EXPECT_EQ(must(parse_slice("a:b:3/4")), (Slice{"a:b", 3, 4}));
  EXPECT_EQ(must(parse_slice("*:0/1")), (Slice{"*", 0, 1}));
}

TEST(SliceText, OfAnotherFormIsRefusedWithAnExample) {
  for (const char* text : {"", ":", ":0/2", "w", "w:", "w:0", "w:0/", "w:/2", "w:2/2", "w:0/0",
                           "w:-1/2", "w:0/2 ", "0/2", "w:0/2:"}) {
    const auto slice = parse_slice(text);
    ASSERT_FALSE(slice) << text;
    EXPECT_EQ(slice.error().code, Errc::kUsage) << text;
    EXPECT_THAT(slice.error().message, AllOf(HasSubstr("'" + std::string(text) + "'"),
                                             HasSubstr("'*.q_proj.weight:0/2'")));
  }
}

struct Glob {
  const char* pattern;
  const char* text;
  bool matches;
};

void expect_globs(const std::vector<Glob>& globs) {
  for (const Glob& glob : globs) {
    EXPECT_EQ(glob_match(glob.pattern, glob.text), glob.matches)
        << "'" << glob.pattern << "' on '" << glob.text << "'";
  }
}

TEST(Globs, MatchTheWholeText) {
  expect_globs({{"", "", true},
                {"", "a", false},
                {"a", "", false},
                {"abc", "abc", true},
                {"abc", "abcd", false},
                {"bc", "abc", false},
                {"ABC", "abc", false}});
}

TEST(Globs, StarMatchesAnyRunAlsoOfDotsAndSlashes) {
  expect_globs({{"*", "", true},
                {"*", "a/b.c", true},
                {"**", "a/b.c", true},
                {"*.bin", "sub/pytorch_model.bin", true},
                {"*.bin", ".bin", true},
                {"*.bin", "a.bin.txt", false},
                {"model.layers.*.w", "model.layers.7.mlp.w", true},
                {"a*b*c", "a__b__bc", true},
                {"a*b*c", "a__b__bd", false},
                {"*ab", "aab", true},
                {"*aab*", "aaab", true},
                {"a*", "ba", false}});
}

TEST(Globs, QuestionMarkMatchesOne) {
  expect_globs({{"?", "a", true},
                {"?", "", false},
                {"?", "ab", false},
                {"a?c", "a.c", true},
                {"a?c", "a/c", true},
                {"?*", "a", true},
                {"*?", "", false}});
}

TEST(Globs, SetsMatchOneOfTheirCharacters) {
  expect_globs({{"[abc]", "b", true},
                {"[abc]", "d", false},
                {"[abc]", "ab", false},
                {"[a-c]x", "bx", true},
                {"[a-c]", "d", false},
                {"[0-9][0-9]", "42", true},
                {"layers.[2-5].*", "layers.4.w", true},
                {"layers.[2-5].*", "layers.14.w", false},
                {"[!a-c]", "d", true},
                {"[!a-c]", "b", false},
                {"[^a]", "b", true},
                {"[^a]", "a", false},
                {"[a-]", "-", true},
                {"[-a]", "-", true},
                {"[]a]", "]", true},
                {"[]a]", "a", true},
                {"[!]]", "]", false},
                {"[!]]", "a", true},
                {"[c-a]", "b", false},
                {"[*]", "*", true},
                {"[*]", "a", false},
                {"[?]", "?", true},
                {"[!]", "[!]", true}});
}

TEST(Globs, AnOpenBracketWithoutItsEndIsItself) {
  expect_globs({{"[", "[", true},
                {"a[b", "a[b", true},
                {"a[b", "ab", false},
                {"[]", "[]", true},
                {"[a", "a", false}});
}

// The obvious way to match, exponential and all.
bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '*') {
    return matches(pattern.substr(1), text) || (!text.empty() && matches(pattern, text.substr(1)));
  }
  return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) &&
         matches(pattern.substr(1), text.substr(1));
}

TEST(GlobsProperties, MatchAsTheDefinitionDoes) {
  std::mt19937 random(11);
  int matched = 0;
  const auto text_of = [&](std::string_view letters, std::size_t most) {
    std::string text(random() % (most + 1), ' ');
    for (char& c : text) c = letters[random() % letters.size()];
    return text;
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string pattern = text_of("ab*?", 8);
    const std::string text = text_of("ab", 8);
    const bool expected = matches(pattern, text);
    matched += expected ? 1 : 0;
    ASSERT_EQ(glob_match(pattern, text), expected) << pattern << " on " << text;
  }
  EXPECT_GT(matched, 1'000);
}

// Exponential matchers need 2^1000 steps for this; the test ends at all only with a linear one.
TEST(Globs, ManyStarsAreNoTrap) {
  std::string pattern;
  for (int i = 0; i < 1'000; ++i) pattern += "*a";
  EXPECT_FALSE(glob_match(pattern + "b", std::string(4'000, 'a')));
}

}  // namespace
}  // namespace shardswarm::test
