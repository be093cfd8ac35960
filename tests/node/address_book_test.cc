#include "node/address_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardswarm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

const Error kDown{Errc::kUnreachable, "down"};
const Error kRefusedKey{Errc::kRefused, "wrong key"};

TEST(AddressBook, GivesEachAddressOnceUntilItFailed) {
  AddressBook book;
  book.add_given("a:1", Time(0));
  EXPECT_THAT(book.take_due(Time(0), 32), ElementsAre("a:1"));
  EXPECT_THAT(book.take_due(seconds(100), 32), IsEmpty());
  book.failed("a:1", kDown, seconds(100));
  EXPECT_THAT(book.take_due(seconds(100), 32), IsEmpty());
  EXPECT_THAT(book.take_due(seconds(101), 32), ElementsAre("a:1"));
}

TEST(AddressBook, BacksOffUpToEightSeconds) {
  AddressBook book;
  book.add_given("a:1", Time(0));
  Time now(0);
  Duration last(0);
  for (int i = 0; i < 12; ++i) {
    ASSERT_THAT(book.take_due(now, 32), ElementsAre("a:1"));
    book.failed("a:1", kDown, now);
    const Duration pause = *book.next_due() - now;
    EXPECT_GE(pause, last);
    EXPECT_LE(pause, seconds(8));
    last = pause;
    now = *book.next_due();
  }
  EXPECT_EQ(last, seconds(8));
}

TEST(AddressBook, LeavesLearnedAddressesThatFailFourTimesAlone) {
  AddressBook book;
  book.add_learned("a:1", Time(0));
  Time now(0);
  for (int i = 0; i < 4; ++i) {
    ASSERT_THAT(book.take_due(now, 32), ElementsAre("a:1"));
    book.failed("a:1", kDown, now);
    now += seconds(10);
  }
  // Not even if it is heard of again.
  book.add_learned("a:1", now);
  EXPECT_THAT(book.take_due(now + seconds(200), 32), IsEmpty());
  EXPECT_THAT(book.take_due(now + seconds(300), 32), ElementsAre("a:1"));
}

TEST(AddressBook, DialsSoManyAtATime) {
  AddressBook book;
  for (const char* address : {"a:1", "b:1", "c:1"}) book.add_learned(address, Time(0));
  EXPECT_EQ(book.take_due(Time(0), 2).size(), 2U);
  EXPECT_THAT(book.take_due(Time(0), 2), IsEmpty());
  book.failed("a:1", kDown, Time(0));
  EXPECT_THAT(book.take_due(Time(0), 2), ElementsAre("c:1"));
}

TEST(AddressBook, AConnectionThatEndsAtOnceCountsAsAFailure) {
  AddressBook book;
  book.add_given("a:1", Time(0));
  Time now(0);
  for (int i = 0; i < 6; ++i) {
    ASSERT_THAT(book.take_due(now, 32), ElementsAre("a:1"));
    book.connected("a:1", now);
    book.disconnected("a:1", now);
    now = *book.next_due();
  }
  EXPECT_GT(now, seconds(15));
}

TEST(AddressBook, RefusalsAreHopelessOnlyWhenAllAreRefused) {
  AddressBook book;
  book.add_given("a:1", Time(0));
  book.add_given("b:1", Time(0));
  (void)book.take_due(Time(0), 32);
  book.failed("a:1", kDown, seconds(1));
  book.failed("b:1", kRefusedKey, seconds(2));
  EXPECT_FALSE(book.all_given_refused());
  (void)book.take_due(seconds(4), 32);
  book.failed("a:1", kRefusedKey, seconds(5));
  EXPECT_TRUE(book.all_given_refused());
}

TEST(AddressBook, DialsAgainAfterADisconnect) {
  AddressBook book;
  book.add_given("a:1", Time(0));
  (void)book.take_due(Time(0), 32);
  book.connected("a:1", Time(0));
  EXPECT_EQ(book.next_due(), std::nullopt);
  book.disconnected("a:1", seconds(5));
  EXPECT_THAT(book.take_due(seconds(6), 32), ElementsAre("a:1"));
}

TEST(AddressBook, NeverDialsWhatIsForbidden) {
  AddressBook book;
  book.add_given("self:1", Time(0));
  (void)book.take_due(Time(0), 32);
  book.never("self:1");
  book.failed("self:1", kDown, Time(0));
  EXPECT_THAT(book.take_due(seconds(100), 32), IsEmpty());
}

TEST(AddressBook, TellsTheLatestErrorWhenAllGivenAddressesFailed) {
  AddressBook book;
  book.add_given("a:1", Time(0));
  book.add_given("b:1", Time(0));
  (void)book.take_due(Time(0), 32);
  book.failed("a:1", kDown, seconds(1));
  EXPECT_EQ(book.all_given_failed(), std::nullopt);  // b is under way
  book.failed("b:1", kRefusedKey, seconds(2));
  ASSERT_TRUE(book.all_given_failed());
  EXPECT_EQ(book.all_given_failed()->code, Errc::kRefused);
  (void)book.take_due(seconds(3), 32);
  book.connected("a:1", Time(0));
  EXPECT_EQ(book.all_given_failed(), std::nullopt);
}

TEST(AddressBook, IsBoundedForLearnedAddresses) {
  AddressBook book;
  for (int i = 0; i < 10'000; ++i) book.add_learned("h" + std::to_string(i) + ":1", Time(0));
  EXPECT_LE(book.take_due(Time(0), 32).size(), 4096U);
}

}  // namespace
}  // namespace shardswarm
