// Searching digests on disk: whatever their distribution, and whatever became of the file.
#include "storage/digest_index.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>

#include "base/limits.h"
#include "tests/storage/checkpoint.h"
#include "tests/support/project.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using Digests = std::vector<Digest>;

Digest random_digest(std::mt19937_64& random) {
  Digest digest;
  for (std::byte& byte : digest.bytes) byte = static_cast<std::byte>(random());
  return digest;
}

Digests random_digests(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Digests digests(count);
  for (Digest& digest : digests) digest = random_digest(random);
  return digests;
}

// One plain file a list; the first `known` lists are there.
Manifest manifest_with(const std::vector<Digests>& lists, std::size_t known) {
  ManifestRoot root;
  std::vector<Blob> blobs;
  for (std::size_t i = 0; i < lists.size(); ++i) {
    Bytes list;
    for (const Digest& digest : lists[i]) {
      list.insert(list.end(), digest.bytes.begin(), digest.bytes.end());
    }
    FileEntry entry{.path = "file" + std::to_string(i), .size = lists[i].size() * limits::kMiB};
    entry.pieces = static_cast<std::uint32_t>(lists[i].size());
    entry.piece_list_digest = sha256(list);
    root.files.push_back(entry);
    blobs.push_back(std::make_shared<const Bytes>(std::move(list)));
  }
  Manifest manifest = must(Manifest::from_root(must(encode_root(root))));
  for (std::uint32_t i = 0; i < known; ++i) must(manifest.add_piece_list(FileIndex(i), blobs[i]));
  return manifest;
}
Manifest manifest_with(const Digests& digests) { return manifest_with({digests}, 1); }

class DigestIndexTest : public testing::Test {
 protected:
  DigestIndex write_and_open(const Manifest& manifest) {
    must(DigestIndex::write(file_, manifest));
    return must(DigestIndex::open(file_, manifest.id()));
  }
  // Every digest of the manifest is found where it is, no other one is; from disk and in memory.
  void expect_right(const Digests& digests) {
    const Manifest manifest = manifest_with(digests);
    Digests wanted = digests;
    const Digests strangers = random_digests(digests.size() + 10, 77);
    wanted.insert(wanted.end(), strangers.begin(), strangers.end());
    std::ranges::sort(wanted);
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    DigestIndex on_disk = write_and_open(manifest);
    DigestIndex in_memory = DigestIndex::in_memory(manifest);
    for (DigestIndex* index : {&on_disk, &in_memory}) {
      EXPECT_EQ(index->pieces(), digests.size());
      std::vector<bool> found(wanted.size());
      std::size_t before = 0;
      for (const DigestMatch& match : must(index->find(wanted))) {
        ASSERT_LT(match.at, wanted.size());
        ASSERT_LT(match.piece.value, digests.size());
        EXPECT_LE(before, match.at);
        before = match.at;
        if (manifest.digest(match.piece) == wanted[match.at]) found[match.at] = true;
      }
      EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(found, true)),
                wanted.size() - strangers.size());
    }
  }

  TempDir dir_;
  fs::path file_ = dir_ / "digests";
};

