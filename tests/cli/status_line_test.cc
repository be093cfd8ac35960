#include "cli/status_line.h"

#include <gtest/gtest.h>

namespace shardswarm::cli {
namespace {

const Status kFetching{.fraction = 0.437,
                       .state = "fetching",
                       .short_state = "",
                       .time_left = "0:03 left",
                       .rate = "156 MiB/s",
                       .amount = "420.1 MiB of 962.0 MiB",
                       .peers = "3 peers"};

TEST(StatusLine, AWideTerminalShowsAllAndABar) {
  EXPECT_EQ(status_line(kFetching, 100),
            " 43 %  [##########...............]  fetching  420.1 MiB of 962.0 MiB  156 MiB/s  0:03 "
            "left  3 "
            "peers");
}

TEST(StatusLine, PercentTimeLeftAndStateStayInNarrowOnes) {
  EXPECT_EQ(status_line(kFetching, 40), " 43 %  fetching  156 MiB/s  0:03 left");
  EXPECT_EQ(status_line(kFetching, 25), " 43 % fetching 0:03 left");
  EXPECT_EQ(status_line(kFetching, 24), " 43 % fetching 3 peers");
  EXPECT_EQ(status_line(kFetching, 12), "fetching");
  EXPECT_EQ(status_line(kFetching, 5), "fetc");
}

TEST(StatusLine, NeverReachesTheLastColumn) {
  for (std::size_t columns = 1; columns < 200; ++columns) {
    EXPECT_LE(status_line(kFetching, columns).size(), columns > 1 ? columns - 1 : 1);
  }
}

TEST(StatusLine, ALongStateGivesWayToItsShortForm) {
  const Status waiting{.fraction = 0.5,
                       .state = "waiting for a peer (last: 10.0.0.5:7000; giving up in 52 s)",
                       .short_state = "no peer, giving up in 52 s",
                       .time_left = "",
                       .rate = "",
                       .amount = "",
                       .peers = "0 peers"};
  EXPECT_EQ(status_line(waiting, 80),
            " 50 %  waiting for a peer (last: 10.0.0.5:7000; giving up in 52 s)  0 peers");
  EXPECT_EQ(status_line(waiting, 40), " 50 %  no peer, giving up in 52 s");
}

TEST(StatusLine, AShortFormIsCutOffWhereItDoesNotFit) {
  const Status waiting{.fraction = 0.5,
                       .state = "waiting for a peer (giving up in 52 s)",
                       .short_state = "no peer, giving up in 52 s"};
  EXPECT_EQ(status_line(waiting, 25), " 50 % no peer, giving up");
}

TEST(StatusLine, AHundredPercentIsSaidOnlyWhenAllIsHere) {
  Status status{.fraction = 0.99999, .state = "fetching"};
  EXPECT_EQ(status_line(status, 20), " 99 % fetching");
  status.fraction = 1;
  EXPECT_EQ(status_line(status, 20), "100 % fetching");
  status.fraction.reset();
  EXPECT_EQ(status_line(status, 20), "fetching");
}

TEST(StatusText, HasEverythingButTheBar) {
  EXPECT_EQ(status_text(kFetching),
            " 43 %  fetching  420.1 MiB of 962.0 MiB  156 MiB/s  0:03 left  3 peers");
}

}  // namespace
}  // namespace shardswarm::cli
