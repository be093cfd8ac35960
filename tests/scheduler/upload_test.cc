#include "scheduler/upload.h"

#include <gmock/gmock.h>

#include <vector>

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint32_t kPieces = 16;
constexpr std::uint32_t kBytes = 1000;
constexpr PeerKey kAnn(1);
constexpr PeerKey kBob(2);
constexpr PeerKey kCid(3);
// Every peer's first second is over by then.
constexpr Time kStart = 2s;
// A lease to a taker of unknown rate.
constexpr Duration kLease = 2s;

NodeId id_of(PeerKey peer) {
  NodeId id;
  id.bytes[0] = static_cast<std::byte>(peer.value);
  return id;
}

PieceRun run(std::uint32_t first, std::uint32_t count = 1) { return {PieceIndex(first), count}; }

// An uploader that has every piece.
struct Uploader {
  explicit Uploader(
      UploadOptions options = {}, PieceBytes bytes = [](PieceIndex) { return kBytes; })
      : scheduler(kPieces, std::move(bytes), options) {
    const PieceRun all = run(0, kPieces);
    scheduler.have({&all, 1});
  }

  // Wants everything, joined two seconds ago.
  void add(PeerKey peer) {
    scheduler.add_peer(peer, id_of(peer), kStart - 2s);
    wants(peer, run(0, kPieces));
    scheduler.expire(kStart);
  }
  void wants(PeerKey peer, PieceRun pieces) { scheduler.peer_wants(peer, {&pieces, 1}); }
  void has(PeerKey peer, PieceRun pieces, Time now = kStart) {
    scheduler.peer_has(peer, {&pieces, 1}, now);
  }
  auto pull(PeerKey peer, PieceRun pieces) { return scheduler.asked(peer, {&pieces, 1}, 0, false); }
  auto offer(PeerKey peer, PieceRun pieces, std::uint64_t credit) {
    return scheduler.asked(peer, {&pieces, 1}, credit, true);
  }
  auto withdraw(PeerKey peer, PieceRun pieces, std::uint64_t credit = 0) {
    return scheduler.withdrawn(peer, {&pieces, 1}, credit);
  }
  void connect(PeerKey a, PeerKey b) {
    scheduler.peer_connected_to(a, {id_of(b)});
    scheduler.peer_connected_to(b, {id_of(a)});
  }
  // Everything that may be sent to this peer now, in the order of choice.
  std::vector<std::uint32_t> choose_all(PeerKey peer, Time now = kStart) {
    std::vector<std::uint32_t> chosen;
    while (const auto piece = scheduler.choose(peer, UploadScheduler::Copy::kAny, now)) {
      chosen.push_back(piece->value);
      scheduler.sent(peer, *piece, kBytes, now);
    }
    return chosen;
  }

  UploadScheduler scheduler;
};

TEST(Upload, APeerThatAskedForNothingIsSentNothing) {
  Uploader uploader;
  uploader.add(kAnn);
  EXPECT_EQ(uploader.scheduler.choose(kAnn, UploadScheduler::Copy::kAny, kStart), std::nullopt);
  EXPECT_EQ(uploader.scheduler.choose(kBob, UploadScheduler::Copy::kAny, kStart), std::nullopt)
      << "not a peer";
}

TEST(Upload, PullsNeedNoCredit) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.pull(kAnn, run(3, 2));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(3U, 4U));
}

TEST(Upload, OffersAreChosenWhileThereIsCreditAndTheLastMayExceedIt) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.offer(kAnn, run(0, kPieces), 2 * kBytes);
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U, 1U));
  uploader.offer(kAnn, {}, kBytes + 1);
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(2U, 3U));
  uploader.offer(kAnn, {}, 1);
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(4U)) << "what was exceeded is not owed";
}

TEST(Upload, APullTakesNoneOfTheCredit) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.offer(kAnn, run(0, 4), kBytes);
  uploader.pull(kAnn, run(0, 2));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U, 1U, 2U));
}

TEST(Upload, RefusesWhatIsNotHere) {
  Uploader uploader;
  uploader.add(kAnn);
  const PieceRun gone = run(5, 2);
  uploader.scheduler.lost({&gone, 1});
  EXPECT_THAT(uploader.pull(kAnn, run(4, 4)).not_here, ElementsAre(run(5, 2)));
  EXPECT_THAT(uploader.offer(kAnn, run(6, 2), 0).not_here, ElementsAre(run(6)));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(4U, 7U));
}

