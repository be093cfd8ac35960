#include "swarm/fetches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/swarm/expect_complete.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using testing::HasSubstr;

TEST(Fetches, BansAPeerThatSendsBadDataAndEndsWithAnother) {
  const MemoryModel model = make_memory_model(4, 4, 200'000, 5);
  VirtualSwarm swarm;
  auto& liar = swarm.add_seed(model);
  liar.corrupts = true;
  swarm.add_seed(model);
  auto& fetcher = swarm.add_fetcher(model, {}, {"10.0.0.0:1", "10.0.0.1:1"});
  swarm.run_all_fetches();
  expect_complete(fetcher, "fetcher");
  EXPECT_THAT(fetcher.warnings, testing::Contains(HasSubstr("is banned")));
}

TEST(Fetches, AnImpossibleSelectionEndsWithTheValidRange) {
  const MemoryModel model = make_memory_model(4, 2, 1000, 9);
  VirtualSwarm swarm;
  swarm.add_seed(model);
  auto& fetcher = swarm.add_fetcher(model, {.layers = {{2, 9}}}, {"10.0.0.0:1"});
  swarm.run([&] { return fetcher.ended; });
  ASSERT_TRUE(fetcher.error);
  EXPECT_EQ(fetcher.error->code, Errc::kUsage);
  EXPECT_THAT(fetcher.error->message, HasSubstr("0-3"));
}

TEST(Fetches, AKeptManifestNeedsNoPeerToBeLearnedFrom) {
  const MemoryModel model = make_memory_model(4, 2, 100'000, 13);
  VirtualSwarm swarm;
  auto& fetcher = swarm.add_fetcher(model, {}, {}, std::chrono::seconds(3), model.manifest);
  swarm.run([&] { return fetcher.ended; });
  EXPECT_TRUE(fetcher.core->status(fetcher.key).learned);
  ASSERT_TRUE(fetcher.error);  // there is nobody with the pieces
  EXPECT_EQ(fetcher.error->code, Errc::kUnreachable);
}

TEST(Fetches, ASecondFetchOfAModelOnTheSameConnectionGetsItsPieces) {
  const MemoryModel model = make_memory_model(8, 2, 100'000, 15);
  VirtualSwarm swarm;
  auto& seed = swarm.add_seed(model);
  auto& fetcher = swarm.add_fetcher(model, {.layers = {{0, 3}}}, {seed.name});
  swarm.run([&] { return fetcher.ended; });
  expect_complete(fetcher, "first");
  const std::size_t first = fetcher.got.size();
  swarm.fetch_again(fetcher, {.layers = {{4, 7}}});
  swarm.run([&] { return fetcher.ended; });
  expect_complete(fetcher, "second");
  EXPECT_GT(fetcher.got.size(), first);
}

}  // namespace
}  // namespace shardswarm::test
