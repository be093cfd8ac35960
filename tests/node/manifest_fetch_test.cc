#include "node/manifest_fetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/node/virtual_swarm.h"

namespace shardswarm {
namespace {

using std::chrono::seconds;
using test::make_memory_model;
using test::MemoryModel;

constexpr PeerKey kA(1);
constexpr PeerKey kB(2);

class ManifestFetchTest : public testing::Test {
 protected:
  // Answers everything that is asked from the complete manifest, in parts of `part` bytes.
  Result<void> answer(ManifestFetch& fetch, std::size_t part = 100) {
    while (!fetch.done()) {
      const auto asks = fetch.decide(Time(0));
      if (asks.empty()) return fail(Errc::kInternal, "nothing was asked");
      for (const auto& ask : asks) {
        ++asked_;
        const Blob blob = model_.manifest->find_blob(ask.digest);
        if (!blob) return fail(Errc::kInternal, "an unknown blob was asked for");
        for (std::size_t at = 0; at < blob->size(); at += part) {
          const std::size_t n = std::min(part, blob->size() - at);
          auto taken =
              fetch.chunk(ask.peer, ask.request, static_cast<std::uint32_t>(at),
                          std::span(*blob).subspan(at, n), at + n == blob->size(), Time(0));
          if (!taken) return taken;
        }
      }
    }
    return {};
  }

  MemoryModel model_ = make_memory_model(4, 2, 5000, 1);
  std::size_t asked_ = 0;
};

TEST_F(ManifestFetchTest, LearnsRootHeaderAndPieceLists) {
  ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  ASSERT_TRUE(answer(fetch));
  EXPECT_EQ(asked_, 4U);  // root, header, two piece lists
  EXPECT_EQ(fetch.resolved().pieces.count(), model_.manifest->piece_count());
  EXPECT_EQ(fetch.manifest()->digest(PieceIndex(3)), model_.manifest->digest(PieceIndex(3)));
}

TEST_F(ManifestFetchTest, StopsAtHeadersWhenOnlyPlanning) {
  ManifestFetch fetch(model_.manifest->id(), {.layers = {{1, 1}}}, ManifestFetch::Until::kHeaders);
  fetch.add_peer(kA);
  ASSERT_TRUE(answer(fetch));
  EXPECT_EQ(asked_, 2U);
  EXPECT_EQ(fetch.resolved().tensors, 2U);
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
    ASSERT_TRUE(fetch.chunk(asked[0].peer, asked[0].request, i, std::span(*root).subspan(i, 1),
                            false, now));
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
    const auto taken = fetch.chunk(kA, request, 0, bytes, true, Time(0));
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Errc::kCorrupt);
  }
  {
    ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
    const auto request = begin(fetch);
    const auto taken = fetch.chunk(kA, request, 5, bytes, false, Time(0));
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
      taken = fetch.chunk(kA, request, at, part, false, Time(0));
    }
    ASSERT_FALSE(taken);
    EXPECT_THAT(taken.error().message, testing::HasSubstr("longer than stated"));
  }
}

TEST_F(ManifestFetchTest, IgnoresAnswersThatNobodyWaitsFor) {
  ManifestFetch fetch(model_.manifest->id(), {}, ManifestFetch::Until::kPieceLists);
  fetch.add_peer(kA);
  const auto request = fetch.decide(Time(0))[0].request;
  EXPECT_TRUE(fetch.chunk(kB, request, 77, {}, true, Time(0)));
  EXPECT_TRUE(fetch.chunk(kA, request + 1, 77, {}, true, Time(0)));
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
