#include "scheduler/download.h"

#include <gmock/gmock.h>

#include "tests/scheduler/downloader.h"

namespace shardswarm::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// --- offers ---

TEST(Download, OffersAllToASoleHolderWithCreditThatFillsTheWindow) {
  Downloader down;
  down.add(kAnn, run(0, 100));
  const Decision decision = down.decide(0s);
  ASSERT_EQ(decision.ask.size(), 1U);
  EXPECT_EQ(decision.ask[0].peer, kAnn);
  EXPECT_TRUE(decision.ask[0].any);
  EXPECT_THAT(decision.ask[0].pieces, ElementsAre(run(0, 100)));
  EXPECT_EQ(decision.ask[0].credit_bytes, kWindowUnmeasured);
  EXPECT_THAT(decision.withdraw, IsEmpty());
  down.has(kAnn, run(100, 5));
  const Decision more = down.decide(1ms);
  ASSERT_EQ(more.ask.size(), 1U);
  EXPECT_THAT(more.ask[0].pieces, ElementsAre(run(100, 5)));
  EXPECT_EQ(more.ask[0].credit_bytes, 0U) << "the window is full";
}

TEST(Download, RefillsCreditWhenAQuarterOfTheWindowIsFree) {
  Downloader down;
  down.add(kAnn, run(0, 100));
  down.decide(0s);
  ASSERT_TRUE(down.claimed(kAnn, 5, 1ms));
  EXPECT_THAT(down.decide(1ms).ask, IsEmpty()) << "claimed is still under way";
  EXPECT_EQ(down.scheduler.outstanding_bytes(kAnn), kBytes);
  down.deliver(kAnn, 5, 2ms);
  EXPECT_THAT(down.decide(2ms).ask, IsEmpty()) << "an eighth is free";
  down.deliver(kAnn, 3, 3ms);
  const Decision decision = down.decide(3ms);
  ASSERT_EQ(decision.ask.size(), 1U);
  EXPECT_EQ(decision.ask[0].credit_bytes, kWindowUnmeasured / 4);
  EXPECT_THAT(decision.ask[0].pieces, IsEmpty()) << "they are offered already";
}

TEST(Download, ASecondHoldersHaveTurnsAnOfferIntoAPull) {
  Downloader down(run(0, 10));
  down.add(kAnn, run(0, 10));
  down.decide(0s);
  down.add(kBob, run(4, 2), 1ms);
  const Decision decision = down.decide(1ms);
  ASSERT_EQ(decision.withdraw.size(), 1U);
  EXPECT_EQ(decision.withdraw[0].peer, kAnn);
  EXPECT_THAT(decision.withdraw[0].pieces, ElementsAre(run(4, 2)));
  ASSERT_EQ(decision.ask.size(), 1U) << "Ann's offers flow";
  EXPECT_EQ(decision.ask[0].peer, kBob);
  EXPECT_FALSE(decision.ask[0].any);
  EXPECT_THAT(decision.ask[0].pieces, ElementsAre(run(4, 2)));
}

// The uploader exceeds the credit by its last piece, and both sides count it as used up.
TEST(Download, AClaimThatExceedsTheCreditLeavesNone) {
  Downloader down(run(0, 10), 1, [](PieceIndex piece) {
    return piece.value == 0 ? std::uint32_t{kWindowUnmeasured} - 1 : 1U << 20;
  });
  down.add(kAnn, run(0, 10));
  ASSERT_EQ(credit_of(down.decide(0s), kAnn), kWindowUnmeasured);
  ASSERT_TRUE(down.claimed(kAnn, 0, 1ms));
  ASSERT_TRUE(down.claimed(kAnn, 1, 1ms)) << "one byte of credit was left";
  EXPECT_EQ(down.scheduler.outstanding_bytes(kAnn), kWindowUnmeasured - 1 + (1U << 20));
  EXPECT_EQ(credit_of(down.decide(1ms), kAnn), 0U) << "more than the window is under way";
  down.scheduler.arrived(kAnn, PieceIndex(0));
  EXPECT_EQ(credit_of(down.decide(2ms), kAnn), kWindowUnmeasured - (1U << 20));
}

