#include "swarm/address_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace shardswarm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

const Error kDown{Errc::kUnreachable, "down"};
const NodeId kTeller = sha256({});
const Error kRefusedKey{Errc::kRefused, "wrong key"};

class AddressBookTest : public testing::Test {
 protected:
  AddressBook book_;
  AddressBook::Random random_{1};
};

TEST_F(AddressBookTest, GivesEachAddressOnceUntilItFailed) {
  book_.add_given("a:1", Time(0));
  EXPECT_THAT(book_.take_due(Time(0), 32, 32, random_), ElementsAre("a:1"));
  EXPECT_THAT(book_.take_due(seconds(100), 32, 32, random_), IsEmpty());
  book_.failed("a:1", kDown, seconds(100));
  EXPECT_THAT(book_.take_due(seconds(100), 32, 32, random_), IsEmpty());
  EXPECT_THAT(book_.take_due(seconds(101), 32, 32, random_), ElementsAre("a:1"));
}

TEST_F(AddressBookTest, BacksOffUpToEightSeconds) {
  book_.add_given("a:1", Time(0));
  Time now(0);
  Duration last(0);
  for (int i = 0; i < 12; ++i) {
    ASSERT_THAT(book_.take_due(now, 32, 32, random_), ElementsAre("a:1"));
    book_.failed("a:1", kDown, now);
    const Duration pause = *book_.next_due() - now;
    EXPECT_GE(pause, last);
    EXPECT_LE(pause, seconds(8));
    last = pause;
    now = *book_.next_due();
  }
  EXPECT_EQ(last, seconds(8));
}

TEST_F(AddressBookTest, LeavesLearnedAddressesThatFailFourTimesAlone) {
  book_.add_learned("a:1", kTeller, true, Time(0));
  Time now(0);
  for (int i = 0; i < 4; ++i) {
    ASSERT_THAT(book_.take_due(now, 32, 32, random_), ElementsAre("a:1"));
    book_.failed("a:1", kDown, now);
    now += seconds(10);
  }
  // Not even if it is heard of again.
  book_.add_learned("a:1", kTeller, true, now);
  EXPECT_THAT(book_.take_due(now + seconds(200), 32, 32, random_), IsEmpty());
  EXPECT_THAT(book_.take_due(now + seconds(300), 32, 32, random_), ElementsAre("a:1"));
}

TEST_F(AddressBookTest, DialsSoManyAtATime) {
  for (const char* address : {"a:1", "b:1", "c:1"})
    book_.add_learned(address, kTeller, true, Time(0));
  const auto first = book_.take_due(Time(0), 2, 2, random_);
  ASSERT_EQ(first.size(), 2U);
  EXPECT_THAT(book_.take_due(Time(0), 2, 2, random_), IsEmpty());
  book_.failed(first[0], kDown, Time(0));
  const auto then = book_.take_due(Time(0), 2, 2, random_);
  ASSERT_EQ(then.size(), 1U);
  EXPECT_THAT(first, Not(Contains(then[0])));
}

TEST_F(AddressBookTest, AConnectionThatEndsAtOnceCountsAsAFailure) {
  book_.add_given("a:1", Time(0));
  Time now(0);
  for (int i = 0; i < 6; ++i) {
    ASSERT_THAT(book_.take_due(now, 32, 32, random_), ElementsAre("a:1"));
    book_.connected("a:1", now);
    book_.disconnected("a:1", now);
    now = *book_.next_due();
  }
  EXPECT_GT(now, seconds(15));
}

TEST_F(AddressBookTest, RefusalsAreHopelessOnlyWhenAllAreRefused) {
  book_.add_given("a:1", Time(0));
  book_.add_given("b:1", Time(0));
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.failed("a:1", kDown, seconds(1));
  book_.failed("b:1", kRefusedKey, seconds(2));
  EXPECT_FALSE(book_.all_given_refused(false));
  (void)book_.take_due(seconds(4), 32, 32, random_);
  book_.failed("a:1", kRefusedKey, seconds(5));
  EXPECT_TRUE(book_.all_given_refused(false));
}

// A second fetch must not end with what the first one met, without having asked.
TEST_F(AddressBookTest, AnAddressThatIsGivenAgainIsTriedAgain) {
  book_.add_given("a:1", Time(0));
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.failed("a:1", kRefusedKey, seconds(1));
  ASSERT_TRUE(book_.all_given_refused(false));
  book_.add_given("a:1", seconds(1));
  EXPECT_FALSE(book_.all_given_refused(false));
  EXPECT_THAT(book_.take_due(seconds(1), 32, 32, random_), ElementsAre("a:1"));
}

