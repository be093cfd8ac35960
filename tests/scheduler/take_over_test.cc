// Pulls that wait at one peer and are asked of another at the end; the order of ranks.
#include <gmock/gmock.h>

#include <random>

#include "tests/scheduler/downloader.h"

namespace shardswarm::test {
namespace {

using testing::IsEmpty;

std::map<PeerKey, PieceSet> asked_now(const Downloader& down) {
  std::map<PeerKey, PieceSet> asked;
  for (const auto& [peer, pieces] : down.asked) {
    if (!pieces.empty()) asked.emplace(peer, pieces);
  }
  return asked;
}

TEST(TakeOver, LeavesAClaimedPull) {
  Downloader down(run(0, 8));
  for (const PeerKey peer : {kAnn, kBob}) down.add(peer, run(0, 8));
  down.decide(0s);
  for (const PeerKey peer : {kAnn, kBob}) {
    down.asked[peer].for_each([&](PieceIndex piece) { down.claimed(peer, piece.value, 0s); });
  }
  const auto before = asked_now(down);
  for (std::uint64_t peer = 3; peer <= 40; ++peer) {
    down.add(PeerKey(peer), run(0, 8), 1ms);
    EXPECT_THAT(down.decide(1ms).withdraw, IsEmpty());
  }
  EXPECT_EQ(asked_now(down), before);
}

// The CANCEL of a decision goes out before its requests: what is asked in it may not move again.
TEST(TakeOver, NothingIsWithdrawnFromThePeerThatTheSameDecisionAsks) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Downloader down(run(0, 64), seed);
    for (const PeerKey peer : {kAnn, kBob}) down.add(peer, run(0, 64));
    down.decide(0s);
    for (std::uint64_t peer = 3; peer <= 12; ++peer) down.add(PeerKey(peer), run(0, 64), 1ms);
    const Decision decision = down.scheduler.decide(1ms);
    for (const Withdraw& withdraw : decision.withdraw) {
      for (const Ask& ask : decision.ask) {
        if (ask.peer != withdraw.peer) continue;
        EXPECT_FALSE(Downloader::set(ask.pieces).intersects(Downloader::set(withdraw.pieces)));
      }
    }
  }
}

TEST(TakeOver, WhoOwesNothingTakesOverAtTheEndOneByOne) {
  Downloader down(run(0, 8));
  for (const PeerKey peer : {kAnn, kBob}) down.add(peer, run(0, 8));
  down.decide(0s);
  const PieceSet anns = down.asked[kAnn];
  ASSERT_EQ(anns.count(), 4U);
  down.asked[kBob].for_each([&](PieceIndex piece) { down.deliver(kBob, piece.value, 10ms); });
  for (std::uint32_t left = 3; left > 0; --left) {
    const Decision decision = down.decide(20ms - left * 1ms);
    ASSERT_EQ(decision.ask.size(), 1U);
    EXPECT_EQ(decision.ask[0].peer, kBob);
    ASSERT_EQ(decision.withdraw.size(), 1U);
    EXPECT_EQ(decision.withdraw[0].pieces, decision.ask[0].pieces);
    EXPECT_EQ(down.asked[kAnn].count(), left);
    down.deliver(kBob, decision.ask[0].pieces[0].first.value, 20ms - left * 1ms);
  }
  EXPECT_THAT(down.decide(20ms).ask, IsEmpty()) << "Ann's last one stays with her";
}

// Nothing comes, and half a second is not over: every pull settles after at most one move.
TEST(TakeOver, NeverGoesToAndFro) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    std::mt19937_64 random(seed);
    const auto pieces = static_cast<std::uint32_t>(1 + random() % 12);
    Downloader down(run(0, pieces), seed);
    const std::uint64_t peers = 2 + random() % 5;
    for (std::uint64_t peer = 1; peer <= peers; ++peer) {
      down.add(PeerKey(peer), run(0, 1 + static_cast<std::uint32_t>(random() % pieces)));
      down.has(PeerKey(peer), run(static_cast<std::uint32_t>(random() % pieces)));
      if (peer == 2 || random() % 2 == 0) down.decide(peer * 1ms);
    }
    std::size_t withdrawn = 0;
    for (Time now = 10ms; now < 500ms; now += 1ms) {
      for (const Withdraw& withdraw : down.decide(now).withdraw) {
        withdrawn += Downloader::set(withdraw.pieces).count();
      }
      down.scheduler.measured_round_trip(kAnn, 1ms);  // so that each one decides
    }
    EXPECT_LE(withdrawn, pieces) << seed;
  }
}

// --- ranks ---

struct Ranked : Downloader {
  // The last pieces first.
  static DownloadOptions by_rank(std::uint64_t seed) {
    DownloadOptions options = Downloader::options(seed);
    options.rank = [](PieceIndex piece) { return (kPieces - 1 - piece.value) / 10; };
    return options;
  }
  explicit Ranked(std::uint64_t seed) : Downloader(run(0, kPieces), by_rank(seed)) {}
};

TEST(Rank, EarlierOnesArePulledFirstHoweverManyHoldThem) {
  Ranked down(1);
  for (const PeerKey peer : {kAnn, kBob}) down.add(peer, run(0, kPieces));
  down.add(kCid, run(kPieces - 20, 20));
  down.decide(0s);
  PieceSet asked(kPieces);
  for (const auto& [peer, pieces] : down.asked) asked |= pieces;
  ASSERT_GT(asked.count(), 20U);
  EXPECT_TRUE((set_of(run(kPieces - 20, 20)) - asked).empty());
  EXPECT_TRUE((asked - set_of(run(kPieces - 30, 30))).empty());
}

TEST(Rank, EarlierOnesAreOfferedFirst) {
  Ranked down(1);
  down.add(kAnn, run(0, kPieces));
  down.decide(0s);
  const PieceSet first = down.asked[kAnn];
  ASSERT_GE(first.count(), 8U) << "at least what the credit pays for";
  ASSERT_LT(first.count(), kPieces);
  const std::uint32_t last = kPieces - first.count();
  EXPECT_TRUE((first - set_of(run(last / 10 * 10, kPieces - last / 10 * 10))).empty());
  // As they come, later ones follow, until all came.
  for (std::uint32_t n = 1; n <= kPieces; ++n) {
    const std::uint32_t piece = kPieces - n;
    ASSERT_TRUE(down.claimed(kAnn, piece, n * 1ms)) << piece;
    down.deliver(kAnn, piece, n * 1ms);
    down.decide(n * 1ms);
  }
  EXPECT_TRUE(down.scheduler.done());
}

}  // namespace
}  // namespace shardswarm::test