// The uploader took the credit when it chose, before our CANCEL reached it. If we still counted
// that credit as given, Ann would wait for credit and we for her pieces, for ever.
TEST(Download, AnUnwelcomeClaimUsesUpItsCreditAllTheSame) {
  Downloader down;
  down.add(kAnn, run(0, 100));
  ASSERT_EQ(credit_of(down.decide(0s), kAnn), 8 * kBytes);
  down.add(kBob, run(0, 8), 1ms);
  down.decide(1ms);
  for (std::uint32_t i = 0; i < 8; ++i) ASSERT_TRUE(down.claimed(kBob, i, 2ms));
  for (std::uint32_t i = 0; i < 8; ++i) ASSERT_FALSE(down.claimed(kAnn, i, 3ms));
  for (std::uint32_t i = 0; i < 8; ++i) down.deliver(kBob, i, 4ms);
  EXPECT_GE(later_credit(down, kAnn, 4ms), kBytes);
}

// The same crossing, when Ann herself is asked for what she had chosen.
TEST(Download, AClaimOfAPulledPieceChosenAsAnOfferUsesUpItsCredit) {
  Downloader down(run(0, 16));
  down.add(kAnn, run(0, 16));
  ASSERT_EQ(credit_of(down.decide(0s), kAnn), 8 * kBytes);
  down.add(kBob, run(0, 16), 1s);
  down.decide(1s);  // her offers are quiet, so she is asked, too
  const PieceSet hers = down.asked[kAnn] - down.asked[kBob];
  ASSERT_EQ(hers.count(), 8U);
  hers.for_each([&](PieceIndex piece) { ASSERT_TRUE(down.claimed(kAnn, piece.value, 1001ms)); });
  hers.for_each([&](PieceIndex piece) { down.deliver(kAnn, piece.value, 1100ms); });
  down.scheduler.remove_peer(kBob);
  EXPECT_GE(later_credit(down, kAnn, 1100ms), kBytes);
}

// --- pulls ---

TEST(Download, PullsRarestFirstEachFromOnePeer) {
  Downloader down(run(0, 40));
  down.add(kAnn, run(0, 40));
  down.add(kBob, run(0, 40));
  down.add(kCid, run(0, 10));
  down.has(kCid, run(18, 22));  // 10 to 17 are the rare ones
  const Decision decision = down.decide(0s);
  ASSERT_EQ(decision.ask.size(), 3U);
  EXPECT_TRUE((set_of(run(10, 8)) - (down.asked[kAnn] | down.asked[kBob])).empty());
  PieceSet all(kPieces);
  for (const Ask& ask : decision.ask) {
    EXPECT_FALSE(ask.any);
    EXPECT_EQ(ask.credit_bytes, 0U);
    EXPECT_FALSE(all.intersects(Downloader::set(ask.pieces)));
    all |= Downloader::set(ask.pieces);
    EXPECT_EQ(down.scheduler.outstanding_bytes(ask.peer), kWindowUnmeasured);
  }
  EXPECT_THAT(down.decide(0s).ask, IsEmpty()) << "the windows are full";
}

TEST(Download, PullsFromThePeerThatOwesLeast) {
  Downloader down(run(0, 9));
  for (const PeerKey peer : {kAnn, kBob, kCid}) down.add(peer, run(0, 9));
  down.decide(0s);
  for (const PeerKey peer : {kAnn, kBob, kCid}) EXPECT_EQ(down.asked[peer].count(), 3U);
}

// Of all peers together no more is asked than they send in a tenth of a second, but for 8 MiB.
TEST(Download, WhatIsPulledOfAllTogetherIsBounded) {
  Downloader down;
  for (std::uint64_t peer = 1; peer <= 20; ++peer) down.add(PeerKey(peer), run(0, kPieces));
  std::uint64_t bytes = 0;
  for (const Ask& ask : down.decide(0s).ask) bytes += Downloader::set(ask.pieces).count() * kBytes;
  EXPECT_EQ(bytes, DownloadOptions().in_all_bytes_min) << "20 windows were five times as much";
}

// Three full holders too: the third one's HAVE names all pieces in ascending order.
TEST(Download, PullsOtherPiecesFirstForAnotherSeed) {
  for (const std::vector<PeerKey>& peers : {std::vector{kAnn, kBob}, {kAnn, kBob, kCid}}) {
    Downloader one(run(0, kPieces), 1);
    Downloader other(run(0, kPieces), 2);
    for (Downloader* down : {&one, &other}) {
      for (const PeerKey peer : peers) down->add(peer, run(0, kPieces));
      down->decide(0s);
    }
    EXPECT_NE(one.asked[kAnn].runs(), other.asked[kAnn].runs()) << peers.size() << " holders";
  }
}

