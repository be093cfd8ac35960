#include "swarm/manifest_fetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/swarm/virtual_swarm.h"
#include "tests/wire/zstd_frame.h"
#include "wire/blob_codec.h"

namespace shardswarm {
namespace {

using std::chrono::seconds;
using test::make_memory_model;
using test::MemoryModel;

constexpr PeerKey kA(1);
constexpr PeerKey kB(2);

class ManifestFetchTest : public testing::Test {
 protected:
  // Answers everything that is asked from the complete manifest, in parts of `part` bytes;
  // compressed where that is shorter, if asked to.
  Result<void> answer(ManifestFetch& fetch, std::size_t part = 100, bool compress = false) {
    while (!fetch.done()) {
      const auto asks = fetch.decide(Time(0));
      if (asks.empty()) return fail(Errc::kInternal, "nothing was asked");
      for (const auto& ask : asks) {
        ++asked_;
        Blob blob = model_.manifest->find_blob(ask.digest);
        if (!blob) return fail(Errc::kInternal, "an unknown blob was asked for");
        const auto shorter = compress ? compress_blob(*blob) : std::nullopt;
        if (shorter) {
          ++compressed_;
          blob = std::make_shared<const std::vector<std::byte>>(*shorter);
        }
        for (std::size_t at = 0; at < blob->size(); at += part) {
          const std::size_t n = std::min(part, blob->size() - at);
          auto taken = fetch.chunk(ask.peer,
                                   {.request = ask.request,
                                    .offset = static_cast<std::uint32_t>(at),
                                    .bytes = std::span(*blob).subspan(at, n),
                                    .last = at + n == blob->size(),
                                    .compressed = shorter.has_value()},
                                   Time(0));
          if (!taken) return taken;
        }
      }
    }
    return {};
  }

  MemoryModel model_ = make_memory_model(4, 2, 5000, 1);
  std::size_t asked_ = 0;
  std::size_t compressed_ = 0;
};

TEST_F(ManifestFetchTest, LearnsRootHeaderAndPieceLists) {
  ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  ASSERT_TRUE(answer(fetch));
  EXPECT_EQ(asked_, 4U);  // root, header, two piece lists
  EXPECT_EQ(fetch.resolved().pieces.count(), model_.manifest->piece_count());
  EXPECT_EQ(fetch.manifest()->digest(PieceIndex(3)), model_.manifest->digest(PieceIndex(3)));
}

TEST_F(ManifestFetchTest, OfNoFilesItLearnsTheRootAndOfFilesThese) {
  auto root = ManifestFetch::of_files(model_.manifest->id(), {}, 1);
  root.add_peer(kA);
  ASSERT_TRUE(answer(root));
  EXPECT_EQ(asked_, 1U);
  auto fetch = ManifestFetch::of_files(model_.manifest->id(), {FileIndex(0)}, 100);
  ASSERT_TRUE(fetch.know(*root.manifest()));
  fetch.add_peer(kA);
  ASSERT_TRUE(answer(fetch));
  EXPECT_FALSE(fetch.manifest()->needs_piece_list(FileIndex(0)));
  EXPECT_TRUE(fetch.manifest()->needs_header(FileIndex(1)));
}

TEST_F(ManifestFetchTest, KnowsWhoLacksAllThatIsMissing) {
  ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  auto asks = fetch.decide(Time(0));
  ASSERT_EQ(asks.size(), 1U);
  EXPECT_FALSE(fetch.lacks(kA));
  fetch.rejected(kA, asks[0].request, Time(0));
  EXPECT_TRUE(fetch.lacks(kA));
  // Asked again, until it answers otherwise.
  asks = fetch.decide(seconds(60));
  ASSERT_EQ(asks.size(), 1U);
  EXPECT_TRUE(fetch.lacks(kA));
  fetch.add_peer(kB);
  EXPECT_FALSE(fetch.lacks(kB));
  const Blob root = model_.manifest->root_blob();
  ASSERT_TRUE(
      fetch.chunk(kA, {.request = asks[0].request, .bytes = *root, .last = true}, seconds(60)));
  EXPECT_FALSE(fetch.lacks(kA));
  fetch.remove_peer(kA);
  EXPECT_FALSE(fetch.lacks(kA));
}

TEST_F(ManifestFetchTest, LearnsFromCompressedBlobs) {  // WIRE-45
  for (const std::size_t part : {std::size_t{1}, std::size_t{100}, std::size_t{128 * 1024}}) {
    compressed_ = 0;
    ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
    fetch.add_peer(kA);
    ASSERT_TRUE(answer(fetch, part, true));
    EXPECT_GE(compressed_, 1U);  // the header, if not the root
    EXPECT_EQ(fetch.manifest()->digest(PieceIndex(3)), model_.manifest->digest(PieceIndex(3)));
  }
}

// The answer to the first request of a fetch, for the root or, where the root is known, the header.
TEST_F(ManifestFetchTest, RefusesCompressedBlobsThatAreNone) {  // WIRE-47
  using Bytes = std::vector<std::byte>;
  const auto refusal = [&](bool root_known, const Bytes& bytes) {
    ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kHeaders);
    if (root_known) {
      EXPECT_TRUE(fetch.know(Manifest::from_root(*model_.manifest->root_blob()).value()));
    }
    fetch.add_peer(kA);
    const auto asks = fetch.decide(Time(0));
    const auto taken = fetch.chunk(
        kA, {.request = asks.at(0).request, .bytes = bytes, .last = true, .compressed = true},
        Time(0));
    EXPECT_EQ(fetch.done(), taken.has_value());
    return taken ? Error{Errc::kInternal, "taken"} : taken.error();
  };
  const Bytes header = *model_.manifest->header_blob(FileIndex(1));
  const Bytes frame = compress_blob(header).value();
  EXPECT_EQ(refusal(true, frame).message, "taken");

