// Which first copies an uploader gives, and how long others are kept from them.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "scheduler/upload.h"

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;
using Copy = UploadScheduler::Copy;

constexpr std::uint32_t kMany = 2000;
constexpr std::uint32_t kBytes = 1000;
constexpr Time kStart = 2s;  // every peer's first second is over by then

NodeId id_of(std::uint64_t peer) {
  NodeId id;
  id.bytes[0] = static_cast<std::byte>(peer);
  return id;
}

// A source of everything, with peers that want and offer everything, all connected to each other.
class Source {
 public:
  Source(std::uint64_t seed, std::uint64_t peers)
      : up(kMany, [](PieceIndex) { return kBytes; }, {.seed = seed}) {
    const PieceRun all{PieceIndex(0), kMany};
    up.have({&all, 1});
    std::vector<NodeId> ids;
    for (std::uint64_t peer = 1; peer <= peers; ++peer) ids.push_back(id_of(peer));
    for (std::uint64_t peer = 1; peer <= peers; ++peer) {
      up.add_peer(PeerKey(peer), id_of(peer), 0s);
      up.peer_wants(PeerKey(peer), {&all, 1});
      up.peer_connected_to(PeerKey(peer), ids);
      up.asked(PeerKey(peer), {&all, 1}, 1U << 30, true);
    }
    up.expire(kStart);
  }
  PieceIndex give(std::uint64_t peer, Copy copy = Copy::kAny, Time now = kStart) {
    const auto piece = up.choose(PeerKey(peer), copy, now);
    EXPECT_TRUE(piece);
    if (!piece) return PieceIndex(0);
    up.sent(PeerKey(peer), *piece, kBytes, now);
    return *piece;
  }

  UploadScheduler up;
};

TEST(FirstCopy, EachGoesToOnePeerBeforeAnyGoesToTwo) {
  Source source(1, 4);
  PieceSet given(kMany);
  for (std::uint32_t n = 0; n < kMany; ++n) EXPECT_TRUE(given.insert(source.give(1 + n % 4)));
  for (std::uint64_t peer = 1; peer <= 4; ++peer) {
    EXPECT_EQ(source.up.choose(PeerKey(peer), Copy::kFirst, kStart), std::nullopt);
  }
}

TEST(FirstCopy, ComesFromTheFirstThatAreLeft) {
  Source source(1, 1);
  PieceSet given(kMany);
  for (std::uint32_t n = 0; n < kMany; ++n) {
    const std::uint32_t first_left = (PieceSet::full(kMany) - given).next(PieceIndex(0))->value;
    const PieceIndex piece = source.give(1, Copy::kFirst);
    EXPECT_LT(piece.value - first_left, 256U);
    given.insert(piece);
  }
}

// Two sources that do not hear of each other's pieces yet.
TEST(FirstCopy, TwoSourcesGiveMostlyOthers) {
  Source one(1, 1);
  Source other(2, 1);
  PieceSet ones(kMany);
  PieceSet others(kMany);
  for (int n = 0; n < 50; ++n) {
    ones.insert(one.give(1));
    others.insert(other.give(1));
  }
  EXPECT_LE((ones & others).count(), 20U);
}

TEST(FirstCopy, IsNoneOfAPieceThatSomebodyHolds) {
  Source source(1, 2);
  const PieceRun all_but_one{PieceIndex(1), kMany - 1};
  source.up.peer_has(PeerKey(2), {&all_but_one, 1}, kStart);
  EXPECT_EQ(source.give(1, Copy::kFirst), PieceIndex(0));
  EXPECT_EQ(source.up.choose(PeerKey(1), Copy::kFirst, kStart), std::nullopt);
  EXPECT_TRUE(source.up.choose(PeerKey(1), Copy::kAny, kStart));
}

// Takers come, take first copies and leave: nobody waits for a piece whose taker is gone.
TEST(FirstCopy, NoLeaseOutlivesItsTaker) {
  std::mt19937_64 random(1);
  Source source(1, 20);
  std::map<PieceIndex, std::uint64_t> takers;
  for (int n = 0; n < 400; ++n) {
    const std::uint64_t peer = 2 + random() % 19;
    takers[source.give(peer, Copy::kFirst)] = peer;
  }
  for (std::uint64_t gone = 2; gone <= 20; ++gone) {
    source.up.remove_peer(PeerKey(gone));
    for (const auto& [piece, taker] : takers) {
      const PieceRun run{piece, 1};
      const auto refused = source.up.asked(PeerKey(1), {&run, 1}, 0, false);
      EXPECT_EQ(refused.leased.empty(), taker <= gone) << piece.value;
    }
  }
  EXPECT_EQ(source.up.next_deadline(), std::nullopt);
}

}  // namespace
}  // namespace shardswarm::test