TEST(Upload, APieceLostAfterItWasAskedForIsNotChosen) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.pull(kAnn, run(0, 3));
  const PieceRun gone = run(1);
  uploader.scheduler.lost({&gone, 1});
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U, 2U));
}

TEST(Upload, FirstCopiesGoFirstInAscendingOrder) {
  Uploader uploader({.leases = false});
  uploader.add(kAnn);
  uploader.add(kBob);
  uploader.pull(kAnn, run(2, 3));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(2U, 3U, 4U));
  uploader.offer(kBob, run(0, 8), 8 * kBytes);
  const auto chosen = uploader.choose_all(kBob);
  ASSERT_EQ(chosen.size(), 8U);
  EXPECT_THAT(std::vector(chosen.begin(), chosen.begin() + 5), ElementsAre(0U, 1U, 5U, 6U, 7U));
}

TEST(Upload, ThenThePieceThatFewestPeersHold) {
  Uploader uploader({.leases = false});
  for (const PeerKey peer : {kAnn, kBob, kCid}) uploader.add(peer);
  uploader.pull(kAnn, run(0, 3));
  uploader.choose_all(kAnn);
  uploader.has(kAnn, run(0, 3));
  uploader.has(kBob, run(0, 2));
  uploader.has(PeerKey(9), run(2));  // not a peer
  uploader.offer(kCid, run(0, 3), 2 * kBytes);
  EXPECT_THAT(uploader.choose_all(kCid), ElementsAre(2U, 0U));
}

TEST(Upload, ALeavingPeersPiecesAreRareAgain) {
  Uploader uploader({.leases = false});
  for (const PeerKey peer : {kAnn, kBob, kCid}) uploader.add(peer);
  uploader.pull(kCid, run(0, 2));
  uploader.choose_all(kCid);
  uploader.has(kAnn, run(1));
  uploader.has(kBob, run(0));
  uploader.scheduler.remove_peer(kAnn);
  uploader.pull(kCid, run(0, 2));
  EXPECT_THAT(uploader.choose_all(kCid), ElementsAre(1U, 0U));
}

// --- leases ---

// Ann took the first copy of piece 0, and Bob is connected to her.
struct Leased : Uploader {
  explicit Leased(UploadOptions options = {}) : Uploader(options) {
    add(kAnn);
    add(kBob);
    connect(kAnn, kBob);
    pull(kAnn, run(0));
    EXPECT_THAT(choose_all(kAnn), ElementsAre(0U));
  }
};

TEST(Upload, ALeasedPieceIsRefusedToAPeerConnectedToItsTaker) {
  Leased uploader;
  EXPECT_THAT(uploader.pull(kBob, run(0, 2)).leased, ElementsAre(run(0)));
  EXPECT_THAT(uploader.choose_all(kBob), ElementsAre(1U));
}

TEST(Upload, AnOfferOfALeasedPieceWaitsForTheLeaseToEnd) {
  Leased uploader;
  EXPECT_THAT(uploader.offer(kBob, run(0), kBytes).leased, IsEmpty());
  EXPECT_THAT(uploader.choose_all(kBob), IsEmpty());
  EXPECT_EQ(uploader.scheduler.next_deadline(), kStart + kLease);
  uploader.scheduler.expire(kStart + kLease);
  EXPECT_THAT(uploader.choose_all(kBob, kStart + kLease), ElementsAre(0U));
}

TEST(Upload, APullAcceptedBeforeTheLeaseWaitsForItsEnd) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.add(kBob);
  uploader.connect(kAnn, kBob);
  uploader.pull(kBob, run(0));
  uploader.pull(kAnn, run(0));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U));
  EXPECT_THAT(uploader.choose_all(kBob), IsEmpty());
  uploader.scheduler.expire(kStart + kLease);
  EXPECT_THAT(uploader.choose_all(kBob, kStart + kLease), ElementsAre(0U));
}

TEST(Upload, APeerThatIsNotConnectedToTheTakerIsServed) {
  Leased uploader;
  uploader.add(kCid);
  EXPECT_THAT(uploader.pull(kCid, run(0)).leased, IsEmpty());
  EXPECT_THAT(uploader.choose_all(kCid), ElementsAre(0U));
}

TEST(Upload, TheTakerMayAskAgain) {
  Leased uploader;
  EXPECT_THAT(uploader.pull(kAnn, run(0)).leased, IsEmpty());
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U));
}