  // Four bytes unfold to 128 KiB, again and again.
  const Bytes bomb = test::zstd_frame_of_zeros(20 * limits::kMiB);
  ASSERT_LT(bomb.size(), 1000U);
  for (const bool root_known : {false, true}) {
    const Error error = refusal(root_known, bomb);
    EXPECT_EQ(error.code, Errc::kProtocol);
    EXPECT_THAT(error.message, testing::HasSubstr("unfolds to more than"));
  }
  EXPECT_EQ(refusal(false, test::zstd_frame_of_zeros(limits::kGiB)).code, Errc::kProtocol);

  Bytes changed = frame;
  changed.pop_back();
  EXPECT_THAT(refusal(true, changed).message, testing::HasSubstr("cut short"));
  changed = frame;
  changed.push_back(std::byte{0});
  EXPECT_THAT(refusal(true, changed).message, testing::HasSubstr("follows"));
  EXPECT_EQ(refusal(true, header).code, Errc::kProtocol);  // as it is
  // Well formed, and something else.
  EXPECT_EQ(refusal(true, test::zstd_frame_of_zeros(header.size())).code, Errc::kCorrupt);
  EXPECT_EQ(refusal(false, frame).code, Errc::kCorrupt);
  // The frame itself is no longer than what it stands for.
  EXPECT_THAT(refusal(true, Bytes(header.size() + 1)).message, testing::HasSubstr("longer"));
}

TEST_F(ManifestFetchTest, StopsAtHeadersWhenOnlyPlanning) {
  ManifestFetch fetch(model_.manifest->id(), {.layers = {{1, 1}}}, ManifestFetch::Until::kHeaders);
  fetch.add_peer(kA);
  ASSERT_TRUE(answer(fetch));
  EXPECT_EQ(asked_, 2U);
  EXPECT_EQ(tensor_count(fetch.resolved().tensors), 2U);
}

TEST_F(ManifestFetchTest, AsksAnotherPeerAfterARejection) {
  ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  const auto first = fetch.decide(Time(0));
  ASSERT_EQ(first.size(), 1U);
  fetch.rejected(kA, first[0].request, Time(0));
  EXPECT_TRUE(fetch.decide(Time(0)).empty());  // not at once from the same peer
  fetch.add_peer(kB);
  const auto second = fetch.decide(Time(0));
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].peer, kB);
}

