// Selections as lines of flags and as JSON, there and back.
#include "piece/selection_text.h"

#include <gmock/gmock.h>

#include <random>
#include <string>

#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Selection everything_set() {
  return {.layers = {{8, 15}, {7, 7}},
          .stages = {{2, 4}},
          .tensors = {"*.bias"},
          .stacks = {"model.layers", "a b"},
          .experts = {{0, 31}},
          .slices = {{"*.q_proj.*", 0, 2}},
          .excludes = {"it's"},
          .files = {"*.bin"},
          .shared = SharedTensors::kAll,
          .preset = {.engine = Engine::kMlxLm, .rank = 1, .ranks = 3, .weights = {64, 32, 16}}};
}

TEST(DescribeSelection, ReadsAsTheCommandLineTakesIt) {
  EXPECT_EQ(describe({}), "everything");
  EXPECT_EQ(describe({.layers = {{8, 15}, {7, 7}}, .shared = SharedTensors::kAll}),
            "--layers 8-15 --layers 7 --shared all");
  EXPECT_EQ(describe({.stages = {{2, 4}}, .tensors = {"*.bias"}, .files = {"*.bin"}}),
            "--stage 2/4 --tensors '*.bias' --files '*.bin'");
  EXPECT_EQ(describe(everything_set()),
            "--layers 8-15 --layers 7 --stage 2/4 --tensors '*.bias' --stack model.layers "
            "--stack 'a b' --experts 0-31 --slice '*.q_proj.*:0/2' --exclude 'it'\\''s' "
            "--files '*.bin' --shared all --for mlx-lm --rank 1/3 --weights 64,32,16");
  EXPECT_EQ(describe({.layers = {{0, 1}}, .shared = SharedTensors::kTowers}),
            "--layers 0-1 --shared towers");
  EXPECT_EQ(describe({.preset = {.engine = Engine::kVllm}}), "--for vllm");
  EXPECT_EQ(describe({.tensors = {""}}), "--tensors ''");
  // One line, whatever is in it.
  EXPECT_EQ(describe({.tensors = {"a\nb'\\"}}), "--tensors $'a\\x0ab\\'\\\\'");
}

TEST(ParseSelection, ReadsFlagsAsAShellSplitsThem) {
  EXPECT_EQ(must(parse_selection("")), Selection{});
  EXPECT_EQ(must(parse_selection("  everything\n")), Selection{});
  EXPECT_EQ(must(parse_selection(describe(everything_set()))), everything_set());
  EXPECT_EQ(must(parse_selection("--layers=8-15 --tensors=*.a=b\t--stack  \"a \\\"b\\\\ \\c\"")),
            (Selection{.layers = {{8, 15}}, .tensors = {"*.a=b"}, .stacks = {"a \"b\\ \\c"}}));
  EXPECT_EQ(must(parse_selection("--tensors a\\ b'c d'\"e\"$f --files $'\\t\\x41\\u'")),
            (Selection{.tensors = {"a bc de$f"}, .files = {"\tAu"}}));
  EXPECT_EQ(must(parse_selection("--shared edges")), Selection{});
  // Values may look like flags: a flag takes the word behind it.
  EXPECT_EQ(must(parse_selection("--tensors --layers")), (Selection{.tensors = {"--layers"}}));
}

TEST(ParseSelection, NamesTheWordThatItDoesNotUnderstand) {
  const std::pair<const char*, const char*> wrong[] = {
      {"all", "'all'"},
      {"everything --layers 1", "'everything'"},
      {"--layer 1", "'--layer'"},
      {"--layers 1 2", "'2'"},
      {"--layers", "--layers needs a value"},
      {"--layers x", "'x'"},
      {"--stage 5/4", "'5/4'"},
      {"--slice w:2/2", "'w:2/2'"},
      {"--experts 3-1", "'3-1'"},
      {"--shared some", "'some'"},
      {"--shared all --shared edges", "--shared is there twice"},
      {"--for exo --for exo", "--for is there twice"},
      {"--for llama.cpp", "'llama.cpp' is not an engine"},
      {"--for llama.cpp", "exo, mlx-lm, vllm, sglang or transformers"},
      {"--for exo --rank 3/3", "'3/3' is not a rank"},
      {"--for exo --rank 1", "ranks count from 0"},
      {"--for exo --rank 0/1025", "1024"},
      {"--for exo --rank -1/3", "'-1/3'"},
      {"--for exo --weights 1,0", "'1,0' are not weights"},
      {"--for exo --weights 1,", "'1,'"},
      {"--for exo --weights 1.5", "whole numbers"},
      {"--for exo --weights 99999999999999999999", "weights"},
      {"--tensors 'a", "quotes"},
      {"--tensors \"a", "quotes"},
      {"--tensors $'a", "quotes"},
      {"--tensors $'\\xg'", "quotes"},
      {"--tensors a\\", "quotes"},
  };
  for (const auto& [text, says] : wrong) {
    const auto selection = parse_selection(text);
    ASSERT_FALSE(selection) << text;
    EXPECT_EQ(errc_name(selection.error().code), errc_name(Errc::kUsage));
    EXPECT_THAT(selection.error().message, HasSubstr(says));
  }
}

