// Rate limits of a node, in virtual time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::Ge;
using testing::IsEmpty;
using testing::Le;

constexpr std::uint64_t kRate = 4'000'000;

auto within(double share, double expected) {
  return AllOf(Ge(expected * (1 - share)), Le(expected * (1 + share)));
}

void run_until(VirtualSwarm& swarm, Time at) {
  swarm.run([&] { return swarm.now() >= at; });
}

// Bytes a second that `counter` grows by, from second 1 to second 4.
template <class... Counter>
std::array<double, sizeof...(Counter)> measured(VirtualSwarm& swarm, const Counter&... counter) {
  run_until(swarm, 1s);
  const Time since = swarm.now();
  const std::array before = {static_cast<double>(counter)...};
  run_until(swarm, 4s);
  const double seconds = std::chrono::duration<double>(swarm.now() - since).count();
  std::array rates = {static_cast<double>(counter)...};
  for (std::size_t i = 0; i < rates.size(); ++i) rates[i] = (rates[i] - before[i]) / seconds;
  return rates;
}

void expect_quietly_complete(const VirtualSwarm::Node& node) {
  ASSERT_TRUE(node.ended) << node.name;
  ASSERT_FALSE(node.error) << node.name << ": " << node.error->message;
  const ModelStatus status = node.core->status(node.key);
  EXPECT_EQ(status.present_bytes, status.wanted_bytes) << node.name;
  EXPECT_EQ(status.duplicate_bytes, 0U) << node.name;
  EXPECT_THAT(node.breaks, IsEmpty()) << node.name;
  EXPECT_THAT(node.warnings, IsEmpty()) << node.name;
}

class RateGate : public testing::Test {
 protected:
  VirtualSwarm::Node& add_seed(const MemoryModel& model, RateLimits limits) {
    swarm.limits = limits;
    auto& seed = swarm.add_seed(model);
    swarm.limits = {};
    return seed;
  }
  VirtualSwarm::Node& add_fetcher(const MemoryModel& model, Selection selection,
                                  const std::vector<std::string>& peers, RateLimits limits,
                                  Duration stall = 60s) {
    swarm.limits = limits;
    auto& fetcher = swarm.add_fetcher(model, std::move(selection), peers, stall);
    swarm.limits = {};
    return fetcher;
  }

  VirtualSwarm swarm;
};

TEST_F(RateGate, ALimitedSeedKeepsItsRateAndSharesItEvenly) {
  const MemoryModel model = make_memory_model(24, 1, 1'000'000, 1);
  auto& seed = add_seed(model, {.upload = kRate});
  // Nothing that they could give each other.
  auto& low = add_fetcher(model, {.layers = {{0, 11}}}, {seed.name}, {});
  auto& high = add_fetcher(model, {.layers = {{12, 23}}}, {seed.name}, {});
  const auto [all, to_low, to_high] = measured(swarm, seed.bytes_out, low.bytes_in, high.bytes_in);
  EXPECT_THAT(all, within(0.02, kRate));
  EXPECT_THAT(to_low, within(0.05, kRate / 2.0));
  EXPECT_THAT(to_high, within(0.05, kRate / 2.0));
  swarm.run_all_fetches();
  expect_quietly_complete(low);
  expect_quietly_complete(high);
}

TEST_F(RateGate, ALimitedFetcherKeepsItsRate) {
  const MemoryModel model = make_memory_model(24, 1, 1'000'000, 2);
  add_seed(model, {});
  add_seed(model, {});
  auto& fetcher = add_fetcher(model, {}, {"10.0.0.0:1", "10.0.0.1:1"}, {.download = kRate});
  const auto [all] = measured(swarm, fetcher.bytes_in);
  EXPECT_THAT(all, within(0.02, kRate));
  swarm.run_all_fetches();
  expect_quietly_complete(fetcher);
}

TEST_F(RateGate, PeersThatSendToALimitedFetcherTakeTurns) {
  const MemoryModel model = make_memory_model(24, 1, 1'000'000, 3);
  auto& first = add_seed(model, {});
  auto& second = add_seed(model, {});
  auto& fetcher = add_fetcher(model, {}, {first.name, second.name}, {.download = kRate});
  const auto from = [&](const VirtualSwarm::Node& seed) {
    for (const auto& [id, tally] : fetcher.core->tallies(fetcher.key)) {
      if (tally.address == seed.name) return static_cast<double>(tally.fetched_bytes);
    }
    return 0.0;
  };
  run_until(swarm, 1s);
  const std::array before = {from(first), from(second)};
  run_until(swarm, 4s);
  EXPECT_THAT(from(first) - before[0], within(0.05, 3 * kRate / 2.0));
  EXPECT_THAT(from(second) - before[1], within(0.05, 3 * kRate / 2.0));
}