TEST_F(AddressBookTest, AnAddressThatIsGivenAgainWhileItIsDialedHasNoOldError) {
  book_.add_given("a:1", Time(0));
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.failed("a:1", kRefusedKey, seconds(1));
  ASSERT_THAT(book_.take_due(seconds(10), 32, 32, random_), ElementsAre("a:1"));
  book_.add_given("a:1", seconds(10));
  EXPECT_FALSE(book_.all_given_refused(false));
  book_.failed("a:1", kRefusedKey, seconds(11));
  EXPECT_TRUE(book_.all_given_refused(false));
}

TEST_F(AddressBookTest, AFullPeerIsLeftItsTimeAlsoWhenItIsGivenAgain) {
  book_.add_given("a:1", Time(0));
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.full("a:1", Time(0), random_);
  book_.add_given("a:1", Time(0));
  EXPECT_THAT(book_.take_due(Time(0), 32, 32, random_), IsEmpty());
}

// A machine's other addresses often lead nowhere from here: bridges of containers, IPv6.
TEST_F(AddressBookTest, ANodeIsHopelessWhenOneOfItsAddressesRefusesAndTheOthersFail) {
  book_.add_given("a:1", Time(0), 1);
  book_.add_given("b:1", Time(0), 1);
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.failed("a:1", kRefusedKey, seconds(1));
  EXPECT_FALSE(book_.all_given_refused(false));
  book_.failed("b:1", kDown, seconds(2));
  ASSERT_TRUE(book_.all_given_refused(false));
  EXPECT_EQ(book_.all_given_refused(false)->code, Errc::kRefused);
  // Who waits for a source does not take one of its addresses for all of them.
  EXPECT_FALSE(book_.all_given_refused(true));
  (void)book_.take_due(seconds(10), 32, 32, random_);
  book_.failed("b:1", kRefusedKey, seconds(10));
  EXPECT_TRUE(book_.all_given_refused(true));
  // Another node may still come up.
  book_.add_given("c:1", seconds(2), 2);
  (void)book_.take_due(seconds(2), 32, 32, random_);
  book_.failed("c:1", kDown, seconds(3));
  EXPECT_FALSE(book_.all_given_refused(false));
}

TEST_F(AddressBookTest, EveryNodeAnsweredWhenEachIsConnectedAndTheOthersWereTried) {
  EXPECT_FALSE(book_.every_node_answered());
  book_.add_given("a:1", Time(0), 1);
  book_.add_given("b:1", Time(0), 1);
  book_.add_given("c:1", Time(0), 2);
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.failed("a:1", kDown, Time(0));
  book_.connected("b:1", Time(0));
  EXPECT_FALSE(book_.every_node_answered());
  book_.connected("c:1", Time(0));
  EXPECT_TRUE(book_.every_node_answered());
  book_.add_learned("d:1", NodeId{}, true, Time(0));
  EXPECT_FALSE(book_.every_node_answered());
  (void)book_.take_due(Time(0), 32, 32, random_);
  EXPECT_FALSE(book_.every_node_answered());
  book_.failed("d:1", kDown, Time(0));
  EXPECT_TRUE(book_.every_node_answered());
  book_.disconnected("c:1", seconds(10));
  EXPECT_FALSE(book_.every_node_answered());
}

TEST_F(AddressBookTest, DialsAgainAfterADisconnect) {
  book_.add_given("a:1", Time(0));
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.connected("a:1", Time(0));
  EXPECT_EQ(book_.next_due(), std::nullopt);
  book_.disconnected("a:1", seconds(5));
  EXPECT_THAT(book_.take_due(seconds(6), 32, 32, random_), ElementsAre("a:1"));
}

TEST_F(AddressBookTest, NeverDialsWhatIsForbidden) {
  book_.add_given("self:1", Time(0));
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.never("self:1");
  book_.failed("self:1", kDown, Time(0));
  EXPECT_THAT(book_.take_due(seconds(100), 32, 32, random_), IsEmpty());
}

TEST_F(AddressBookTest, TellsTheLatestErrorWhenAllGivenAddressesFailed) {
  book_.add_given("a:1", Time(0));
  book_.add_given("b:1", Time(0));
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.failed("a:1", kDown, seconds(1));
  EXPECT_EQ(book_.all_given_failed(), std::nullopt);  // b is under way
  book_.failed("b:1", kRefusedKey, seconds(2));
  ASSERT_TRUE(book_.all_given_failed());
  EXPECT_EQ(book_.all_given_failed()->code, Errc::kRefused);
  (void)book_.take_due(seconds(3), 32, 32, random_);
  book_.connected("a:1", Time(0));
  EXPECT_EQ(book_.all_given_failed(), std::nullopt);
}

