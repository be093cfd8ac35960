#include "swarm/core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "tests/swarm/expect_complete.h"
#include "tests/swarm/raw_peer.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using std::chrono::seconds;

TEST(Core, FetchesAWholeModelFromOneSeed) {
  const MemoryModel model = make_memory_model(8, 4, 300'000, 1);
  VirtualSwarm swarm;
  swarm.add_seed(model);
  auto& fetcher = swarm.add_fetcher(model, {}, {"10.0.0.0:1"});
  swarm.run_all_fetches();
  expect_complete(fetcher, "fetcher");
  EXPECT_EQ(fetcher.got.size(), model.manifest->piece_count());
  EXPECT_EQ(fetcher.core->status(fetcher.key).duplicate_bytes, 0U);
}

TEST(Core, FetchesOnlyTheSelectedLayers) {
  const MemoryModel model = make_memory_model(8, 4, 300'000, 1);
  VirtualSwarm swarm;
  swarm.add_seed(model);
  auto& fetcher = swarm.add_fetcher(model, {.layers = {{2, 3}}}, {"10.0.0.0:1"});
  swarm.run_all_fetches();
  expect_complete(fetcher, "fetcher");
  EXPECT_EQ(fetcher.got.size(), 2U * 4U + 1U);  // and config.json
}

TEST(Core, FiveFetchersOfOverlappingShardsShareTheSeedsUplink) {
  const MemoryModel model = make_memory_model(16, 6, 200'000, 2);
  VirtualSwarm swarm;
  auto& seed = swarm.add_seed(model);
  const std::vector<Selection> wants = {
      {}, {.layers = {{0, 9}}}, {.layers = {{5, 15}}}, {.layers = {{3, 12}}}, {}};
  for (const Selection& want : wants) swarm.add_fetcher(model, want, {"10.0.0.0:1"});
  swarm.run_all_fetches();
  for (std::size_t i = 1; i <= wants.size(); ++i) expect_complete(swarm.node(i), "fetcher");
  const double copies = static_cast<double>(seed.core->status(seed.key).sent_bytes) /
                        static_cast<double>(model.manifest->total_bytes());
  EXPECT_LE(copies, 1.5);
  RecordProperty("seed_copies", std::to_string(copies));
}

TEST(Core, OthersEndWhenTheSeedLeavesAfterOneCopy) {
  const MemoryModel model = make_memory_model(8, 4, 200'000, 3);
  VirtualSwarm swarm;
  auto& seed = swarm.add_seed(model);
  auto& low = swarm.add_fetcher(model, {.layers = {{0, 3}}}, {"10.0.0.0:1"});
  auto& high = swarm.add_fetcher(model, {.layers = {{4, 7}}}, {"10.0.0.0:1"});
  swarm.run_all_fetches();
  swarm.kill(seed);
  auto& late = swarm.add_fetcher(model, {}, {low.name, high.name});
  swarm.run([&] { return late.ended; });
  expect_complete(late, "late");
}

TEST(Core, FetchersEndAmongThemselvesOnceEveryPieceHasLeftTheSeed) {
  const MemoryModel model = make_memory_model(16, 6, 200'000, 16);
  VirtualSwarm swarm;
  auto& seed = swarm.add_seed(model);
  std::vector<VirtualSwarm::Node*> fetchers;
  for (int i = 0; i < 3; ++i) fetchers.push_back(&swarm.add_fetcher(model, {}, {seed.name}));
  const auto pieces_out = [&] {
    PieceSet out(model.manifest->piece_count());
    for (const auto* fetcher : fetchers) {
      for (const auto& [piece, content] : fetcher->got) out.insert(piece);
    }
    return out.complete();
  };
  swarm.run(pieces_out);
  for (const auto* fetcher : fetchers) ASSERT_FALSE(fetcher->ended);
  swarm.kill(seed);
  swarm.run_all_fetches();
  for (const auto* fetcher : fetchers) expect_complete(*fetcher, fetcher->name);
}

TEST(Core, SurvivesAPeerThatLeavesInTheMiddle) {
  const MemoryModel model = make_memory_model(8, 8, 200'000, 4);
  VirtualSwarm swarm;
  auto& leaving = swarm.add_seed(model);
  swarm.add_seed(model);
  auto& fetcher = swarm.add_fetcher(model, {}, {"10.0.0.0:1", "10.0.0.1:1"});
  swarm.run([&] { return fetcher.got.size() > 20; });
  swarm.kill(leaving);
  swarm.run_all_fetches();
  expect_complete(fetcher, "fetcher");
}

TEST(Core, StaysForAPeerThatWantsWhatOnlyItHolds) {
  const MemoryModel model = make_memory_model(8, 4, 200'000, 12);
  VirtualSwarm swarm;
  auto& seed = swarm.add_seed(model);
  auto& middle = swarm.add_fetcher(model, {}, {"10.0.0.0:1"});
  swarm.run([&] { return middle.got.size() > 10; });
  auto& last = swarm.add_fetcher(model, {}, {middle.name});
  swarm.run([&] { return middle.ended; });
  swarm.kill(seed);
  ASSERT_FALSE(last.ended);
  swarm.run([&] { return last.ended || middle.core->may_leave(middle.key); });
  // All that middle alone held has reached last by the time that it may leave.
  swarm.kill(middle);
  swarm.run([&] { return last.ended; });
  expect_complete(last, "last");
}

TEST(Core, ASeedThatWasIndexedAfterTheConnectionCameIsFound) {
  const MemoryModel model = make_memory_model(4, 2, 100'000, 14);
  VirtualSwarm swarm;
  auto& late = swarm.add(model);  // listens, has no model yet
  auto& fetcher = swarm.add_fetcher(model, {}, {late.name});
  swarm.run_for(std::chrono::seconds(1));
  ASSERT_FALSE(fetcher.ended);
  swarm.give(late);
  swarm.run([&] { return fetcher.ended; });
  expect_complete(fetcher, "fetcher");
}

TEST(Core, TheSameSeedGivesTheSameRun) {
  const MemoryModel model = make_memory_model(8, 4, 100'000, 11);
  const auto run = [&] {
    VirtualSwarm swarm;
    swarm.add_seed(model);
    swarm.add_fetcher(model, {}, {"10.0.0.0:1"});
    swarm.add_fetcher(model, {.layers = {{2, 6}}}, {"10.0.0.0:1"});
    swarm.run_all_fetches();
    return std::pair(swarm.node(1).ended_at, swarm.node(2).ended_at);
  };
  EXPECT_EQ(run(), run());
}

// --- what several connections received is told to the core one after the other ---

constexpr ConnectionId kOld{1};
constexpr ConnectionId kNew{2};
constexpr Time kTurnAt = seconds(1000);

// All that a session has to say, without telling it that it was sent.
std::vector<std::byte> said(Session& session) {
  const Output output = session.next_output();
  const auto& bytes = std::get<OutputBytes>(output).bytes;
  return {bytes.begin(), bytes.end()};
}

std::size_t put(std::span<const std::byte> bytes, std::array<std::span<std::byte>, 2> spans) {
  const std::size_t n = std::min(bytes.size(), spans[0].size());
  std::ranges::copy(bytes.first(n), spans[0].begin());
  return n;
}

// Both were read in the same turn; what the new one brought makes the core close the old one.
TEST(Core, BytesOfAConnectionThatAnotherOneClosedMeanwhileAreIgnored) {
  BufferPool buffers(4, 4);
  CoreOptions options;  // its node id is zero: of two connections the one that it dialed stands
  options.hello.agent = "test";
  Core core(std::move(options), buffers);
  RawPeer old(core, kOld, "10.0.0.1:1", false, kTurnAt);
  old.run(kTurnAt);
  ASSERT_NE(old.heard<event::Ready>(), nullptr);
  old.session.ping(7);

  RawPeer same(core, kNew, "10.0.0.1:1", true, kTurnAt);
  const auto hello = said(same.session);
  const auto ping = said(old.session);
  std::size_t heard = 0;  // of the new one
  bool told = false;
  while (heard < hello.size()) {
    const auto from_old = core.receive_spans(kOld);
    const auto from_new = core.receive_spans(kNew);
    const std::size_t n_old = put(ping, from_old);
    const std::size_t n_new = put(std::span(hello).subspan(heard), from_new);
    ASSERT_GT(n_new, 0U);
    core.received(kNew, n_new, kTurnAt);
    heard += n_new;
    if (heard < hello.size()) continue;
    ASSERT_TRUE(core.closing(kOld));
    ASSERT_FALSE(core.closing(kNew));
    ASSERT_GT(n_old, 0U);
    const std::uint64_t before = core.control_bytes();
    core.received(kOld, n_old, kTurnAt);
    EXPECT_EQ(core.control_bytes(), before);
    told = true;
  }
  ASSERT_TRUE(told);
  core.settle(kTurnAt);
  EXPECT_TRUE(core.receive_spans(kOld)[0].empty());
  EXPECT_FALSE(core.closing(kNew));
  old.run(kTurnAt);
  const auto* close = old.heard<event::Closed>();
  ASSERT_NE(close, nullptr);
  EXPECT_EQ(close->reason, CloseReason::kDuplicate);
  EXPECT_EQ(old.heard<event::Pong>(), nullptr);
}

}  // namespace
}  // namespace shardswarm::test