TEST(AddToSelection, TakesOneFlagWithItsValue) {
  Selection selection;
  must(add_to_selection(selection, "--layers", "8-15"));
  must(add_to_selection(selection, "--layers", "3"));
  must(add_to_selection(selection, "--stack", "a b"));
  must(add_to_selection(selection, "--shared", "all"));
  EXPECT_EQ(
      selection,
      (Selection{.layers = {{8, 15}, {3, 3}}, .stacks = {"a b"}, .shared = SharedTensors::kAll}));
  for (const char* flag : {"--layers", "--stage", "--slice", "--shared", "layers", "--no"}) {
    const auto added = add_to_selection(selection, flag, "x");
    ASSERT_FALSE(added) << flag;
    EXPECT_EQ(added.error().code, Errc::kUsage) << flag;
  }
}

TEST(SelectionJson, HasAMemberForWhatIsSet) {
  EXPECT_EQ(selection_json({}), "{}");
  EXPECT_EQ(selection_json(everything_set()),
            R"({"layers":["8-15","7"],"stages":["2/4"],"tensors":["*.bias"],)"
            R"("stacks":["model.layers","a b"],"experts":["0-31"],"slices":["*.q_proj.*:0/2"],)"
            R"("excludes":["it's"],"files":["*.bin"],"shared":"all","for":"mlx-lm","rank":"1/3",)"
            R"("weights":"64,32,16"})");
  // What is no UTF-8 cannot stand in JSON; it must not throw either.
  EXPECT_THAT(selection_json({.tensors = {"a\xff"}}), HasSubstr("a"));
}

TEST(SelectionJson, IsRead) {
  EXPECT_EQ(must(parse_selection_json(" {} ")), Selection{});
  EXPECT_EQ(must(parse_selection_json(R"({"shared":"edges","layers":[]})")), Selection{});
  EXPECT_EQ(must(parse_selection_json(selection_json(everything_set()))), everything_set());
  EXPECT_EQ(must(parse_selection_json(R"({"tensors":["\u00e9\n"]})")),
            (Selection{.tensors = {"\xc3\xa9\n"}}));
}

