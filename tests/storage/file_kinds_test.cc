// Which weights files hold the model: the rules of spec/manifest.md, section "kinds".
#include "storage/file_kinds.h"

#include <gmock/gmock.h>

#include <initializer_list>

namespace shardswarm::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using State = FoundWeights::State;

constexpr FileKind kPlain = FileKind::kPlain;
constexpr FileKind kTensors = FileKind::kTensors;
constexpr FileKind kSpare = FileKind::kSpareTensors;

FoundWeights good(std::string path, std::vector<std::string_view> tensors) {
  return {
      .path = std::move(path), .state = State::kGood, .cause = {}, .tensors = std::move(tensors)};
}
FoundWeights bad(std::string path, State state, std::string cause = "the cause") {
  return {.path = std::move(path), .state = state, .cause = std::move(cause), .tensors = {}};
}

class FileKindsTest : public testing::Test {
 protected:
  void add(FoundWeights file) { found_.push_back(std::move(file)); }
  void index(std::string path, WeightMap map) {
    indexes_.push_back({.path = std::move(path), .map = std::move(map)});
  }
  Result<FileKinds> decide() {
    std::ranges::sort(found_, {}, &FoundWeights::path);
    std::ranges::sort(indexes_, {}, &FoundIndex::path);
    return decide_kinds(found_, indexes_);
  }
  // By path.
  std::vector<FileKind> kinds() {
    auto decided = decide();
    EXPECT_TRUE(decided) << decided.error().message;
    std::vector<FileKind> kinds;
    if (!decided) return kinds;
    for (const DecidedFile& file : decided->files) kinds.push_back(file.kind);
    warnings_ = decided->warnings;
    return kinds;
  }
  std::vector<std::uint32_t> copies(std::size_t file) {
    auto decided = decide();
    EXPECT_TRUE(decided) << decided.error().message;
    std::vector<std::uint32_t> numbers;
    if (!decided) return numbers;
    for (const TensorIndex copy : decided->files[file].copies) numbers.push_back(copy.value);
    return numbers;
  }
  void expect_refused(std::string_view file, std::string_view why) {
    const auto decided = decide();
    ASSERT_FALSE(decided) << file;
    EXPECT_EQ(decided.error().code, Errc::kMalformed);
    EXPECT_THAT(decided.error().message, AllOf(HasSubstr(file), HasSubstr(why)));
  }

  std::vector<FoundWeights> found_;
  std::vector<FoundIndex> indexes_;
  std::vector<std::string> warnings_;
};

// --- ordinary ones ---

TEST_F(FileKindsTest, AllFilesOfAnOrdinaryCheckpointHoldTheModel) {
  add(good("model-00001-of-00002.safetensors", {"a", "b"}));
  add(good("model-00002-of-00002.safetensors", {"c"}));
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kTensors));
  index("model.safetensors.index.json", {{"a", "model-00001-of-00002.safetensors"},
                                         {"b", "model-00001-of-00002.safetensors"},
                                         {"c", "model-00002-of-00002.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kTensors));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(FileKindsTest, FilesOfOtherNamesAndTensorsAreNotCopies) {
  add(good("model.safetensors", {"a"}));
  add(good("mtp.safetensors", {"mtp.a"}));
  add(good("vae/model.safetensors", {"a"}));
  add(good("empty.safetensors", {}));
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kTensors, kTensors, kTensors));
  EXPECT_THAT(warnings_, IsEmpty());
}

// --- the index: MAN-61 to MAN-63 ---