TEST(Download, AsksForNothingThatIsNotWanted) {
  Downloader down(run(10, 5));
  down.add(kAnn, run(0, 12));
  down.add(kBob, run(11, 50));
  down.decide(0s);
  down.decide(1s);  // 11 is pulled once the offers are quiet, of which nothing is known yet
  EXPECT_EQ(down.asked[kAnn] | down.asked[kBob], set_of(run(10, 5)));
  EXPECT_EQ(down.scheduler.missing(), 5U);
  for (std::uint32_t i = 10; i < 15; ++i) {
    EXPECT_FALSE(down.scheduler.done());
    down.deliver(down.asked[kAnn].contains(PieceIndex(i)) ? kAnn : kBob, i, 1001ms);
  }
  EXPECT_TRUE(down.scheduler.done());
  EXPECT_THAT(down.decide(1001ms).ask, IsEmpty());
  EXPECT_EQ(down.scheduler.next_deadline(), std::nullopt);
}

TEST(Download, WideningAsksForTheNewPiecesOnly) {
  Downloader down(run(0, 4));
  down.add(kAnn, run(0, 20));
  down.decide(0s);
  down.deliver(kAnn, 0, 1ms);
  down.scheduler.want(set_of(run(0, 8)));
  EXPECT_EQ(down.scheduler.missing(), 7U) << "0 is here already";
  const Decision decision = down.decide(1ms);
  ASSERT_EQ(decision.ask.size(), 1U);
  EXPECT_THAT(decision.ask[0].pieces, ElementsAre(run(4, 4)));
}

TEST(Download, CountsHoldersAndWhatNobodyHolds) {
  Downloader down(run(0, 10));
  down.add(kAnn, run(0, 6));
  down.add(kBob, run(5, 3));
  EXPECT_EQ(down.scheduler.availability(PieceIndex(5)), 2U);
  EXPECT_EQ(down.scheduler.unavailable(), 2U);
  const PieceRun lost = run(6, 2);
  down.scheduler.peer_lost(kBob, {&lost, 1});
  EXPECT_EQ(down.scheduler.unavailable(), 4U);
  down.scheduler.remove_peer(kAnn);
  EXPECT_EQ(down.scheduler.unavailable(), 9U);
  EXPECT_EQ(down.scheduler.availability(PieceIndex(5)), 1U);
}

// --- windows ---

// What Ann owes after she delivered `bytes` in 100 ms and emptied her queue.
std::uint64_t window_after(std::uint32_t bytes, std::vector<Duration> round_trips) {
  Downloader down;
  for (const PeerKey peer : {kAnn, kBob}) down.add(peer, run(0, kPieces));
  for (const Duration rtt : round_trips) down.scheduler.measured_round_trip(kAnn, rtt);
  down.decide(0s);
  const PieceSet first = down.asked[kAnn];
  down.scheduler.bytes_arrived(kAnn, *first.next(PieceIndex(0)), bytes, 100ms);
  first.for_each([&](PieceIndex piece) { down.scheduler.arrived(kAnn, piece); });
  EXPECT_EQ(down.scheduler.outstanding_bytes(kAnn), 0U);
  down.decide(100ms);
  return down.scheduler.outstanding_bytes(kAnn);
}

TEST(Download, AWindowIsTheRateTimesTheSmallestRoundTripAndTwentyMilliseconds) {
  const std::uint64_t window = window_after(10'000'000, {80ms, 30ms, 300ms});
  EXPECT_GE(window, 5'000'000U) << "100 MB/s x 50 ms";
  EXPECT_LT(window, 5'000'000U + kBytes);
}