TEST_F(DigestIndexTest, EveryPieceIsFoundAndNoOther) {
  // Around the size of a block, 1365 records, and many blocks.
  for (const std::size_t count :
       std::vector<std::size_t>{0, 1, 2, 1364, 1365, 1366, 2731, 60'000}) {
    SCOPED_TRACE(count);
    expect_right(random_digests(count, count + 1));
  }
}

// SHA-256 is uniform; a piece list that somebody made up need not be.
TEST_F(DigestIndexTest, AnyDistributionIsSearched) {
  const std::vector<std::function<void(Digest&, std::size_t)>> skews = {
      // All in one corner.
      [](Digest& d, std::size_t) { std::fill_n(d.bytes.begin(), 5, std::byte{0}); },
      [](Digest& d, std::size_t) { std::fill_n(d.bytes.begin(), 5, std::byte{0xff}); },
      // Two heaps at the ends.
      [](Digest& d, std::size_t i) {
        std::fill_n(d.bytes.begin(), 4, std::byte(i % 2 == 0 ? 0 : 0xff));
      },
      // The more, the smaller: each interpolation lands beside it.
      [](Digest& d, std::size_t i) { std::fill_n(d.bytes.begin(), i % 6, std::byte{0}); },
      // One far away from all others.
      [](Digest& d, std::size_t i) {
        std::fill_n(d.bytes.begin(), 5, std::byte(i == 17 ? 0xff : 0x01));
      },
  };
  for (std::size_t i = 0; i < skews.size(); ++i) {
    SCOPED_TRACE(i);
    Digests digests = random_digests(30'000, i);
    for (std::size_t d = 0; d < digests.size(); ++d) skews[i](digests[d], d);
    expect_right(digests);
  }
}

TEST_F(DigestIndexTest, OneAtATimeIsAsGood) {
  const Digests digests = random_digests(20'000, 5);
  const Manifest manifest = manifest_with(digests);
  DigestIndex index = write_and_open(manifest);
  for (std::uint32_t i = 0; i < 20'000; i += 97) {
    const auto matches = must(index.find(std::span(digests).subspan(i, 1)));
    ASSERT_THAT(matches, SizeIs(1));
    EXPECT_EQ(matches[0].piece, PieceIndex(i));
  }
  EXPECT_THAT(must(index.find({})), IsEmpty());
}

// STO-47
TEST_F(DigestIndexTest, EqualPiecesAreNamedUpToALimit) {
  Digests digests = random_digests(10'000, 6);
  for (std::size_t i = 0; i < 3; ++i) digests[1000 * i + 500] = digests[9];
  for (std::size_t i = 4000; i < 9000; ++i) digests[i] = digests[10];  // of several blocks
  Digests wanted = {digests[9], digests[10], digests[11]};
  std::ranges::sort(wanted);
  DigestIndex index = write_and_open(manifest_with(digests));
  std::vector<std::size_t> counts(3);
  for (const DigestMatch& match : must(index.find(wanted))) {
    EXPECT_EQ(digests[match.piece.value], wanted[match.at]);
    ++counts[match.at];
  }
  const auto count = [&](const Digest& digest) {
    return counts[static_cast<std::size_t>(std::ranges::find(wanted, digest) - wanted.begin())];
  };
  EXPECT_EQ(count(digests[9]), 4U);
  EXPECT_EQ(count(digests[10]), DigestIndex::kEqualMax);
  EXPECT_EQ(count(digests[11]), 1U);
}

// A made-up list: the index names what it cannot tell apart, and whoever asks compares.
TEST_F(DigestIndexTest, AllDigestsWithOnePrefixAreAllNamedWhereTheyAreFew) {
  Digests digests = random_digests(DigestIndex::kEqualMax, 7);
  for (Digest& digest : digests) std::fill_n(digest.bytes.begin(), 8, std::byte{42});
  expect_right(digests);
}

// STO-46
TEST_F(DigestIndexTest, OnlyPiecesOfKnownListsAreInIt) {
  const std::vector<Digests> lists = {random_digests(10, 1), random_digests(20, 2)};
  const Manifest part = manifest_with(lists, 1);
  DigestIndex index = write_and_open(part);
  EXPECT_EQ(index.pieces(), 10U);
  EXPECT_THAT(must(index.find(std::span(lists[1]).first(1))), IsEmpty());
  const Manifest whole = manifest_with(lists, 2);
  EXPECT_EQ(whole.id(), part.id());
  index = write_and_open(whole);
  EXPECT_EQ(index.pieces(), 30U);
  const auto matches = must(index.find(std::span(lists[1]).first(1)));
  ASSERT_THAT(matches, SizeIs(1));
  EXPECT_EQ(matches[0].piece, PieceIndex(10));
}

// --- files that are not right ---

TEST_F(DigestIndexTest, NoFileIsNotFound) {
  EXPECT_EQ(DigestIndex::open(file_, ModelId{}).error().code, Errc::kNotFound);
}

// STO-45
TEST_F(DigestIndexTest, ADamagedHeadOrLengthIsMalformed) {
  const Manifest manifest = manifest_with(random_digests(5, 8));
  must(DigestIndex::write(file_, manifest));
  const Bytes good = read_file(file_);
  ASSERT_EQ(good.size(), 56U + 5 * 12);
  const auto expect_malformed = [&] {
    const auto opened = DigestIndex::open(file_, manifest.id());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Errc::kMalformed);
    EXPECT_THAT(opened.error().message, testing::HasSubstr(file_.string()));
  };
  for (std::size_t i = 0; i < 56; ++i) {
    Bytes bad = good;
    bad[i] ^= std::byte{1};
    write_file(file_, bad);
    expect_malformed();
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{55}, good.size() - 1}) {
    write_file(file_, std::span(good).first(size));
    expect_malformed();
  }
  Bytes longer = good;
  longer.resize(good.size() + 12);
  write_file(file_, longer);
  expect_malformed();
  write_file(file_, good);
  EXPECT_TRUE(DigestIndex::open(file_, manifest.id()));
  EXPECT_EQ(DigestIndex::open(file_, ModelId{}).error().code, Errc::kMalformed);
}

TEST_F(DigestIndexTest, AFileThatShrinksIsAnError) {
  const Digests digests = random_digests(5000, 9);
  DigestIndex index = write_and_open(manifest_with(digests));
  fs::resize_file(file_, 56 + 12);
  Digests wanted = digests;
  std::ranges::sort(wanted);
  const auto found = index.find(wanted);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::kIo);
}

TEST_F(DigestIndexTest, DamagedRecordsEndTheSearchAllTheSame) {
  const Digests digests = random_digests(20'000, 10);
  const Manifest manifest = manifest_with(digests);
  must(DigestIndex::write(file_, manifest));
  const Bytes good = read_file(file_);
  Digests wanted = digests;
  std::ranges::sort(wanted);
  std::mt19937_64 random(11);
  for (int round = 0; round < 4; ++round) {
    Bytes bad = good;
    for (std::size_t i = 56; i < bad.size(); ++i) {
      if (random() % 64 < 1U << (2 * round)) bad[i] = static_cast<std::byte>(random());
    }
    write_file(file_, bad);
    DigestIndex index = must(DigestIndex::open(file_, manifest.id()));
    for (const DigestMatch& match : must(index.find(wanted))) EXPECT_LT(match.at, wanted.size());
  }
}

// --- writing ---

TEST_F(DigestIndexTest, WritingTakesThePlaceOfWhatIsThere) {
  write_file(file_, "an older one");
  write_file(dir_ / "digests.new", random_digests(100, 1)[0].bytes);  // of a run that was killed
  const Digests digests = random_digests(3, 12);
  DigestIndex index = write_and_open(manifest_with(digests));
  EXPECT_EQ(index.pieces(), 3U);
  EXPECT_FALSE(fs::exists(dir_ / "digests.new"));
}

TEST_F(DigestIndexTest, WhileAnotherWritesItIsBusyAndTheOldOneStays) {
  const Manifest manifest = manifest_with(random_digests(3, 13));
  must(DigestIndex::write(file_, manifest));
  const Fd other(::open((dir_ / "digests.new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  ASSERT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(DigestIndex::write(file_, manifest).error().code, Errc::kBusy);
  EXPECT_TRUE(fs::exists(dir_ / "digests.new"));
  EXPECT_TRUE(DigestIndex::open(file_, manifest.id()));
}

TEST_F(DigestIndexTest, WhereNothingCanBeWrittenItSaysSo) {
  const Manifest manifest = manifest_with(random_digests(3, 14));
  EXPECT_EQ(DigestIndex::write(dir_ / "no folder" / "digests", manifest).error().code,
            Errc::kNotFound);
}

// --- the worked example of spec/storage.md ---

TEST_F(DigestIndexTest, TheExampleOfTheSpecificationIsWhatIsWritten) {
  std::ifstream spec(project_root() / "spec" / "storage.md");
  std::string line;
  while (std::getline(spec, line) && line != "```hex digest index") continue;
  Bytes example;
  while (std::getline(spec, line) && line != "```") {
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      example.push_back(std::byte(std::stoi(word, nullptr, 16)));
    }
  }
  const Files files = {{"a.txt", bytes_of("one")}, {"b.txt", bytes_of("two")}};
  must(DigestIndex::write(file_, *manifest_of(files)));
  EXPECT_EQ(read_file(file_), example);
}

}  // namespace
}  // namespace shardswarm::test