TEST(SelectionJson, OfAnotherFormIsRefused) {
  const std::pair<const char*, const char*> wrong[] = {
      {"", "not JSON"},
      {"{", "not JSON"},
      {"{} x", "not JSON"},
      {"{\"layers\":[\"1\"],}", "not JSON"},
      {"{\"tensors\":[\"\xff\"]}", "not JSON"},
      {"[]", "not a JSON object"},
      {"null", "not a JSON object"},
      {"\"everything\"", "not a JSON object"},
      {R"({"layer":["1"]})", "'layer'"},
      {R"({"layers":["1"],"layers":["2"]})", "'layers' twice"},
      {R"({"layers":["1"],"l\u0061yers":["2"]})", "'layers' twice"},
      {R"({"layers":"1"})", "'layers'"},
      {R"({"layers":[1]})", "'layers'"},
      {R"({"layers":[["1"]]})", "'layers'"},
      {R"({"layers":null})", "'layers'"},
      {R"({"layers":["x"]})", "'x'"},
      {R"({"slices":["w:1/1"]})", "'w:1/1'"},
      {R"({"shared":["all"]})", "'shared'"},
      {R"({"shared":"some"})", "'some'"},
  };
  for (const auto& [text, says] : wrong) {
    const auto selection = parse_selection_json(text);
    ASSERT_FALSE(selection) << text;
    EXPECT_EQ(errc_name(selection.error().code), errc_name(Errc::kUsage));
    EXPECT_THAT(selection.error().message, HasSubstr(says)) << text;
  }
  EXPECT_FALSE(parse_selection_json(std::string(200'000, '[')));
}

class RandomSelections {
 public:
  Selection next() {
    Selection selection;
    const auto repeat = [&](auto&& add) {
      for (std::uint32_t n = below(4) / 2 * below(3); n > 0; --n) add();
    };
    repeat([&] {
      const std::uint32_t first = below(100);
      selection.layers.push_back({first, first + below(3)});
    });
    repeat([&] {
      const std::uint32_t count = 1 + below(8);
      selection.stages.push_back({1 + below(count), count});
    });
    repeat([&] { selection.tensors.push_back(glob()); });
    repeat([&] { selection.stacks.push_back(glob()); });
    repeat([&] {
      const std::uint32_t first = below(300);
      selection.experts.push_back({first, first + below(3) * 1'000'000});
    });
    repeat([&] {
      const std::uint32_t count = 1 + below(8);
      selection.slices.push_back({"x" + glob(), below(count), count});
    });
    repeat([&] { selection.excludes.push_back(glob()); });
    repeat([&] { selection.files.push_back(glob()); });
    if (below(2) == 0) selection.shared = SharedTensors::kAll;
    if (below(2) == 0) {
      selection.preset = {.engine = static_cast<Engine>(below(5)), .ranks = 1 + below(9)};
      selection.preset.rank = below(selection.preset.ranks);
      for (std::uint32_t i = below(3); i > 0; --i)
        selection.preset.weights.push_back(1 + below(99));
    }
    return selection;
  }

 private:
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }

  std::string glob() {
    static const std::string parts[] = {"*",
                                        "?",
                                        "[a-c]",
                                        "'",
                                        "\"",
                                        "\\",
                                        " ",
                                        "$",
                                        "`",
                                        "$'",
                                        "\xc3\xa9",
                                        "\xe5\xb1\x82",
                                        "\n",
                                        "\t",
                                        "\x01",
                                        "\x7f",
                                        ":",
                                        "0/2",
                                        "--layers",
                                        "=",
                                        "a",
                                        ".",
                                        "\xf0\x9f\xa6\x88",
                                        "#",
                                        ";",
                                        "x",
                                        "\\x",
                                        "7"};
    std::string text;
    for (std::uint32_t n = below(7); n > 0; --n) text += parts[below(std::size(parts))];
    return text;
  }

  std::mt19937 random_{8};
};

TEST(SelectionTextProperties, BothFormsParseBackToTheSame) {
  RandomSelections random;
  int quoted = 0;
  for (int i = 0; i < 5'000; ++i) {
    const Selection selection = random.next();
    const std::string text = describe(selection);
    quoted += text.find("$'") != std::string::npos ? 1 : 0;
    ASSERT_EQ(text.find('\n'), std::string::npos) << text;
    const auto parsed = parse_selection(text);
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message;
    ASSERT_EQ(*parsed, selection) << text;
    const std::string json = selection_json(selection);
    const auto read = parse_selection_json(json);
    ASSERT_TRUE(read) << json << ": " << read.error().message;
    ASSERT_EQ(*read, selection) << json;
  }
  EXPECT_GT(quoted, 100);
}

TEST(SelectionTextProperties, AnyTextIsParsedOrRefused) {
  std::mt19937 random(9);
  const std::string letters = "'\"\\$ -=x{}[]:,layersk0/1\n";
  for (int i = 0; i < 20'000; ++i) {
    std::string text(random() % 24, ' ');
    for (char& c : text) c = letters[random() % letters.size()];
    if (const auto parsed = parse_selection(text)) {
      ASSERT_EQ(must(parse_selection(describe(*parsed))), *parsed) << text;
    }
    if (const auto parsed = parse_selection_json(text)) {
      ASSERT_EQ(must(parse_selection_json(selection_json(*parsed))), *parsed) << text;
    }
  }
}

}  // namespace
}  // namespace shardswarm::test