TEST_F(FileKindsTest, WhatTheIndexDoesNotNameIsSpare) {
  add(good("a.safetensors", {"a"}));
  add(good("consolidated.safetensors", {"x"}));
  add(good("part/b.safetensors", {"b"}));
  index("model.safetensors.index.json", {{"a", "a.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kSpare, kTensors)) << "the index is of another folder";
}

TEST_F(FileKindsTest, OfSeveralIndexesTheOneThatLoadersTakeCounts) {
  for (const char* file : {"consolidated", "diffusion_pytorch_model", "model", "other"}) {
    add(good(std::string(file) + "-1.safetensors", {file}));
    index(std::string(file) + ".safetensors.index.json",
          {{file, std::string(file) + "-1.safetensors"}});
  }
  EXPECT_THAT(kinds(), ElementsAre(kSpare, kSpare, kTensors, kSpare));
  std::erase_if(indexes_, [](const FoundIndex& index) { return index.path.starts_with("model"); });
  EXPECT_THAT(kinds(), ElementsAre(kSpare, kTensors, kSpare, kSpare));
  std::erase_if(indexes_, [](const FoundIndex& index) { return index.path.starts_with("diff"); });
  EXPECT_THAT(kinds(), ElementsAre(kSpare, kSpare, kSpare, kTensors));
  std::erase_if(indexes_, [](const FoundIndex& index) { return index.path.starts_with("other"); });
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kSpare, kSpare, kSpare));
}

TEST_F(FileKindsTest, TheIndexOfAVariantCountsLast) {
  add(good("model-00001-of-00001.safetensors", {"a"}));
  add(good("model.fp16-00001-of-00001.safetensors", {"a"}));
  index("model.safetensors.index.fp16.json", {{"a", "model.fp16-00001-of-00001.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kSpare, kTensors)) << "it is the only one";
  index("model.safetensors.index.json", {{"a", "model-00001-of-00001.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kSpare));
}

TEST_F(FileKindsTest, AnIndexOutOfDateIsNamedAndPassedOver) {
  add(good("model.safetensors", {"a", "b"}));
  index("model.safetensors.index.json",
        {{"a", "model-00001-of-00002.safetensors"}, {"b", "model-00002-of-00002.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kTensors));
  EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("model.safetensors.index.json"),
                                           HasSubstr("model-00001-of-00002"))));
}

// One shard of the old set is left: what it holds is in the whole file, too.
TEST_F(FileKindsTest, AnIndexOutOfDateDoesNotMakeTheWholeFileSpare) {
  add(good("model.safetensors", {"a", "b"}));
  add(good("model-00001-of-00002.safetensors", {"a"}));
  index("model.safetensors.index.json",
        {{"a", "model-00001-of-00002.safetensors"}, {"b", "model-00002-of-00002.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kSpare, kTensors));
}

TEST_F(FileKindsTest, AnIndexOfOtherNamesOverCompleteWeightsIsPassedOver) {
  add(good("model.safetensors", {"a"}));
  index("model.safetensors.index.json", {{"old.a", "gone.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kTensors));
  EXPECT_THAT(warnings_, SizeIs(1));
}

TEST_F(FileKindsTest, AMissingShardIsAnIncompleteDownload) {
  add(good("model-00001-of-00002.safetensors", {"a"}));
  index("model.safetensors.index.json",
        {{"a", "model-00001-of-00002.safetensors"}, {"b", "model-00002-of-00002.safetensors"}});
  expect_refused("model-00002-of-00002.safetensors", "incomplete");
  // Another copy beside it does not make it whole.
  add(good("consolidated.safetensors", {"x", "y"}));
  expect_refused("model-00002-of-00002.safetensors", "model.safetensors.index.json");
}

TEST_F(FileKindsTest, AnIndexWithoutAnyWeightsIsAnIncompleteDownload) {
  index("model.safetensors.index.json", {{"a", "model-00001-of-00001.safetensors"}});
  expect_refused("model-00001-of-00001.safetensors", "incomplete");
}

// hf download --exclude "consolidated*"
TEST_F(FileKindsTest, TheIndexOfACopyThatIsNotThereChangesNothing) {
  add(good("model-00001-of-00001.safetensors", {"a"}));
  index("model.safetensors.index.json", {{"a", "model-00001-of-00001.safetensors"}});
  index("consolidated.safetensors.index.json", {{"x", "consolidated-00001-of-00001.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kTensors));
}

// hf download --include "consolidated*" "*.json"
TEST_F(FileKindsTest, TheCopyIsTheModelWhereTheFirstIsNotThere) {
  add(good("consolidated-00001-of-00001.safetensors", {"x"}));
  index("model.safetensors.index.json", {{"a", "model-00001-of-00001.safetensors"}});
  index("consolidated.safetensors.index.json", {{"x", "consolidated-00001-of-00001.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kTensors));
  EXPECT_THAT(warnings_, SizeIs(1));
}

TEST_F(FileKindsTest, AnIndexThatNamesNothingIsNone) {
  add(good("model.safetensors", {"a"}));
  index("model.safetensors.index.json", {});
  EXPECT_THAT(kinds(), ElementsAre(kTensors));
}

TEST_F(FileKindsTest, AnIndexMayNameFilesBelowItsFolder) {
  add(good("text/model.safetensors", {"a"}));
  index("model.safetensors.index.json", {{"a", "text/model.safetensors"}});
  EXPECT_THAT(kinds(), ElementsAre(kTensors));
  EXPECT_THAT(warnings_, IsEmpty());
}

// --- names: MAN-64 ---

struct Named {
  const char* description;
  std::vector<FoundWeights> files;  // by path
  std::vector<FileKind> kinds;
};

class FileNamesTest : public FileKindsTest, public testing::WithParamInterface<Named> {};

TEST_P(FileNamesTest, AreDecidedByTheirNames) {
  found_ = GetParam().files;
  EXPECT_EQ(kinds(), GetParam().kinds);
}

INSTANTIATE_TEST_SUITE_P(
    Names, FileNamesTest,
    testing::Values(
        Named{"Mistral's own copy",
              {good("consolidated.safetensors", {"x"}), good("model.safetensors", {"a"})},
              {kSpare, kTensors}},
        Named{"its shards beside shards",
              {good("consolidated-00001-of-00002.safetensors", {"x"}),
               good("consolidated-00002-of-00002.safetensors", {"y"}),
               good("model-00001-of-00001.safetensors", {"a"})},
              {kSpare, kSpare, kTensors}},
        Named{"Mistral's own copy alone", {good("consolidated.safetensors", {"x"})}, {kTensors}},
        Named{"an adapter beside its base",
              {good("adapter_model.safetensors", {"lora"}), good("model.safetensors", {"a"})},
              {kSpare, kTensors}},
        Named{"an adapter alone", {good("adapter_model.safetensors", {"lora"})}, {kTensors}},
        Named{"diffusers' variants",
              {good("diffusion_pytorch_model.bf16.safetensors", {"a"}),
               good("diffusion_pytorch_model.fp16.safetensors", {"a"}),
               good("diffusion_pytorch_model.safetensors", {"a"})},
              {kSpare, kSpare, kTensors}},
        Named{"a variant with scales of its own",
              {good("model.fp8.safetensors", {"a", "a.scale"}), good("model.safetensors", {"a"})},
              {kSpare, kTensors}},
        Named{"sharded variants, written both ways",
              {good("model-00001-of-00002.fp16.safetensors", {"a"}),
               good("model-00001-of-00002.safetensors", {"a"}),
               good("model-00002-of-00002.fp16.safetensors", {"b"}),
               good("model-00002-of-00002.safetensors", {"b"}),
               good("model.bf16-00001-of-00001.safetensors", {"a", "b"})},
              {kSpare, kTensors, kSpare, kTensors, kSpare}},
        Named{"a variant alone", {good("model.fp16.safetensors", {"a"})}, {kTensors}},
        Named{"of two variants alone the first",
              {good("model.bf16.safetensors", {"a"}), good("model.fp16.safetensors", {"a"})},
              {kTensors, kSpare}},
        Named{"a tower in a file of its own is no variant",
              {good("model.safetensors", {"a"}), good("model.visual.safetensors", {"v"})},
              {kTensors, kTensors}},
        Named{"presharded files beside the model",
              {good("model-00001-of-00001.safetensors", {"a"}),
               good("model-rank-0-part-0.safetensors", {"a"}),
               good("model-rank-1-part-0.safetensors", {"a"})},
              {kTensors, kSpare, kSpare}},
        Named{"presharded files alone hold each a part",
              {good("model-rank-0-part-0.safetensors", {"a"}),
               good("model-rank-1-part-0.safetensors", {"a"})},
              {kTensors, kTensors}},
        Named{"Grok's, with what all ranks share",
              {good("pytorch_model-00000-TP-common.safetensors", {"norm"}),
               good("pytorch_model-00001-TP-000.safetensors", {"a"}),
               good("pytorch_model-00001-TP-001.safetensors", {"a"})},
              {kTensors, kTensors, kTensors}},
        Named{"two models of one shape",
              {good("flux-dev.safetensors", {"a", "b"}),
               good("flux-schnell.safetensors", {"b", "a"})},
              {kTensors, kSpare}},
        Named{"the name that loaders look for before others",
              {good("a.safetensors", {"a"}), good("model.safetensors", {"a"})},
              {kSpare, kTensors}}),
    [](const auto& each) { return "Case" + std::to_string(each.index); });

// As gpt-oss and Llama have it. Of the two the copy may be the larger one.
TEST_F(FileKindsTest, AFolderOfTheAuthorsOwnFilesIsACopy) {
  add(good("model.safetensors", {"a"}));
  add(good("original/model.safetensors", {"block.a"}));
  add(good("part/original/model.safetensors", {"block.a"}));
  add(good("x-original/model.safetensors", {"a"}));
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kSpare, kTensors, kTensors));
  found_.erase(found_.begin());
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kTensors, kTensors)) << "without another they are it";
}

TEST_F(FileKindsTest, NamesAreTakenApart) {
  const auto expect = [](std::string_view file, std::string_view base, std::string_view variant,
                         std::uint32_t shard, bool rank) {
    const WeightsName name = weights_name(file);
    EXPECT_EQ(name.base, base) << file;
    EXPECT_EQ(name.variant, variant) << file;
    EXPECT_EQ(name.shard, shard) << file;
    EXPECT_EQ(name.rank, rank) << file;
  };
  expect("model.safetensors", "model", "", 0, false);
  expect("model-00003-of-00163.safetensors", "model", "", 3, false);
  expect("model--00001-of-00007.safetensors", "model", "", 1, false);
  expect("model.fp16-00001-of-00002.safetensors", "model", "fp16", 1, false);
  expect("model-00001-of-00002.fp16.safetensors", "model", "fp16", 1, false);
  expect("model-rank-0-part-0.safetensors", "model-rank-0-part-0", "", 0, true);
  expect("pytorch_model-00001-TP-003.safetensors", "pytorch_model-00001-TP-003", "", 0, true);
  expect("consolidated.00.safetensors", "consolidated", "00", 0, false);
  expect("mp_rank_00_model.safetensors", "mp_rank_00_model", "", 0, true);
  expect("model.fp16.safetensors", "model", "fp16", 0, false);
  expect("frank0.safetensors", "frank0", "", 0, false);
  expect("crank-0.safetensors", "crank-0", "", 0, false);
  expect("TP-common.safetensors", "TP-common", "", 0, false);
  expect("-of-2.safetensors", "-of-2", "", 0, false);
  expect("a-1-of-.safetensors", "a-1-of-", "", 0, false);
  expect("a-99999999999-of-2.safetensors", "a-99999999999-of-2", "", 0, false);
}

TEST_F(FileKindsTest, IndexNamesAreTakenApart) {
  EXPECT_EQ(index_name("model.safetensors.index.json")->base, "model");
  EXPECT_FALSE(index_name("model.safetensors.index.json")->variant);
  EXPECT_TRUE(index_name("model.safetensors.index.fp16.json")->variant);
  for (const char* name : {".safetensors.index.json", "model.safetensors", "model.index.json",
                           "model.safetensors.index.a.b.json", "model.safetensors.index..json",
                           "model.safetensors.index.fp16", "model.safetensors.index.json.bak"}) {
    EXPECT_FALSE(index_name(name)) << name;
  }
}

// --- one tensor in several files: MAN-65 ---

TEST_F(FileKindsTest, TheIndexSaysWhichFileHasATensor) {
  add(good("model-00001-of-00002.safetensors", {"a", "tied"}));
  add(good("model-00002-of-00002.safetensors", {"b", "tied", "c"}));
  index("model.safetensors.index.json", {{"a", "model-00001-of-00002.safetensors"},
                                         {"b", "model-00002-of-00002.safetensors"},
                                         {"c", "model-00002-of-00002.safetensors"},
                                         {"tied", "model-00002-of-00002.safetensors"}});
  EXPECT_THAT(copies(0), ElementsAre(1));
  EXPECT_THAT(copies(1), IsEmpty());
  indexes_[0].map["tied"] = "model-00001-of-00002.safetensors";
  EXPECT_THAT(copies(0), IsEmpty());
  EXPECT_THAT(copies(1), ElementsAre(1));
}

// Each has one that the other holds: no order of files could say that.
TEST_F(FileKindsTest, TheIndexSaysSoTensorByTensor) {
  add(good("1.safetensors", {"a", "x", "y"}));
  add(good("2.safetensors", {"b", "x", "y"}));
  index("model.safetensors.index.json", {{"a", "1.safetensors"},
                                         {"b", "2.safetensors"},
                                         {"x", "1.safetensors"},
                                         {"y", "2.safetensors"}});
  EXPECT_THAT(copies(0), ElementsAre(2));
  EXPECT_THAT(copies(1), ElementsAre(1));
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kTensors));
  EXPECT_THAT(warnings_, IsEmpty()) << "the index told which is meant";
}

TEST_F(FileKindsTest, WithoutAnIndexTheFirstFileHasItAndTheUserIsTold) {
  add(good("a.safetensors", {"x", "y"}));
  add(good("b.safetensors", {"y", "z"}));
  EXPECT_THAT(copies(0), IsEmpty());
  EXPECT_THAT(copies(1), ElementsAre(0));
  kinds();
  EXPECT_THAT(warnings_,
              ElementsAre(AllOf(HasSubstr("b.safetensors"), HasSubstr("a.safetensors"))));
}

TEST_F(FileKindsTest, TensorsOfOtherFoldersAreNotCopies) {
  add(good("text_encoder/model.safetensors", {"a"}));
  add(good("text_encoder_2/model.safetensors", {"a"}));
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kTensors));
  EXPECT_THAT(copies(1), IsEmpty());
}

// --- what is not what its name says ---

TEST_F(FileKindsTest, AnOddSideFileIsPlainAndNamed) {
  for (const State state : {State::kOdd, State::kShort, State::kPointer}) {
    found_ = {good("model.safetensors", {"a"}), bad("side.safetensors", state)};
    EXPECT_THAT(kinds(), ElementsAre(kTensors, kPlain));
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("side.safetensors")));
  }
  found_[1] = bad("side.safetensors", State::kAbsent);
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kPlain));
}

TEST_F(FileKindsTest, WhatTheIndexNamesIsNeeded) {
  for (const State state : {State::kOdd, State::kShort, State::kPointer, State::kAbsent}) {
    found_ = {good("1.safetensors", {"a"}), bad("2.safetensors", state)};
    indexes_ = {{.path = "model.safetensors.index.json",
                 .map = {{"a", "1.safetensors"}, {"b", "2.safetensors"}}}};
    expect_refused("2.safetensors", state == State::kPointer ? "git lfs pull" : "the cause");
    // But not where another file has its tensors.
    found_[0].tensors = {"a", "b"};
    EXPECT_THAT(kinds(), ElementsAre(kTensors, kPlain));
  }
}

TEST_F(FileKindsTest, AShardOfANumberedSetIsNeeded) {
  for (const State state : {State::kOdd, State::kShort, State::kPointer, State::kAbsent}) {
    found_ = {good("model-00001-of-00002.safetensors", {"a"}),
              bad("model-00002-of-00002.safetensors", state)};
    expect_refused("model-00002-of-00002.safetensors", "");
    // Of another copy it is not.
    found_[0] = bad("consolidated-00001-of-00002.safetensors", state);
    found_[1] = good("consolidated-00002-of-00002.safetensors", {"x"});
    found_.push_back(good("model.safetensors", {"a"}));
    EXPECT_THAT(kinds(), ElementsAre(kPlain, kSpare, kTensors));
  }
}

TEST_F(FileKindsTest, WithoutAnIndexAGapInTheNumbersIsSaid) {
  add(good("model-00001-of-00003.safetensors", {"a"}));
  add(good("model-00003-of-00003.safetensors", {"c"}));
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kTensors));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("2 of the 3")));
}

TEST_F(FileKindsTest, NoGoodFileAtAllIsRefusedWithTheCause) {
  add(bad("a.safetensors", State::kOdd, "there is a hole"));
  expect_refused("a.safetensors", "there is a hole");
  found_[0].state = State::kPointer;
  expect_refused("a.safetensors", "git lfs pull");
}

// A component that was not downloaded, as vae/ of a pipeline; below a folder with weights it is one
// of its side files.
TEST_F(FileKindsTest, AnUnfinishedFileAloneInItsFolderIsNeededUnlessWeightsStandAboveIt) {
  add(good("unet/model.safetensors", {"a"}));
  add(bad("vae/model.safetensors", State::kPointer));
  expect_refused("vae/model.safetensors", "git lfs pull");
  found_.push_back(good("model.safetensors", {"a"}));
  EXPECT_THAT(kinds(), ElementsAre(kTensors, kTensors, kPlain));
}

TEST_F(FileKindsTest, TextOfOthersIsEscapedInMessages) {
  add(good("model.safetensors", {"a"}));
  add(bad("x\x1b[31m\n.safetensors", State::kOdd));
  kinds();
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("x\\x1b[31m\\n.safetensors")));
}

}  // namespace
}  // namespace shardswarm::test