TEST(Upload, ALeaseEndsWhenAThirdPeerAnnouncesThePiece) {
  Leased uploader;
  uploader.add(kCid);
  uploader.has(kAnn, run(0));
  EXPECT_THAT(uploader.pull(kBob, run(0)).leased, ElementsAre(run(0))) << "the taker's own word";
  uploader.has(kCid, run(0));
  EXPECT_THAT(uploader.pull(kBob, run(0)).leased, IsEmpty());
  EXPECT_THAT(uploader.choose_all(kBob), ElementsAre(0U));
}

TEST(Upload, ALeaseEndsWhenItsTakerLeaves) {
  Leased uploader;
  uploader.scheduler.remove_peer(kAnn);
  EXPECT_THAT(uploader.pull(kBob, run(0)).leased, IsEmpty());
  EXPECT_THAT(uploader.choose_all(kBob), ElementsAre(0U));
  EXPECT_EQ(uploader.scheduler.next_deadline(), std::nullopt);
}

TEST(Upload, ALeaseEndsAtItsDeadlineAndNotBefore) {
  Leased uploader;
  uploader.scheduler.expire(kStart + kLease - 1ns);
  EXPECT_THAT(uploader.pull(kBob, run(0)).leased, ElementsAre(run(0)));
  uploader.scheduler.expire(kStart + kLease);
  EXPECT_THAT(uploader.pull(kBob, run(0)).leased, IsEmpty());
}

// By the taker's queue and rate, and by what passing on took.
TEST(Upload, ALeaseLastsAsLongAsTakingAndPassingOnTake) {
  UploadScheduler scheduler(kPieces, [](PieceIndex) { return 1'000'000; },
                            {.leases = true, .lease_min = 500ms});
  const PieceRun all = run(0, kPieces);
  scheduler.have({&all, 1});
  for (const PeerKey peer : {kAnn, kBob}) {
    scheduler.add_peer(peer, id_of(peer), 0s);
    scheduler.peer_wants(peer, {&all, 1});
  }
  scheduler.expire(kStart);
  scheduler.asked(kAnn, {&all, 1}, 0, false);
  ASSERT_EQ(scheduler.choose(kAnn, UploadScheduler::Copy::kAny, kStart), PieceIndex(0));
  scheduler.sent(kAnn, PieceIndex(0), 1'000'000, kStart + 500ms);  // 2 MB/s
  const PieceRun first = run(0);
  scheduler.peer_has(kAnn, {&first, 1}, kStart + 100ms);
  scheduler.peer_has(kBob, {&first, 1}, kStart + 200ms);
  const Time now = kStart + 10s;
  ASSERT_EQ(scheduler.choose(kAnn, UploadScheduler::Copy::kAny, now), PieceIndex(1));
  EXPECT_EQ(scheduler.next_deadline(), now + 1s) << "1 MB at 2 MB/s, twice";
  for (int i = 0; i < 20; ++i)
    scheduler.sent(kAnn, PieceIndex(1), 10'000'000, now + 10s + i * 100ms);
  scheduler.expire(now + 20s);
  ASSERT_EQ(scheduler.choose(kAnn, UploadScheduler::Copy::kAny, now + 20s), PieceIndex(2));
  EXPECT_EQ(scheduler.next_deadline(), now + 20s + 600ms) << "three times 200 ms";
}

TEST(Upload, APieceThatSomebodyHoldsOrNobodyElseWantsIsNotLeased) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.add(kBob);
  uploader.add(kCid);
  uploader.connect(kAnn, kBob);
  uploader.wants(kBob, run(0, 1));
  uploader.wants(kCid, {});
  uploader.has(kCid, run(0));
  uploader.pull(kAnn, run(0, 2));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(1U, 0U)) << "0 is no first copy";
  EXPECT_THAT(uploader.pull(kBob, run(0, 2)).leased, IsEmpty());
  EXPECT_EQ(uploader.scheduler.next_deadline(), std::nullopt);
}

TEST(Upload, WithoutLeasesEverybodyIsServed) {
  Leased uploader({.leases = false});
  EXPECT_THAT(uploader.pull(kBob, run(0)).leased, IsEmpty());
  EXPECT_THAT(uploader.choose_all(kBob), ElementsAre(0U));
}

TEST(Upload, APeerInItsFirstSecondCountsAsConnectedToTheTaker) {
  Leased uploader;
  uploader.scheduler.add_peer(kCid, id_of(kCid), kStart);
  EXPECT_THAT(uploader.pull(kCid, run(0)).leased, ElementsAre(run(0)));
  EXPECT_EQ(uploader.scheduler.next_deadline(), kStart + 1s);
  uploader.scheduler.expire(kStart + 1s);
  EXPECT_THAT(uploader.pull(kCid, run(0)).leased, IsEmpty());
}