NodeId teller(int number) { return sha256(std::as_bytes(std::span(&number, 1))); }

TEST_F(AddressBookTest, OfOneTellerKeepsAShareOnly) {
  for (int i = 0; i < 10'000; ++i) {
    book_.add_learned("fake" + std::to_string(i) + ":1", kTeller, true, Time(0));
  }
  EXPECT_EQ(book_.size(), 512U);
}

TEST_F(AddressBookTest, AFloodFromManyTellersDoesNotPushOutWhatAnswered) {
  book_.add_learned("good:1", kTeller, true, Time(0));
  (void)book_.take_due(Time(0), 32, 32, random_);
  book_.connected("good:1", Time(0));
  for (int t = 0; t < 100; ++t) {
    for (int i = 0; i < 500; ++i) {
      const std::string address = std::to_string(t) + "." + std::to_string(i) + ":1";
      book_.add_learned(address, teller(t), true, Time(0));
    }
  }
  EXPECT_LE(book_.size(), 4096U);
  book_.disconnected("good:1", seconds(10));
  EXPECT_THAT(book_.take_due(seconds(20), 4096, 4096, random_), Contains("good:1"));
}

TEST_F(AddressBookTest, AFullBookTakesInWhatALesserTellerKnows) {
  for (int t = 0; t < 8; ++t) {
    for (int i = 0; i < 512; ++i) {
      const std::string address = std::to_string(t) + "." + std::to_string(i) + ":1";
      book_.add_learned(address, teller(t), true, Time(0));
    }
  }
  ASSERT_EQ(book_.size(), 4096U);
  book_.add_learned("new:1", teller(8), true, Time(0));
  EXPECT_EQ(book_.size(), 4096U);
  EXPECT_THAT(book_.take_due(Time(0), 4096, 4096, random_), Contains("new:1"));
}

// Each of what is in the book, until it is left alone and that is over: the time then.
Time fail_all(AddressBook& book, AddressBook::Random& random) {
  Time now(0);
  for (int i = 0; i < 4; ++i, now += seconds(10)) {
    for (const std::string& address : book.take_due(now, 4096, 4096, random)) {
      book.failed(address, kDown, now);
    }
  }
  return now + seconds(300);
}

TEST_F(AddressBookTest, PlacesOfWhatNeverAnsweredAreFreeAgainAfterMinutes) {
  for (int i = 0; i < 512; ++i) {
    book_.add_learned("gone" + std::to_string(i) + ":1", kTeller, true, Time(0));
  }
  const Time later = fail_all(book_, random_);
  book_.add_learned("early:1", kTeller, true, later - seconds(200));
  EXPECT_THAT(book_.take_due(later - seconds(200), 4096, 4096, random_), IsEmpty());
  for (int i = 0; i < 512; ++i) {
    book_.add_learned("new" + std::to_string(i) + ":1", kTeller, true, later);
  }
  EXPECT_EQ(book_.size(), 512U);
  const auto dialed = book_.take_due(later, 4096, 4096, random_);
  EXPECT_EQ(dialed.size(), 512U);
  EXPECT_THAT(dialed, testing::Each(testing::StartsWith("new")));
}

TEST_F(AddressBookTest, WhatATellerSaysLastTakesThePlaceOfWhatWasNotTried) {
  for (int i = 0; i < 513; ++i) {
    book_.add_learned(std::to_string(i) + ":1", kTeller, true, Time(0));
  }
  const auto dialed = book_.take_due(Time(0), 4096, 4096, random_);
  EXPECT_THAT(dialed, Contains("512:1"));
  EXPECT_THAT(dialed, Not(Contains("0:1")));
}

TEST_F(AddressBookTest, AFullBookOfDeadAddressesTakesInNewOnesFromAnybody) {
  for (int t = 0; t < 8; ++t) {
    for (int i = 0; i < 512; ++i) {
      book_.add_learned(std::to_string(t) + "." + std::to_string(i) + ":1", teller(t), true,
                        Time(0));
    }
  }
  ASSERT_EQ(book_.size(), 4096U);
  const Time later = fail_all(book_, random_);
  for (int t = 0; t < 9; ++t) {
    book_.add_learned("new" + std::to_string(t) + ":1", teller(t), true, later);
  }
  EXPECT_EQ(book_.size(), 4096U);
  const auto dialed = book_.take_due(later, 4096, 4096, random_);
  for (int t = 0; t < 9; ++t) EXPECT_THAT(dialed, Contains("new" + std::to_string(t) + ":1"));
}

