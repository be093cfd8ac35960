#include "swarm/blobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/swarm/expect_complete.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

TEST(Blobs, HeadersAreSentCompressedWhereBothSidesCan) {  // WIRE-45
  const MemoryModel model = make_memory_model(60, 10, 100, 1);
  const std::size_t header = model.manifest->header_blob(FileIndex(1))->size();
  std::uint64_t blobs = model.manifest->root_blob()->size() + header;
  for (std::uint32_t i = 0; i < 2; ++i) {
    blobs += model.manifest->piece_list_blob(FileIndex(i))->size();
  }
  std::map<std::pair<bool, bool>, std::uint64_t> received;
  for (const bool seed_can : {false, true}) {
    for (const bool fetcher_can : {false, true}) {
      VirtualSwarm swarm;
      swarm.features = seed_can ? kFeatureZstdBlobs : 0;
      swarm.add_seed(model);
      swarm.features = fetcher_can ? kFeatureZstdBlobs : 0;
      auto& first = swarm.add_fetcher(model, {}, {"10.0.0.0:1"});
      auto& second = swarm.add_fetcher(model, {}, {"10.0.0.0:1"});
      swarm.run_all_fetches();
      expect_complete(first, "first");
      expect_complete(second, "second");
      received[{seed_can, fetcher_can}] = first.core->status(first.key).manifest_bytes;
    }
  }
  EXPECT_EQ((received[{false, false}]), blobs);
  EXPECT_EQ((received[{true, false}]), blobs);
  EXPECT_EQ((received[{false, true}]), blobs);
  EXPECT_LT((received[{true, true}]), blobs - header * 3 / 4);
  EXPECT_GT((received[{true, true}]), blobs - header);
}

}  // namespace
}  // namespace shardswarm::test