TEST_F(RateGate, EachPeerHasALimitOfItsOwn) {
  const MemoryModel model = make_memory_model(24, 1, 1'000'000, 4);
  auto& seed = add_seed(model, {.peer_upload = kRate / 2});
  auto& low = add_fetcher(model, {.layers = {{0, 11}}}, {seed.name}, {});
  auto& high = add_fetcher(model, {.layers = {{12, 23}}}, {seed.name}, {});
  auto& slow =
      add_fetcher(model, {.layers = {{12, 23}}}, {seed.name}, {.peer_download = kRate / 8});
  const auto [to_low, to_slow] = measured(swarm, low.bytes_in, slow.bytes_in);
  EXPECT_THAT(to_low, within(0.02, kRate / 2.0));
  EXPECT_THAT(to_slow, within(0.02, 2 * kRate / 8.0));  // from the seed, and from `high`
  swarm.run_all_fetches();
  expect_quietly_complete(low);
  expect_quietly_complete(high);
}

TEST_F(RateGate, ALowLimitServesOnePeerAfterAnotherSoThatEachGetsOn) {
  const MemoryModel model = make_memory_model(12, 4, 60'000, 5);
  auto& seed = add_seed(model, {.upload = 64 * limits::kKiB});
  std::vector<VirtualSwarm::Node*> fetchers;
  for (std::uint32_t layer = 0; layer < 12; ++layer) {
    fetchers.push_back(&add_fetcher(model, {.layers = {{layer, layer}}}, {seed.name}, {}));
  }
  swarm.run_all_fetches();
  for (const auto* fetcher : fetchers) expect_quietly_complete(*fetcher);
  EXPECT_THAT(seed.breaks, IsEmpty());
  const double seconds = std::chrono::duration<double>(swarm.now()).count();
  EXPECT_THAT(static_cast<double>(seed.bytes_out), within(0.02, 64.0 * 1024 * seconds));
}

TEST_F(RateGate, TheLowestUploadLimitStillBringsAll) {
  const MemoryModel model = make_memory_model(1, 1, limits::kPieceBytesMax, 6);  // 64 s a piece
  auto& seed = add_seed(model, {.upload = RateLimits::kRateMin});
  auto& fetcher = add_fetcher(model, {}, {seed.name}, {});
  swarm.run_all_fetches();
  expect_quietly_complete(fetcher);
  EXPECT_THAT(seed.breaks, IsEmpty());
}

TEST_F(RateGate, TheLowestDownloadLimitStillBringsAll) {
  const MemoryModel model = make_memory_model(2, 1, limits::kPieceBytesMax, 7);
  std::vector<std::string> seeds;
  for (int i = 0; i < 4; ++i) seeds.push_back(add_seed(model, {}).name);
  auto& fetcher = add_fetcher(model, {}, seeds, {.download = RateLimits::kRateMin});
  swarm.run_all_fetches();
  expect_quietly_complete(fetcher);
  for (std::size_t i = 0; i < seeds.size(); ++i) EXPECT_THAT(swarm.node(i).breaks, IsEmpty());
}

TEST_F(RateGate, ControlPassesWhilePayloadWaits) {
  const MemoryModel model = make_memory_model(4, 1, limits::kPieceBytesMax, 8);
  auto& seed = add_seed(model, {.upload = RateLimits::kRateMin});
  auto& first = add_fetcher(model, {}, {seed.name}, {}, 600s);
  run_until(swarm, 10s);
  ASSERT_GT(first.core->status(first.key).fetched_bytes, 0U);
  // The seed is behind its limit by now: another one is answered at once all the same.
  auto& second = add_fetcher(model, {.layers = {{0, 0}}}, {seed.name}, {}, 600s);
  run_until(swarm, 10500ms);
  EXPECT_TRUE(second.core->status(second.key).learned);
  // It has no turn for minutes, and the connection stands: PINGs are answered.
  run_until(swarm, 100s);
  EXPECT_THAT(seed.breaks, IsEmpty());
  EXPECT_EQ(second.core->status(second.key).peers, 2U);
}

TEST_F(RateGate, WhoWaitsForItsTurnToReadIsNotDead) {
  const MemoryModel model = make_memory_model(2, 1, limits::kPieceBytesMax, 9);
  auto& seed = add_seed(model, {});
  auto& fetcher = add_fetcher(model, {}, {seed.name}, {.download = RateLimits::kRateMin}, 600s);
  run_until(swarm, 150s);  // the seed's PINGs, and its PONGs, are behind two pieces
  EXPECT_FALSE(fetcher.ended);
  EXPECT_THAT(fetcher.breaks, IsEmpty());
  EXPECT_THAT(seed.breaks, IsEmpty());
  swarm.run_all_fetches();
  expect_quietly_complete(fetcher);
}

// A manifest that came at once is paid off for half a minute, in which nothing is read.
TEST_F(RateGate, WhileALimitIsPaidOffNothingWakesTheNodeAgainAndAgain) {
  const MemoryModel model = make_memory_model(100, 40, 16, 11);
  swarm.features = 0;  // as long as it is
  auto& seed = add_seed(model, {});
  auto& fetcher =
      add_fetcher(model, {.layers = {{0, 0}}}, {seed.name}, {.download = RateLimits::kRateMin});
  run_until(swarm, 2s);
  ASSERT_TRUE(fetcher.core->status(fetcher.key).learned);
  const std::uint32_t before = fetcher.woken;
  run_until(swarm, 22s);
  ASSERT_EQ(fetcher.core->status(fetcher.key).fetched_bytes, 0U);
  EXPECT_LE(fetcher.woken - before, 100U);
  swarm.run_all_fetches();
  EXPECT_FALSE(fetcher.error);
  EXPECT_THAT(fetcher.breaks, IsEmpty());
}

// A manifest of 40 KiB for each of eight peers that come at once.
TEST_F(RateGate, ManifestsKeepTheLowestUploadLimitAndEveryPeerGetsOn) {
  const MemoryModel model = make_memory_model(100, 4, 200, 12);
  std::uint64_t manifest = model.manifest->root_blob()->size();
  manifest += model.manifest->header_blob(FileIndex(1))->size();
  manifest += model.manifest->piece_list_blob(FileIndex(1))->size();
  ASSERT_GE(manifest, 40 * limits::kKiB);
  swarm.features = 0;  // as long as it is
  auto& seed = add_seed(model, {.upload = RateLimits::kRateMin});
  std::vector<VirtualSwarm::Node*> fetchers;
  for (std::uint32_t i = 0; i < 8; ++i) {
    fetchers.push_back(&add_fetcher(model, {.layers = {{i, i}}}, {seed.name}, {}));
  }
  for (const int second : {5, 10, 20}) {
    run_until(swarm, std::chrono::seconds(second));
    const double most = 1.05 * RateLimits::kRateMin * second + 16 * limits::kKiB;  // and control
    EXPECT_LE(static_cast<double>(seed.bytes_out), most) << second;
    for (const auto* fetcher : fetchers) {
      EXPECT_GE(fetcher->core->status(fetcher->key).manifest_bytes,
                static_cast<std::uint64_t>(second - 4) * limits::kKiB)
          << fetcher->name << " after " << second << " s";
    }
  }
  swarm.run_all_fetches();
  for (const auto* fetcher : fetchers) expect_quietly_complete(*fetcher);
  EXPECT_THAT(seed.breaks, IsEmpty());
}

// Newcomers' manifests do not make the piece drip that another is being sent.
TEST_F(RateGate, APieceUnderWayGetsOnBesideManifests) {
  const MemoryModel model = make_memory_model(2, 1, limits::kPieceBytesMax, 13);
  auto& seed = add_seed(model, {.upload = RateLimits::kRateMin});
  auto& first = add_fetcher(model, {.layers = {{0, 0}}}, {seed.name}, {}, 600s);
  run_until(swarm, 5s);
  ASSERT_GT(first.core->status(first.key).fetched_bytes, 0U);
  // Another model of the seed's, with a manifest of 500 KiB.
  const MemoryModel other = make_memory_model(400, 10, 16, 14);
  swarm.features = 0;
  seed.core->add_seed(other.manifest, PieceSet::full(other.manifest->piece_count()), swarm.now())
      .value();
  std::vector<VirtualSwarm::Node*> others;
  for (int i = 0; i < 8; ++i) {
    others.push_back(&add_fetcher(other, {.layers = {{0, 0}}}, {seed.name}, {}, 600s));
  }
  const std::uint64_t before = first.core->status(first.key).fetched_bytes;
  run_until(swarm, 65s);
  EXPECT_THAT(static_cast<double>(first.core->status(first.key).fetched_bytes - before),
              within(0.1, 60.0 * RateLimits::kRateMin / 2));
  EXPECT_THAT(seed.breaks, IsEmpty());
  for (const auto* node : others) {
    EXPECT_GE(node->core->status(node->key).manifest_bytes, 40 * limits::kKiB);
    EXPECT_FALSE(node->ended);
  }
}

TEST_F(RateGate, BothDirectionsAtOnce) {
  const MemoryModel model = make_memory_model(16, 2, 200'000, 10);
  const RateLimits all{
      .upload = kRate, .download = kRate, .peer_upload = kRate / 2, .peer_download = kRate / 2};
  auto& seed = add_seed(model, all);
  std::vector<VirtualSwarm::Node*> fetchers;
  for (int i = 0; i < 4; ++i) fetchers.push_back(&add_fetcher(model, {}, {seed.name}, all));
  swarm.run_all_fetches();
  for (const auto* fetcher : fetchers) {
    ASSERT_TRUE(fetcher->ended);
    ASSERT_FALSE(fetcher->error) << fetcher->error->message;
    EXPECT_LE(fetcher->bytes_in, static_cast<double>(kRate) *
                                         std::chrono::duration<double>(fetcher->ended_at).count() *
                                         1.02 +
                                     200'000);
  }
}

}  // namespace
}  // namespace shardswarm::test
