#include "cli/progress.h"

#include <gtest/gtest.h>

namespace shardswarm::cli {
namespace {

FetchProgress fetching() {
  FetchProgress progress;
  progress.phase = FetchPhase::kFetching;
  progress.wanted_bytes = 100 << 20;
  progress.present_bytes = 40 << 20;
  progress.bytes_per_second = 10 << 20;
  progress.peers = 2;
  return progress;
}

TEST(FetchStatus, TellsHowFarItIs) {
  const Status status = fetch_status(fetching());
  EXPECT_EQ(status.state, "fetching");
  EXPECT_DOUBLE_EQ(*status.fraction, 0.4);
  EXPECT_EQ(status.rate, "10.0 MiB/s");
  EXPECT_EQ(status.time_left, "0:06 left");
  EXPECT_EQ(status.peers, "2 peers");
}

TEST(FetchStatus, WithoutAPeerItSaysWhomItLostAndWhenItGivesUp) {
  FetchProgress progress = fetching();
  progress.peers = 0;
  progress.stalled_seconds = 8;
  progress.gives_up_seconds = 52;
  progress.lost_address = "10.0.0.5:7000";
  progress.lost_why = "it closed the connection";
  progress.lost_seconds = 8;
  const Status status = fetch_status(progress);
  EXPECT_EQ(status.state,
            "waiting for a peer (last: 10.0.0.5:7000, lost 8 s ago: it closed the connection; "
            "giving up in 52 s)");
  EXPECT_EQ(status.short_state, "no peer, giving up in 52 s");
  EXPECT_EQ(status.rate, "");  // it would only fall
  EXPECT_LT(seconds_left(progress), 0);
}

TEST(FetchStatus, APauseWithPeersIsNamedOnlyWhenItIsLong) {
  FetchProgress progress = fetching();
  progress.stalled_seconds = 2;
  EXPECT_EQ(fetch_status(progress).state, "fetching");
  progress.stalled_seconds = 20;
  progress.gives_up_seconds = 40;
  EXPECT_EQ(fetch_status(progress).state,
            "waiting for pieces (nothing came for 20 s; giving up in 40 s)");
}

TEST(FetchStatus, ThatItGivesUpNowHasNoFigure) {
  FetchProgress progress = fetching();
  progress.stalled_seconds = 60;
  progress.gives_up_seconds = 0.4;
  const Status status = fetch_status(progress);
  EXPECT_EQ(status.state, "waiting for pieces (nothing came for 60 s; giving up)");
  EXPECT_EQ(status.short_state, "waiting, giving up");
}

TEST(FetchStatus, WhileItAwaitsTheSourceItSaysForHowLongAndTheLastRefusal) {
  FetchProgress progress;
  progress.unreachable = "cannot connect to 10.0.0.5:7000: connection refused";
  progress.stalled_seconds = 12;
  progress.gives_up_seconds = progress.wait_seconds = 29 * 60 + 48;
  Status status = fetch_status(progress);
  EXPECT_EQ(status.state,
            "waiting for the source for another 29:48 (last: cannot connect to 10.0.0.5:7000: "
            "connection refused)");
  EXPECT_EQ(status.short_state, "no source yet, waiting 29:48");
  progress.wait_seconds = 0.4;
  progress.unreachable.clear();
  EXPECT_EQ(fetch_status(progress).state, "waiting for the source");
}

TEST(FetchStatus, WhatThePeersLackIsWhyTheManifestDoesNotCome) {
  FetchProgress progress;
  progress.phase = FetchPhase::kManifest;
  progress.peers = 1;
  progress.stalled_seconds = 4;
  progress.gives_up_seconds = 56;
  progress.lacking = "10.0.0.5:7000 holds a part of the model";
  EXPECT_EQ(
      fetch_status(progress).state,
      "waiting for the manifest (10.0.0.5:7000 holds a part of the model; giving up in 56 s)");
  // Who answered that it does not know the model does not count as a peer.
  progress.peers = 0;
  EXPECT_EQ(
      fetch_status(progress).state,
      "waiting for the manifest (10.0.0.5:7000 holds a part of the model; giving up in 56 s)");
}

TEST(FetchStatus, BeforeTheManifestThereIsNoPercent) {
  FetchProgress progress;
  progress.unreachable = "cannot connect to 10.0.0.5:7000: connection refused";
  progress.stalled_seconds = 3;
  progress.gives_up_seconds = 57;
  const Status status = fetch_status(progress);
  EXPECT_FALSE(status.fraction);
  EXPECT_EQ(status.state,
            "waiting for a peer (cannot connect to 10.0.0.5:7000: connection refused; giving up in "
            "57 s)");
}

}  // namespace
}  // namespace shardswarm::cli
