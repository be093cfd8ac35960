#include "cli/quantity.h"

#include <gtest/gtest.h>

namespace shardswarm::cli {
namespace {

using std::chrono::milliseconds;

TEST(ParseRate, TakesTheUnitsThatPeopleWrite) {
  EXPECT_EQ(parse_rate("20M"), 20'000'000U);
  EXPECT_EQ(parse_rate("20MB"), 20'000'000U);
  EXPECT_EQ(parse_rate("20MB/s"), 20'000'000U);
  EXPECT_EQ(parse_rate("1.5G"), 1'500'000'000U);
  EXPECT_EQ(parse_rate("50MiB"), 50U << 20);
  EXPECT_EQ(parse_rate("50MiB/s"), 50U << 20);
  EXPECT_EQ(parse_rate("200mbit"), 25'000'000U);
  EXPECT_EQ(parse_rate("10gbit"), 1'250'000'000U);
  EXPECT_EQ(parse_rate("65536"), 65536U);
  EXPECT_EQ(parse_rate("off"), 0U);
  EXPECT_EQ(parse_rate("none"), 0U);
  EXPECT_EQ(parse_rate("0"), 0U);
}

TEST(ParseRate, RefusesEverythingElse) {
  for (const char* text : {"", "M", "-5M", "+5M", "20X", "20 M", "20M/m", "1e5", "0x20", "20MM",
                           "99999999999999G", "inf", "nan", "20M,"}) {
    const auto rate = parse_rate(text);
    ASSERT_FALSE(rate) << text;
    EXPECT_EQ(rate.error().code, Errc::kUsage);
    EXPECT_NE(rate.error().message.find("20M"), std::string::npos) << "no example";
  }
}

// Megabits are eight times less than megabytes, and both are written so.
TEST(ParseRate, RefusesALowerCaseBBehindAPrefix) {
  for (const char* text : {"16Mb", "16mb", "16kb/s", "1Gb"}) {
    const auto rate = parse_rate(text);
    ASSERT_FALSE(rate) << text;
    EXPECT_NE(rate.error().message.find("20mbit"), std::string::npos);
  }
}

TEST(ParseDuration, TakesUnitsAndTheirSums) {
  EXPECT_EQ(parse_duration("90s"), milliseconds(90'000));
  EXPECT_EQ(parse_duration("90"), milliseconds(90'000));
  EXPECT_EQ(parse_duration("1.5"), milliseconds(1'500));
  EXPECT_EQ(parse_duration("500ms"), milliseconds(500));
  EXPECT_EQ(parse_duration("30m"), milliseconds(1'800'000));
  EXPECT_EQ(parse_duration("1h30m"), milliseconds(5'400'000));
  EXPECT_EQ(parse_duration("2d"), milliseconds(172'800'000));
  EXPECT_EQ(parse_duration("off"), milliseconds(0));
  EXPECT_EQ(parse_duration("forever"), milliseconds::max());
}

TEST(ParseDuration, RefusesEverythingElse) {
  for (const char* text : {"", "s", "-1", "1h30", "1x", "1 h", "1hh", "300y", "1e9", "99999999d"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(ParseWhole, KeepsToItsRange) {
  EXPECT_EQ(parse_whole("8", 1, 64), 8U);
  for (const char* text : {"", "0", "65", "-1", "8x", "8.0", "99999999999999999999"}) {
    EXPECT_FALSE(parse_whole(text, 1, 64)) << text;
  }
}

}  // namespace
}  // namespace shardswarm::cli