TEST(Upload, ATakerInItsFirstSecondCountsAsConnectedToOlderPeers) {
  Uploader uploader;
  uploader.add(kBob);
  uploader.scheduler.add_peer(kAnn, id_of(kAnn), kStart);
  uploader.pull(kAnn, run(0));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U));
  EXPECT_THAT(uploader.pull(kBob, run(0)).leased, ElementsAre(run(0)));
}

// Ann keeps the first copies of two pieces to herself.
void let_two_leases_lapse(Uploader& uploader) {
  uploader.pull(kAnn, run(0, 2));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U, 1U));
  uploader.scheduler.expire(kStart + kLease);
}

TEST(Upload, TwoLapsesPutATakerBehindOthers) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.add(kBob);
  uploader.connect(kAnn, kBob);
  let_two_leases_lapse(uploader);
  const Time now = kStart + kLease;
  uploader.pull(kAnn, run(4, 3));
  uploader.pull(kBob, run(5, 1));
  EXPECT_THAT(uploader.choose_all(kAnn, now), ElementsAre(4U, 6U)) << "5 is Bob's";
  EXPECT_THAT(uploader.choose_all(kBob, now), ElementsAre(5U));
}

TEST(Upload, OneLapseIsForgiven) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.add(kBob);
  uploader.connect(kAnn, kBob);
  uploader.pull(kAnn, run(0));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U));
  uploader.scheduler.expire(kStart + kLease);
  uploader.pull(kAnn, run(5));
  uploader.pull(kBob, run(5));
  EXPECT_THAT(uploader.choose_all(kAnn, kStart + kLease), ElementsAre(5U));
}

// Whoever passes on, be it late, is no hoarder.
TEST(Upload, APiecePassedOnMakesUpForALapse) {
  Uploader uploader;
  for (const PeerKey peer : {kAnn, kBob, kCid}) uploader.add(peer);
  uploader.connect(kAnn, kBob);
  let_two_leases_lapse(uploader);
  const Time now = kStart + kLease;
  uploader.pull(kAnn, run(4, 2));
  uploader.pull(kBob, run(4, 2));
  uploader.has(kAnn, run(0), now);
  uploader.scheduler.take_freed();
  uploader.has(kCid, run(0), now);
  EXPECT_TRUE(uploader.scheduler.take_freed());
  EXPECT_THAT(uploader.choose_all(kAnn, now), ElementsAre(4U, 5U));
  EXPECT_THAT(uploader.choose_all(kBob, now), IsEmpty()) << "they are leased to Ann";
}

// What she asked for while she counted as a hoarder is contended for again.
TEST(Upload, WhoMadeUpForItsLapsesIsWaitedForByOthersThatDidNot) {
  Uploader uploader;
  for (const PeerKey peer : {kAnn, kBob, kCid}) uploader.add(peer);
  let_two_leases_lapse(uploader);
  uploader.pull(kBob, run(2, 2));
  ASSERT_THAT(uploader.choose_all(kBob), ElementsAre(2U, 3U));
  const Time now = kStart + 2 * kLease;
  uploader.scheduler.expire(now);
  uploader.pull(kAnn, run(8));
  uploader.pull(kBob, run(8));
  uploader.has(kAnn, run(0), now);
  uploader.has(kCid, run(0), now);
  EXPECT_THAT(uploader.choose_all(kBob, now), IsEmpty()) << "Bob's leases lapsed as well";
  uploader.withdraw(kAnn, run(8));
  EXPECT_THAT(uploader.choose_all(kBob, now), ElementsAre(8U));
}

TEST(Upload, WhatTheTakerDoesNotHaveItDidNotPassOn) {
  Uploader uploader;
  for (const PeerKey peer : {kAnn, kBob, kCid}) uploader.add(peer);
  let_two_leases_lapse(uploader);
  const Time now = kStart + kLease;
  uploader.has(kCid, run(0), now);
  uploader.pull(kAnn, run(4));
  uploader.pull(kBob, run(4));
  EXPECT_THAT(uploader.choose_all(kAnn, now), IsEmpty());
}

TEST(Upload, WhatWeGaveToOthersTooWasNotPassedOnByItsTaker) {
  Uploader uploader;
  for (const PeerKey peer : {kAnn, kBob, kCid}) uploader.add(peer);
  uploader.connect(kAnn, kBob);
  let_two_leases_lapse(uploader);
  const Time now = kStart + kLease;
  uploader.has(kAnn, run(0), now);
  uploader.pull(kCid, run(0));
  EXPECT_THAT(uploader.choose_all(kCid, now), ElementsAre(0U));
  uploader.has(kCid, run(0), now);
  uploader.pull(kAnn, run(4));
  uploader.pull(kBob, run(4));
  EXPECT_THAT(uploader.choose_all(kAnn, now), IsEmpty());
  EXPECT_THAT(uploader.choose_all(kBob, now), ElementsAre(4U));
}

