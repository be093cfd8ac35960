#include "identity/cluster_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <vector>

#include "base/text.h"
#include "tests/support/temp_dir.h"

namespace shardswarm {
namespace {

using test::read_file;
using test::TempDir;
using testing::HasSubstr;
using testing::Not;

mode_t mode_of(const std::filesystem::path& path) {
  struct stat status{};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777;
}

// The base64 text of the private key, without line ends.
std::string secret_of(const ClusterKey& key) {
  const std::string& pem = key.pem();
  const std::size_t begin = pem.find('\n') + 1;
  return pem.substr(begin, pem.find("-----END") - begin);
}

TEST(ClusterKey, TravelsAsALine) {
  const ClusterKey key = ClusterKey::make().value();
  const std::string line = key.line();
  EXPECT_TRUE(line.starts_with("shardswarm-key:"));
  EXPECT_TRUE(holds_key(line));
  EXPECT_TRUE(holds_key(key.pem()));
  EXPECT_EQ(line.find_first_of("\n\r \t'\"$`\\&;|<>()[]{}*?!#~"), std::string::npos);
  const auto copy = ClusterKey::parse("  " + line + "\r\n", "stdin");
  ASSERT_TRUE(copy) << copy.error().message;
  EXPECT_EQ(copy->pem(), key.pem());
  EXPECT_EQ(copy->fingerprint(), key.fingerprint());
  // A terminal broke it.
  EXPECT_TRUE(ClusterKey::parse(line.substr(0, 80) + "\n" + line.substr(80), "stdin"));
}

TEST(ClusterKey, FingerprintsAreShortAndDiffer) {
  const ClusterKey one = ClusterKey::make().value();
  const ClusterKey two = ClusterKey::make().value();
  EXPECT_THAT(one.fingerprint(), testing::MatchesRegex("[0-9a-f-]{24}"));
  EXPECT_NE(one.fingerprint(), two.fingerprint());
}

TEST(ClusterKey, PemWithoutItsLineEndsIsTaken) {
  const ClusterKey key = ClusterKey::make().value();
  for (const char* end : {" ", "\\n", "\r\n", "", "\n  "}) {
    std::string text;
    for (const char c : key.pem()) text += c == '\n' ? std::string(end) : std::string(1, c);
    const auto parsed = ClusterKey::parse(text, "SHARDSWARM_KEY");
    ASSERT_TRUE(parsed) << "'" << end << "' " << parsed.error().message;
    EXPECT_EQ(parsed->pem(), key.pem());
  }
}

TEST(ClusterKey, DamageIsFoundAndNothingOfTheKeyIsShown) {
  const ClusterKey key = ClusterKey::make().value();
  const ClusterKey other = ClusterKey::make().value();
  const std::string& pem = key.pem();
  const std::string line = key.line();
  std::string changed = pem;
  char& digit = changed[changed.find('\n') + 60];  // within the private number
  digit = digit == 'A' ? 'B' : 'A';
  const std::string certificate = other.pem().substr(other.pem().find("-----BEGIN CERT"));
  const std::string mixed = pem.substr(0, pem.find("-----BEGIN CERT")) + certificate;
  for (const std::string& text :
       {std::string(), std::string("no key"), line.substr(0, line.size() / 2), line + "!",
        std::string("shardswarm-key:"), pem.substr(0, pem.size() - 30),
        pem.substr(pem.find("-----BEGIN CERT")), changed, mixed, std::string(2 << 20, 'A')}) {
    const auto parsed = ClusterKey::parse(text, "the source");
    ASSERT_FALSE(parsed) << text.substr(0, 100);
    EXPECT_EQ(parsed.error().code, Errc::kMalformed);
    EXPECT_THAT(parsed.error().message, HasSubstr("the source"));
    EXPECT_THAT(parsed.error().message, Not(HasSubstr(secret_of(key).substr(0, 20))));
  }
}

// OpenSSL would ask for it on the terminal.
TEST(ClusterKey, AKeyWithAPasswordIsRefusedWithoutAsking) {
  const std::string sealed =
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGjME4GCSqGSIb3DQEFDTBBMCkGCSqGSIb3DQEFDDAcBAgY\n"
      "-----END ENCRYPTED PRIVATE KEY-----\n";
  EXPECT_FALSE(ClusterKey::parse(sealed, "file"));
}

TEST(ClusterKey, AFileIsPrivateWholeAndNotReplacedUnasked) {
  const TempDir dir;
  const auto file = dir / "config" / "cluster.key";
  const ClusterKey one = ClusterKey::make().value();
  const ClusterKey two = ClusterKey::make().value();
  ASSERT_TRUE(one.write(file));
  EXPECT_EQ(mode_of(file), 0600);
  const auto again = two.write(file);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::kBusy);
  EXPECT_EQ(ClusterKey::load(file)->fingerprint(), one.fingerprint());
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  ASSERT_TRUE(two.write(file, true));
  EXPECT_EQ(mode_of(file), 0600);
  EXPECT_EQ(ClusterKey::load(file)->fingerprint(), two.fingerprint());
  const std::filesystem::directory_iterator files(file.parent_path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

// Two writers at once, and files of others beside it.
TEST(ClusterKey, AWriterTakesNoOtherFileAwayAndLeavesNone) {
  const TempDir dir;
  const auto file = dir / "cluster.key";
  const auto others = dir / "cluster.key.new";
  std::ofstream(others) << "mine";
  std::vector<ClusterKey> keys;
  for (int i = 0; i < 8; ++i) keys.push_back(ClusterKey::make().value());
  std::atomic<int> written = 0;
  std::vector<std::thread> writers;
  for (const ClusterKey& key : keys) {
    writers.emplace_back([&] { written += key.write(file) ? 1 : 0; });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(written, 1);
  EXPECT_TRUE(ClusterKey::load(file));
  EXPECT_EQ(std::filesystem::file_size(others), 4U);
  // A folder is in the place of the file: that fails, with and without `replace`.
  std::filesystem::create_directories(dir / "folder" / "full");
  EXPECT_FALSE(keys[0].write(dir / "folder"));
  EXPECT_FALSE(keys[0].write(dir / "folder", true));
  const std::filesystem::directory_iterator files(file.parent_path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 3);
}

class FindClusterKeyTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::setenv("XDG_CONFIG_HOME", (dir_ / "config").c_str(), 1), 0);
    ASSERT_EQ(::unsetenv("SHARDSWARM_KEY"), 0);
    ASSERT_TRUE(key_.write(file_));
  }
  void TearDown() override { ::unsetenv("SHARDSWARM_KEY"); }
  static void set(const std::string& value) {
    ASSERT_EQ(::setenv("SHARDSWARM_KEY", value.c_str(), 1), 0);
  }
  void expect_found(const Result<std::optional<ClusterKey>>& found) {
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_TRUE(*found);
    EXPECT_EQ((*found)->fingerprint(), key_.fingerprint());
  }
  void expect_hidden(const Result<std::optional<ClusterKey>>& found, const std::string& text) {
    ASSERT_FALSE(found);
    EXPECT_THAT(found.error().message, Not(HasSubstr(text.substr(0, 12))));
  }

