#include "cli/unfinished.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace shardswarm::cli {
namespace {

namespace fs = std::filesystem;

TEST(ShellLine, QuotesWhatAShellWouldChange) {
  EXPECT_EQ(shell_line({"fetch", "shardswarm:ab?peer=h:1", "--to", "./a b", "--tensors", "*.w", "",
                        "it's"}),
            "fetch 'shardswarm:ab?peer=h:1' --to './a b' --tensors '*.w' '' 'it'\\''s'");
  EXPECT_EQ(shell_line({"a\nb'", "é"}), "$'a\\x0ab\\x27' $'\\xc3\\xa9'");
}

class UnfinishedTest : public ::testing::Test {
 protected:
  std::vector<std::string> directories() const {
    std::vector<std::string> found;
    for (const UnfinishedFetch& fetch : unfinished_fetches(state_)) {
      found.push_back(fetch.directory);
    }
    return found;
  }

  const test::TempDir dir_;
  const fs::path state_ = dir_.path() / "state";
};

TEST_F(UnfinishedTest, ARecordIsListedWhenItsProcessIsGone) {
  EXPECT_TRUE(directories().empty());
  const fs::path directory = dir_.path() / "a";
  {
    UnfinishedRecord record(state_, directory);
    record.begin({"fetch", "T", "a"});
    fs::create_directories(directory);
    EXPECT_TRUE(directories().empty()) << "it runs";
  }
  const auto all = unfinished_fetches(state_);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].directory, fs::canonical(directory).string());
  EXPECT_EQ(all[0].command, "cd " + fs::current_path().string() + " && shardswarm fetch T a");
}

TEST_F(UnfinishedTest, EndTakesItAwayHoweverTheDirectoryIsWritten) {
  const fs::path before = fs::current_path();
  fs::current_path(dir_.path());
  for (const char* written : {"llama", "llama/", "./llama", "x/../llama"}) {
    fs::remove_all("llama");
    {
      UnfinishedRecord(state_, written).begin({"fetch"});
    }  // before the directory is there
    fs::create_directories("llama");
    EXPECT_EQ(directories(), (std::vector<std::string>{fs::canonical("llama").string()}));
    UnfinishedRecord(state_, "llama").end();
    EXPECT_TRUE(directories().empty()) << written;
  }
  fs::current_path(before);
}

TEST_F(UnfinishedTest, DirectoriesThatAreGoneAreLeftOut) {
  {
    UnfinishedRecord(state_, dir_.path() / "gone").begin({"fetch"});
  }
  EXPECT_TRUE(directories().empty());
}

TEST_F(UnfinishedTest, KeysAreNotKept) {
  const fs::path key = dir_.path() / "cluster.key";
  std::ofstream(key) << "x";
  const std::vector<std::vector<std::string>> forms = {{"fetch", "--key", "secret", "T"},
                                                       {"fetch", "--key=secret", "T"}};
  for (const auto& arguments : forms) {
    {
      UnfinishedRecord(state_, dir_.path()).begin(arguments);
    }
    EXPECT_TRUE(unfinished_fetches(state_)[0].command.ends_with("shardswarm fetch T"));
  }
  {
    UnfinishedRecord(state_, dir_.path()).begin({"fetch", "--key", key.string(), "--to", "-----"});
  }
  EXPECT_TRUE(
      unfinished_fetches(state_)[0].command.ends_with("--key " + key.string() + " --to -----"));
}

TEST_F(UnfinishedTest, RecordsThatAreNoneArePassedOver) {
  {
    UnfinishedRecord(state_, dir_.path()).begin({"fetch"});
  }
  const fs::path folder = state_ / "unfinished";
  std::ofstream(folder / "torn.json") << "{\"directory\":";
  std::ofstream(folder / "other.json") << "[1]";
  std::ofstream(folder / "typed.json") << R"({"directory":1,"command":"x"})";
  std::ofstream(folder / "large.json") << std::string(100'000, ' ');
  fs::create_directories(folder / "folder.json");
  EXPECT_EQ(directories().size(), 1U);
}

}  // namespace
}  // namespace shardswarm::cli