TEST(Download, AWindowStaysWithinItsLimits) {
  EXPECT_EQ(window_after(1000, {80ms}), limits::kWindowBytesMin);
  EXPECT_EQ(window_after(1'000'000'000, {80ms}), limits::kWindowBytesMax);
}

// --- failures ---

// Ann and Bob hold the four wanted pieces, and each is asked for two of them.
struct Pair : Downloader {
  Pair() : Downloader(run(0, 4)) {
    for (const PeerKey peer : {kAnn, kBob}) add(peer, run(0, 4));
    decide(0s);
    EXPECT_EQ(asked[kAnn].count(), 2U);
    EXPECT_EQ(asked[kBob], set_of(run(0, 4)) - asked[kAnn]);
    ann = pieces_of(kAnn);
    bob = pieces_of(kBob);
  }
  std::vector<std::uint32_t> pieces_of(PeerKey peer) {
    std::vector<std::uint32_t> pieces;
    asked[peer].for_each([&](PieceIndex piece) { pieces.push_back(piece.value); });
    return pieces;
  }
  std::vector<std::uint32_t> ann, bob;  // what each was asked for first
};

TEST(Download, WhatIsRejectedIsAskedElsewhereAndOfTheRejecterOnlyLater) {
  Pair down;
  down.deliver(kAnn, down.ann[1], 5ms);
  for (const std::uint32_t piece : down.bob) down.deliver(kBob, piece, 5ms);
  down.reject(kAnn, run(down.ann[0]), 10ms);
  Decision decision = down.decide(10ms);
  ASSERT_EQ(decision.ask.size(), 1U);
  EXPECT_EQ(decision.ask[0].peer, kBob);
  EXPECT_THAT(decision.ask[0].pieces, ElementsAre(run(down.ann[0])));
  down.reject(kBob, run(down.ann[0]), 20ms);
  EXPECT_THAT(down.decide(20ms).ask, IsEmpty());
  EXPECT_LE(down.scheduler.next_deadline(), Time(1010ms));
  EXPECT_THAT(down.decide(1009ms).ask, IsEmpty());
  decision = down.decide(1010ms);
  ASSERT_EQ(decision.ask.size(), 1U);
  EXPECT_EQ(decision.ask[0].peer, kAnn);
  EXPECT_THAT(decision.ask[0].pieces, ElementsAre(run(down.ann[0])));
}

TEST(Download, ARejectedOfferIsOfferedAgainAfterTheRetryTime) {
  Downloader down(run(0, 4));
  down.add(kAnn, run(0, 4));
  down.decide(0s);
  down.reject(kAnn, run(2), 10ms);
  EXPECT_THAT(down.decide(10ms).ask, IsEmpty());
  EXPECT_EQ(down.scheduler.next_deadline(), Time(1010ms));
  const Decision decision = down.decide(1010ms);
  ASSERT_EQ(decision.ask.size(), 1U);
  EXPECT_TRUE(decision.ask[0].any);
  EXPECT_THAT(decision.ask[0].pieces, ElementsAre(run(2)));
}

TEST(Download, WhatAPeerLostOrOwedAsItLeftIsAskedElsewhere) {
  Pair down;
  const PieceRun lost = run(down.ann[0]);
  down.scheduler.peer_lost(kAnn, {&lost, 1});
  down.decide(1ms);
  EXPECT_TRUE(down.asked[kBob].contains(lost.first));
  down.scheduler.remove_peer(kAnn);
  const Decision decision = down.decide(2ms);
  ASSERT_EQ(decision.ask.size(), 1U);
  EXPECT_EQ(decision.ask[0].peer, kBob);
  EXPECT_EQ(down.asked[kBob], set_of(run(0, 4)));
  EXPECT_THAT(decision.withdraw, IsEmpty()) << "Ann is gone";
}

TEST(Download, ASilentPeersPiecesAreWithdrawnAndAskedElsewhere) {
  Downloader down;
  for (const PeerKey peer : {kAnn, kBob}) down.add(peer, run(0, kPieces));
  down.decide(0s);
  const PieceSet hers = down.asked[kAnn];
  const PieceIndex first = *down.asked[kBob].next(PieceIndex(0));
  down.scheduler.bytes_arrived(kAnn, *hers.next(PieceIndex(0)), 1, 1s);
  for (const Time now : {1s, 3s, 5s}) down.scheduler.bytes_arrived(kBob, first, 1, now);
  EXPECT_THAT(down.decide(5999ms).withdraw, IsEmpty());
  const Decision decision = down.decide(6s);
  ASSERT_EQ(decision.withdraw.size(), 1U);
  EXPECT_EQ(decision.withdraw[0].peer, kAnn);
  EXPECT_EQ(Downloader::set(decision.withdraw[0].pieces), hers);
  EXPECT_FALSE(down.asked[kAnn].intersects(hers)) << "not before the retry time";
}

TEST(Download, ASnubbedPeerHasTheSmallestWindowUntilItSends) {
  Downloader down;
  for (const PeerKey peer : {kAnn, kBob}) down.add(peer, run(0, kPieces));
  down.decide(0s);
  EXPECT_EQ(down.scheduler.outstanding_bytes(kAnn), kWindowUnmeasured);
  down.scheduler.bytes_arrived(kBob, *down.asked[kBob].next(PieceIndex(0)), 1, 4s);
  down.decide(5s);
  EXPECT_EQ(down.scheduler.outstanding_bytes(kAnn), limits::kWindowBytesMin);
  EXPECT_EQ(down.scheduler.outstanding_bytes(kBob), kWindowUnmeasured);
  down.scheduler.bytes_arrived(kAnn, *down.asked[kAnn].next(PieceIndex(0)), 1, 5001ms);
  down.decide(5001ms);
  EXPECT_GT(down.scheduler.outstanding_bytes(kAnn), limits::kWindowBytesMin);
}

TEST(Download, APeerThatSentBadDataIsAskedNothingMore) {
  Pair down;
  ASSERT_TRUE(down.claimed(kAnn, down.ann[1], 1ms));
  down.scheduler.arrived(kAnn, PieceIndex(down.ann[1]));
  down.scheduler.failed(kAnn, PieceIndex(down.ann[1]));
  down.decide(2ms);
  EXPECT_EQ(down.asked[kBob], set_of(run(0, 4)));
  EXPECT_EQ(down.scheduler.availability(PieceIndex(0)), 1U);
  EXPECT_FALSE(down.claimed(kAnn, down.ann[0], 3ms));
  down.scheduler.remove_peer(kBob);
  down.has(kAnn, run(0, 10));
  EXPECT_THAT(down.decide(60s).ask, IsEmpty());
}

TEST(Download, APieceDroppedOnOurSideIsAskedAgain) {
  Pair down;
  ASSERT_TRUE(down.claimed(kAnn, down.ann[0], 1ms));
  down.scheduler.arrived(kAnn, PieceIndex(down.ann[0]));
  EXPECT_THAT(down.decide(1ms).ask, IsEmpty());
  EXPECT_FALSE(down.claimed(kBob, down.ann[0], 1ms)) << "it is being verified";
  down.scheduler.dropped(PieceIndex(down.ann[0]));
  const Decision decision = down.decide(2ms);
  ASSERT_EQ(decision.ask.size(), 1U);
  EXPECT_THAT(decision.ask[0].pieces, ElementsAre(run(down.ann[0])));
}

// --- claims ---

TEST(Download, AClaimOfAPieceUnderWayElsewhereIsUnwelcome) {
  Pair down;
  ASSERT_TRUE(down.claimed(kAnn, down.ann[0], 1ms));
  down.scheduler.bytes_arrived(kAnn, PieceIndex(down.ann[1]), 10, 1ms);
  EXPECT_FALSE(down.claimed(kBob, down.ann[0], 2ms)) << "claimed";
  EXPECT_FALSE(down.claimed(kBob, down.ann[1], 2ms)) << "begun";
  EXPECT_FALSE(down.claimed(kBob, 9, 2ms)) << "not wanted";
  EXPECT_THAT(down.decide(2ms).withdraw, IsEmpty());
  down.deliver(kAnn, down.ann[0], 3ms);
  EXPECT_FALSE(down.claimed(kBob, down.ann[0], 3ms)) << "here";
}

// Else a peer that claims all that it says to have would take it from everybody else.
TEST(Download, AClaimOfWhatWasNeverAskedForIsUnwelcome) {
  Pair down;
  EXPECT_FALSE(down.claimed(kBob, down.ann[0], 1ms));
  EXPECT_EQ(down.scheduler.outstanding_bytes(kAnn), 2 * kBytes);
  EXPECT_THAT(down.decide(1ms).withdraw, IsEmpty());
}

// Ann chose from an offer that was withdrawn meanwhile, when Bob turned out to have the pieces too.
// Our CANCEL leaves alone what she has claimed.
TEST(Download, AClaimThatCrossedTheWithdrawalTakesThePieceBack) {
  Downloader down;
  down.add(kAnn, run(0, 4));
  down.decide(0s);
  down.add(kBob, run(0, 4), 1ms);
  const Decision decision = down.decide(1ms);
  ASSERT_EQ(decision.withdraw.size(), 1U);
  EXPECT_TRUE(decision.withdraw[0].unclaimed);
  const std::uint64_t bobs = down.scheduler.outstanding_bytes(kBob);
  ASSERT_TRUE(down.asked[kBob].contains(PieceIndex(0)));
  EXPECT_TRUE(down.claimed(kAnn, 0, 2ms));
  EXPECT_EQ(down.scheduler.outstanding_bytes(kBob), bobs - kBytes);
  EXPECT_FALSE(down.claimed(kBob, 0, 3ms)) << "Ann's is under way";
}

// --- endgame ---

TEST(Download, ALatePieceIsAskedOfOneFurtherHolderAndTheLoserIsWithdrawn) {
  Pair down;
  // Both are begun: nobody takes over from another what is on its way.
  for (const std::uint32_t piece : down.ann) ASSERT_TRUE(down.claimed(kAnn, piece, 0s));
  for (const std::uint32_t piece : down.bob) ASSERT_TRUE(down.claimed(kBob, piece, 0s));
  down.add(kCid, run(0, 4));
  down.decide(0s);
  EXPECT_TRUE(down.asked[kCid].empty());
  const Time late = 501ms;  // half a second and the round trip of 1 ms
  EXPECT_EQ(down.scheduler.next_deadline(), late);
  EXPECT_THAT(down.decide(late - 1ns).ask, IsEmpty());
  EXPECT_EQ(down.decide(late).ask.size(), 4U);
  std::uint32_t askers = 0;
  for (const PeerKey peer : {kAnn, kBob, kCid}) askers += down.asked[peer].count();
  EXPECT_EQ(askers, 8U) << "two a piece";
  for (Time now = late; now < 4s; now += 100ms) EXPECT_THAT(down.decide(now).ask, IsEmpty());
  const PeerKey second = down.asked[kBob].contains(PieceIndex(down.ann[0])) ? kBob : kCid;
  down.deliver(second, down.ann[0], 4s);
  const Decision decision = down.decide(4s);
  ASSERT_EQ(decision.withdraw.size(), 1U);
  EXPECT_EQ(decision.withdraw[0].peer, kAnn);
  EXPECT_THAT(decision.withdraw[0].pieces, ElementsAre(run(down.ann[0])));
}

TEST(Download, NothingIsAskedTwiceWhileSomePieceIsUnasked) {
  Downloader down;
  for (const PeerKey peer : {kAnn, kBob}) down.add(peer, run(0, kPieces));
  for (Time now = 0s; now < 5s; now += 100ms) down.decide(now);
  EXPECT_FALSE(down.asked[kAnn].intersects(down.asked[kBob]));
}

// --- pausing ---

TEST(Download, APauseAsksNothingAndHoldsNothingAgainstPeers) {
  Downloader down;
  for (const PeerKey peer : {kAnn, kBob}) down.add(peer, run(0, 100));
  down.decide(0s);
  down.scheduler.pause(true);
  down.has(kAnn, run(100, 100));
  EXPECT_THAT(down.decide(1s).ask, IsEmpty());
  EXPECT_EQ(down.scheduler.next_deadline(), std::nullopt);
  down.scheduler.pause(false);
  const Decision decision = down.decide(20s);
  EXPECT_THAT(decision.withdraw, IsEmpty()) << "19 s of the silence were ours";
  EXPECT_THAT(decision.ask, testing::Not(IsEmpty()));
  EXPECT_THAT(down.decide(26s).withdraw, testing::Not(IsEmpty())) << "this silence is theirs";
}

// --- deadlines ---

// Offers that may fall quiet, rejected pieces, silent peers, late pieces: each has its deadline,
// and none of them is where it was after decide().
TEST(Download, DeadlinesAreAlwaysAheadAndOneDecisionIsEnough) {
  Downloader down(run(0, 30));
  down.add(kAnn, run(0, 20));
  down.add(kBob, run(10, 20));
  Time now = 0s;
  for (int step = 0; step < 300; ++step) {
    down.decide(now);
    const Decision again = down.decide(now);
    ASSERT_TRUE(again.ask.empty() && again.withdraw.empty()) << step;
    if (step % 7 == 3) {
      const auto asked = down.asked[step % 2 == 0 ? kAnn : kBob].runs();
      down.scheduler.rejected(step % 2 == 0 ? kAnn : kBob, asked, now);
      down.decide(now);
    }
    const auto due = down.scheduler.next_deadline();
    ASSERT_TRUE(due) << step << ": both owe pieces, or are to be asked again";
    ASSERT_GT(*due, now) << step;
    now = *due;
  }
}

}  // namespace
}  // namespace shardswarm::test