  TempDir dir_;
  std::filesystem::path file_ = dir_ / "some.key";
  ClusterKey key_ = ClusterKey::make().value();
};

TEST_F(FindClusterKeyTest, NoneIsNoError) {
  const auto found = find_cluster_key("");
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
}

TEST_F(FindClusterKeyTest, TheVariableHoldsAFileNameAKeyOrALine) {
  for (const std::string& value : {file_.string(), key_.pem(), key_.line()}) {
    set(value);
    expect_found(find_cluster_key(""));
    ASSERT_EQ(::unsetenv("SHARDSWARM_KEY"), 0);
    expect_found(find_cluster_key(value));
  }
  ASSERT_TRUE(key_.write(default_key_file()));
  expect_found(find_cluster_key(""));
}

TEST_F(FindClusterKeyTest, WhatIsNoFileIsNotShown) {
  const std::string body = secret_of(key_);
  const std::string one_line = body.substr(0, body.find('\n'));
  const std::string pem = key_.pem();
  for (const std::string& text :
       {body, one_line, one_line.substr(0, 50), "ab/" + one_line, "/" + one_line,
        pem.substr(0, pem.size() / 2), key_.line().substr(0, 300), key_.line().substr(20),
        std::string("my secret words"), std::string(100'000, 'A')}) {
    expect_hidden(find_cluster_key(text), text);
    if (text.size() >= 100'000) continue;  // the kernel takes no such variable from a parent
    set(text);
    expect_hidden(find_cluster_key(""), text);
    ASSERT_EQ(::unsetenv("SHARDSWARM_KEY"), 0);
  }
}

TEST_F(FindClusterKeyTest, AFileNameThatIsMistypedIsShown) {
  const auto found = find_cluster_key(dir_ / "sone.key");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::kRefused);
  EXPECT_THAT(found.error().message, HasSubstr("sone.key"));
}

}  // namespace
}  // namespace shardswarm