// A byte now and then must not hold a blob for ever.
TEST_F(ManifestFetchTest, PassesOverAPeerThatSendsDropByDrop) {
  ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  fetch.add_peer(kB);
  const auto asked = fetch.decide(Time(0));
  ASSERT_EQ(asked.size(), 1U);
  const Blob root = model_.manifest->root_blob();
  std::vector<ManifestFetch::Ask> again;
  for (std::uint32_t i = 0; i < 4 && again.empty(); ++i) {
    const Time now = seconds(2 * i);
    ASSERT_TRUE(fetch.chunk(
        asked[0].peer,
        {.request = asked[0].request, .offset = i, .bytes = std::span(*root).subspan(i, 1)}, now));
    again = fetch.decide(now);
  }
  ASSERT_EQ(again.size(), 1U);
  EXPECT_NE(again[0].peer, asked[0].peer);
}

TEST_F(ManifestFetchTest, AsksTheSamePeerAgainLater) {
  ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  fetch.rejected(kA, fetch.decide(Time(0))[0].request, Time(0));
  ASSERT_TRUE(fetch.next_deadline());
  EXPECT_EQ(fetch.decide(*fetch.next_deadline()).size(), 1U);
}

TEST_F(ManifestFetchTest, PassesOverAPeerThatLeavesOrIsSilent) {
  ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  (void)fetch.decide(Time(0));
  fetch.add_peer(kB);
  EXPECT_TRUE(fetch.decide(seconds(1)).empty());
  const auto silent = fetch.decide(seconds(6));
  ASSERT_EQ(silent.size(), 1U);
  EXPECT_EQ(silent[0].peer, kB);
  fetch.remove_peer(kB);
  const auto again = fetch.decide(seconds(9));
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].peer, kA);
}

TEST_F(ManifestFetchTest, RefusesWrongBytesDisorderAndExcess) {
  const auto begin = [&](ManifestFetch& fetch) {
    fetch.add_peer(kA);
    return fetch.decide(Time(0))[0].request;
  };
  const std::vector<std::byte> bytes(10);
  {
    ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
    const auto request = begin(fetch);
    const auto taken = fetch.chunk(kA, {.request = request, .bytes = bytes, .last = true}, Time(0));
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Errc::kCorrupt);
  }
  {
    ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
    const auto request = begin(fetch);
    const auto taken = fetch.chunk(kA, {.request = request, .offset = 5, .bytes = bytes}, Time(0));
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Errc::kProtocol);
  }
  {
    ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
    const auto request = begin(fetch);
    const std::vector<std::byte> part(128 * 1024);
    Result<void> taken;
    for (std::uint32_t at = 0; taken && at <= limits::kRootBytesMax;
         at += static_cast<std::uint32_t>(part.size())) {
      taken = fetch.chunk(kA, {.request = request, .offset = at, .bytes = part}, Time(0));
    }
    ASSERT_FALSE(taken);
    EXPECT_THAT(taken.error().message, testing::HasSubstr("longer than stated"));
  }
}

TEST_F(ManifestFetchTest, IgnoresAnswersThatNobodyWaitsFor) {
  ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  const auto request = fetch.decide(Time(0))[0].request;
  EXPECT_TRUE(
      fetch.chunk(kB, {.request = request, .offset = 77, .bytes = {}, .last = true}, Time(0)));
  EXPECT_TRUE(
      fetch.chunk(kA, {.request = request + 1, .offset = 77, .bytes = {}, .last = true}, Time(0)));
  EXPECT_FALSE(fetch.done());
}

TEST_F(ManifestFetchTest, AnImpossibleSelectionIsAUsageError) {
  ManifestFetch fetch(model_.manifest->id(), {.layers = {{9, 9}}},
                      ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  const auto learned = answer(fetch);
  ASSERT_FALSE(learned);
  EXPECT_EQ(learned.error().code, Errc::kUsage);
}

}  // namespace
}  // namespace shardswarm