TEST(Upload, ATakerWhosePieceSpreadLosesNothing) {
  Uploader uploader;
  for (const PeerKey peer : {kAnn, kBob, kCid}) uploader.add(peer);
  uploader.pull(kAnn, run(0, 2));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U, 1U));
  uploader.has(kCid, run(0, 2));
  uploader.scheduler.expire(kStart + kLease);
  uploader.pull(kAnn, run(5));
  uploader.pull(kBob, run(5));
  EXPECT_THAT(uploader.choose_all(kAnn, kStart + kLease), ElementsAre(5U));
}

// --- taking back ---

// Pulls are answered one by one; an offer promised nothing, and its CANCEL wants no answer.
TEST(Upload, WithdrawnReturnsThePullsThatWaitedAndLowersTheCredit) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.pull(kAnn, run(0, 2));
  ASSERT_EQ(uploader.scheduler.choose(kAnn, UploadScheduler::Copy::kAny, kStart), PieceIndex(0));
  uploader.offer(kAnn, run(4, 4), 3 * kBytes);
  EXPECT_THAT(uploader.withdraw(kAnn, run(0, 5), kBytes), ElementsAre(run(1)));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(5U, 6U));
}

TEST(Upload, WithdrawnCannotTakeMoreCreditThanThereIs) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.offer(kAnn, run(0, 4), kBytes);
  EXPECT_THAT(uploader.withdraw(kAnn, {}, 5 * kBytes), IsEmpty());
  EXPECT_THAT(uploader.choose_all(kAnn), IsEmpty());
  uploader.offer(kAnn, {}, kBytes);
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(0U));
}

TEST(Upload, WithdrawingPiecesAloneLeavesTheCredit) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.offer(kAnn, run(0, 4), 2 * kBytes);
  uploader.withdraw(kAnn, run(0, 2));
  EXPECT_THAT(uploader.choose_all(kAnn), ElementsAre(2U, 3U));
}

TEST(Upload, AnUnsentPieceIsAFirstCopyAgainAndNotLeased) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.add(kBob);
  uploader.connect(kAnn, kBob);
  uploader.pull(kAnn, run(0));
  ASSERT_EQ(uploader.scheduler.choose(kAnn, UploadScheduler::Copy::kAny, kStart), PieceIndex(0));
  uploader.scheduler.unsent(kAnn, PieceIndex(0));
  EXPECT_EQ(uploader.scheduler.next_deadline(), std::nullopt);
  EXPECT_THAT(uploader.pull(kBob, run(0, 2)).leased, IsEmpty());
  EXPECT_THAT(uploader.choose_all(kBob), ElementsAre(0U, 1U)) << "before piece 1";
}

TEST(Upload, UnsentToOneLeavesTheLeaseOfAnother) {
  Leased uploader;
  uploader.add(kCid);
  uploader.pull(kCid, run(0));
  ASSERT_EQ(uploader.scheduler.choose(kCid, UploadScheduler::Copy::kAny, kStart), PieceIndex(0));
  uploader.scheduler.unsent(kCid, PieceIndex(0));
  EXPECT_THAT(uploader.pull(kBob, run(0)).leased, ElementsAre(run(0)));
}

// --- what others need from here ---

TEST(Upload, OnlyHereCountsWantedPiecesThatNoPeerHolds) {
  Uploader uploader;
  uploader.add(kAnn);
  uploader.add(kBob);
  uploader.wants(kAnn, run(0, 4));
  uploader.wants(kBob, run(2, 4));
  EXPECT_EQ(uploader.scheduler.only_here(), 6U);
  uploader.has(kAnn, run(1, 2));
  EXPECT_EQ(uploader.scheduler.only_here(), 4U);
  uploader.wants(kBob, {});
  EXPECT_EQ(uploader.scheduler.only_here(), 2U) << "0 and 3";
  const PieceRun gone = run(0);
  uploader.scheduler.lost({&gone, 1});
  EXPECT_EQ(uploader.scheduler.only_here(), 1U);
  uploader.scheduler.remove_peer(kAnn);
  EXPECT_EQ(uploader.scheduler.only_here(), 0U);
}

}  // namespace
}  // namespace shardswarm::test
