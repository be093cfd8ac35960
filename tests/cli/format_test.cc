#include "cli/format.h"

#include <gtest/gtest.h>

#include <limits>

namespace shardswarm::cli {
namespace {

TEST(ShortRateText, HasThreeDigits) {
  EXPECT_EQ(short_rate_text(0), "0 B/s");
  EXPECT_EQ(short_rate_text(999), "999 B/s");
  EXPECT_EQ(short_rate_text(1000), "0.98 KiB/s");
  EXPECT_EQ(short_rate_text(1.5 * (1 << 20)), "1.50 MiB/s");
  EXPECT_EQ(short_rate_text(15.55 * (1 << 20)), "15.6 MiB/s");
  EXPECT_EQ(short_rate_text(310.4 * (1 << 20)), "310 MiB/s");
  EXPECT_EQ(short_rate_text(1.25 * (1 << 30)), "1.25 GiB/s");
}

TEST(TimeLeftText, IsShortWhateverItIs) {
  EXPECT_EQ(time_left_text(3), "0:03 left");
  EXPECT_EQ(time_left_text(59.6), "1:00 left");
  EXPECT_EQ(time_left_text(3599), "59:59 left");
  EXPECT_EQ(time_left_text(2 * 3600 + 10 * 60), "2h10 left");
  EXPECT_EQ(time_left_text(3 * 86400 + 4 * 3600), "3d04 left");
  EXPECT_EQ(time_left_text(1e12), "99d00 left");
  EXPECT_EQ(time_left_text(-1), "");
  EXPECT_EQ(time_left_text(std::numeric_limits<double>::infinity()), "");
}

TEST(Table, AlignsItsColumns) {
  EXPECT_EQ(table({{"name", "bytes"}, {"a", "12"}, {"long name", "3"}}),
            "name       bytes\na             12\nlong name      3\n");
  EXPECT_EQ(table({{"a\nforged  row"}, {"\x1b[2J"}}), "a\\nforged  row\n\\x1b[2J\n");
}

}  // namespace
}  // namespace shardswarm::cli
