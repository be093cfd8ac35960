// Who is sent to, of many that want something.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;

TEST(Uplink, PeersThatWantOtherPartsGetFairShares) {
  constexpr std::uint32_t kFetchers = 10;
  const MemoryModel model = make_memory_model(kFetchers, 20, 300'000, 1);
  VirtualSwarm swarm;
  swarm.rate = 20e6;
  auto& seed = swarm.add_seed(model);
  std::vector<VirtualSwarm::Node*> fetchers;
  for (std::uint32_t layer = 0; layer < kFetchers; ++layer) {
    fetchers.push_back(&swarm.add_fetcher(model, {.layers = {{layer, layer}}}, {seed.name}));
  }
  std::uint64_t samples = 0;
  std::uint64_t mean = 0;
  while (std::none_of(fetchers.begin(), fetchers.end(), [](auto* node) { return node->ended; })) {
    swarm.run_for(5ms);
    std::vector<std::uint64_t> got;
    mean = 0;
    for (const auto* node : fetchers) {
      got.push_back(node->core->status(node->key).fetched_bytes);
      mean += got.back() / kFetchers;
    }
    if (mean < 600'000) continue;  // two pieces: what one turn gives is too coarse before
    ++samples;
    EXPECT_GE(*std::min_element(got.begin(), got.end()), mean / 2) << mean;
  }
  EXPECT_GT(samples, 10U);
  EXPECT_GT(mean, 4'000'000U) << "most of their 6 MB";
}

// 128 KiB and 64 KiB, or what goes out in a millisecond and in half of one.
TEST(Uplink, FramesAndWhatIsUnsentGrowWithTheRate) {
  for (const double rate : {20e6, 400e6}) {
    const MemoryModel model = make_memory_model(8, 10, limits::kMiB, 1);
    VirtualSwarm swarm;
    swarm.rate = rate;
    auto& seed = swarm.add_seed(model);
    const auto& fetcher = swarm.add_fetcher(model, {}, {seed.name});
    constexpr ConnectionId kOfSeed{2};  // the dialer's is the first
    std::uint64_t unsent = 0;
    while (!fetcher.ended) {
      swarm.run_for(10ms);
      ASSERT_TRUE(fetcher.ended || !seed.core->closing(kOfSeed));
      unsent = std::max(unsent, seed.core->unsent_max(kOfSeed));
    }
    EXPECT_FALSE(fetcher.error);
    if (rate < 100e6) {
      EXPECT_EQ(seed.longest_extent, limits::kShortFrameBytes);
      EXPECT_EQ(unsent, 64 * limits::kKiB);
    } else {
      EXPECT_GT(seed.longest_extent, 300'000U);
      EXPECT_LT(seed.longest_extent, 500'000U);
      EXPECT_GT(unsent, 150'000U);
      EXPECT_LT(unsent, 250'000U);
    }
  }
}

// As many as there are slots take nothing any more: the others have them meanwhile.
TEST(Uplink, AStuckReceiverHoldsNoSlot) {
  const MemoryModel model = make_memory_model(8, 20, 300'000, 1);
  VirtualSwarm swarm;
  swarm.rate = 20e6;
  swarm.degree = 100;
  auto& seed = swarm.add_seed(model);
  std::vector<VirtualSwarm::Node*> stuck;
  for (std::size_t n = 0; n < 2 * UploadSlots::kMin; ++n) {
    stuck.push_back(&swarm.add_fetcher(model, {.layers = {{0, 3}}}, {seed.name}));
  }
  swarm.run_for(100ms);
  for (auto* node : stuck) {
    ASSERT_GT(node->core->status(node->key).fetched_bytes, 0U);
    ASSERT_FALSE(node->ended);
    node->reads = false;
  }
  auto& good = swarm.add_fetcher(model, {.layers = {{4, 7}}}, {seed.name});
  const Time joined = swarm.now();
  swarm.run([&] { return good.ended; }, 30s);
  ASSERT_TRUE(good.ended);
  EXPECT_FALSE(good.error);
  // Its 24 MB take 1.2 s; the slots are free after 200 ms.
  EXPECT_LE(swarm.now() - joined, 3s);
}

}  // namespace
}  // namespace shardswarm::test
