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
}

TEST(UnfinishedFetches, AreKnownUntilTheyEnd) {
  const shardswarm::test::TempDir dir;
  const UnfinishedFetches unfinished(dir.path() / "state");
  EXPECT_TRUE(unfinished.all().empty());
  fs::create_directories(dir.path() / "b");
  fs::create_directories(dir.path() / "a");
  unfinished.add(dir.path() / "b", {"fetch", "T", "b"});
  unfinished.add(dir.path() / "a", {"fetch", "T", "a"});
  unfinished.add(dir.path() / "a" / "..", {"fetch", "T", "--to", "x"});
  unfinished.add(dir.path() / "gone", {"fetch", "T", "gone"});
  const auto all = unfinished.all();
  ASSERT_EQ(all.size(), 3U);  // the directory that is gone is left out
  EXPECT_EQ(all[1].directory, fs::canonical(dir.path() / "a").string());
  EXPECT_EQ(all[1].command, "shardswarm fetch T a");
  unfinished.remove(dir.path() / "a");
  unfinished.remove(dir.path());
  ASSERT_EQ(unfinished.all().size(), 1U);
  EXPECT_EQ(unfinished.all()[0].command, "shardswarm fetch T b");
}

TEST(UnfinishedFetches, RecordsThatAreNoneArePassedOver) {
  const shardswarm::test::TempDir dir;
  const UnfinishedFetches unfinished(dir.path());
  unfinished.add(dir.path(), {"fetch"});
  const fs::path folder = dir.path() / "unfinished";
  std::ofstream(folder / "torn.json") << "{\"directory\":";
  std::ofstream(folder / "other.json") << "[1]";
  std::ofstream(folder / "typed.json") << R"({"directory":1,"command":"x"})";
  std::ofstream(folder / "large.json") << std::string(100'000, ' ');
  fs::create_directories(folder / "folder.json");
  EXPECT_EQ(unfinished.all().size(), 1U);
}

}  // namespace
}  // namespace shardswarm::cli