TEST_F(AddressBookTest, GivenAddressesAreNobodysShare) {
  const NodeId zero{};
  book_.add_given("given0:1", Time(0));
  book_.add_learned("learned:1", zero, true, Time(0));
  book_.add_given("given1:1", Time(0));
  book_.add_given("given2:1", Time(0));
  book_.add_given("learned:1", Time(0));
  book_.add_given("learned:1", Time(0));
  for (int i = 0; i < 512; ++i) {
    book_.add_learned(std::to_string(i) + ":1", zero, true, Time(0));
  }
  EXPECT_EQ(book_.size(), 516U);
}

TEST_F(AddressBookTest, WhatWasLearnedAndThenGivenIsDialedWhoeverToldOfIt) {
  book_.add_learned("learned:1", kTeller, true, Time(0));
  book_.add_learned("other:1", kTeller, true, Time(0));
  book_.add_given("learned:1", Time(0));
  const std::set<NodeId> nobody;
  EXPECT_THAT(book_.take_due(Time(0), 9, 9, random_, &nobody), ElementsAre("learned:1"));
  book_.failed("learned:1", kDown, Time(0));
  EXPECT_THAT(book_.take_due(seconds(1), 9, 9, random_, &nobody), ElementsAre("learned:1"));
}

TEST_F(AddressBookTest, DialsWhatEachTellerToldEquallyOften) {
  for (int i = 0; i < 500; ++i) {
    book_.add_learned("fake" + std::to_string(i) + ":1", kTeller, true, Time(0));
  }
  for (int i = 0; i < 20; ++i) {
    book_.add_learned("good" + std::to_string(i) + ":1", teller(1), true, Time(0));
  }
  const auto dialed = book_.take_due(Time(0), 40, 40, random_);
  EXPECT_GE(std::ranges::count_if(dialed, [](const auto& a) { return a.starts_with("good"); }), 10);
}

TEST_F(AddressBookTest, DialsSoManyNearOnesAndTheRestElsewhere) {
  for (int i = 0; i < 20; ++i) {
    book_.add_learned("near" + std::to_string(i) + ":1", kTeller, true, Time(0));
    book_.add_learned("far" + std::to_string(i) + ":1", kTeller, false, Time(0));
  }
  const auto is_near = [](const std::string& address) { return address.starts_with("near"); };
  const auto first = book_.take_due(Time(0), 4, 6, random_);
  EXPECT_EQ(std::ranges::count_if(first, is_near), 4);
  const auto then = book_.take_due(Time(0), 8, 6, random_);
  EXPECT_EQ(std::ranges::count_if(then, is_near), 2);
  EXPECT_EQ(then.size(), 4U);
  // Too few of one class are made up for by the other.
  const auto rest = book_.take_due(Time(0), 40, 40, random_);
  EXPECT_EQ(rest.size(), 32U);
  EXPECT_FALSE(book_.is_due(true, Time(0)));
}

TEST_F(AddressBookTest, AFullPeerIsTriedAgainEverLater) {
  book_.add_given("a:1", Time(0));
  Time now(0);
  Duration before(0);
  for (int i = 0; i < 10; ++i) {
    ASSERT_THAT(book_.take_due(now, 32, 32, random_), ElementsAre("a:1"));
    book_.full("a:1", now, random_);
    const Duration pause = *book_.next_due() - now;
    EXPECT_GE(pause, std::min<Duration>(before / 2, seconds(32)));
    EXPECT_LE(pause, seconds(96));
    before = pause;
    now = *book_.next_due();
  }
  EXPECT_GE(before, seconds(32));
}

TEST_F(AddressBookTest, WhoDialedUsIsNotDialed) {
  book_.add_learned("a:1", kTeller, true, Time(0));
  EXPECT_TRUE(book_.came("a:1", Time(0)));
  EXPECT_FALSE(book_.came("b:1", Time(0)));
  EXPECT_THAT(book_.take_due(Time(0), 32, 32, random_), IsEmpty());
  book_.disconnected("a:1", seconds(10));
  EXPECT_THAT(book_.take_due(seconds(11), 32, 32, random_), ElementsAre("a:1"));
}

}  // namespace
}  // namespace shardswarm
