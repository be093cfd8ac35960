#include "swarm/core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using testing::HasSubstr;

void expect_complete(const VirtualSwarm::Node& node, std::string_view what) {
  ASSERT_TRUE(node.ended) << what;
  ASSERT_FALSE(node.error) << what << ": " << node.error->message;
  const ModelStatus status = node.core->status(node.key);
  EXPECT_EQ(status.present_bytes, status.wanted_bytes) << what;
  for (const auto& [piece, content] : node.got) {
    const auto right = node.model->piece(piece);
    EXPECT_TRUE(std::equal(right.begin(), right.end(), content.begin(), content.end())) << what;
  }
  EXPECT_EQ(status.fetched_bytes - status.duplicate_bytes,
            status.wanted_bytes - status.reused_bytes)
      << what;
}

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

TEST(Core, HeadersAreSentCompressedWhereBothSidesCan) {  // WIRE-45
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

TEST(Core, BansAPeerThatSendsBadDataAndEndsWithAnother) {
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

TEST(Core, EndsWithStalledWhenNobodyHasTheRest) {
  const MemoryModel model = make_memory_model(8, 2, 100'000, 6);
  VirtualSwarm swarm;
  auto& seed = swarm.add_seed(model);
  auto& part = swarm.add_fetcher(model, {.layers = {{0, 3}}}, {"10.0.0.0:1"});
  swarm.run_all_fetches();
  swarm.kill(seed);
  auto& hungry = swarm.add_fetcher(model, {}, {part.name}, std::chrono::seconds(5));
  swarm.run([&] { return hungry.ended; });
  ASSERT_TRUE(hungry.error);
  // The piece lists of one file come from the part; pieces beyond it are with nobody.
  EXPECT_EQ(hungry.error->code, Errc::kStalled);
  EXPECT_THAT(hungry.error->message, HasSubstr("held by no connected peer"));
  EXPECT_THAT(hungry.error->message, HasSubstr(part.name + " is connected but holds none of the "));
}

TEST(Core, SaysWhenNoPeerHasTheModel) {
  const MemoryModel model = make_memory_model(2, 2, 1000, 7);
  const MemoryModel other = make_memory_model(2, 2, 1000, 8);
  VirtualSwarm swarm;
  swarm.add_seed(other);
  auto& fetcher = swarm.add_fetcher(model, {}, {"10.0.0.0:1"}, std::chrono::seconds(3));
  swarm.run([&] { return fetcher.ended; });
  ASSERT_TRUE(fetcher.error);
  EXPECT_EQ(fetcher.error->code, Errc::kUnreachable);
  EXPECT_THAT(fetcher.error->message, HasSubstr(to_hex(model.manifest->id())));
}

TEST(Core, SaysWhenNoPeerIsReachable) {
  const MemoryModel model = make_memory_model(2, 2, 1000, 7);
  VirtualSwarm swarm;
  auto& fetcher = swarm.add_fetcher(model, {}, {"nobody:1"}, std::chrono::seconds(3));
  swarm.run([&] { return fetcher.ended; });
  ASSERT_TRUE(fetcher.error);
  EXPECT_EQ(fetcher.error->code, Errc::kUnreachable);
  EXPECT_THAT(fetcher.error->message, HasSubstr("nobody at nobody:1"));
}

TEST(Core, WaitsForASourceThatIsNotUpYet) {
  const MemoryModel model = make_memory_model(4, 2, 100'000, 7);
  VirtualSwarm swarm;
  const auto wait = std::chrono::minutes(5);
  // The second node of the swarm is the source.
  auto& fetcher =
      swarm.add_fetcher(model, {}, {"10.0.0.1:1"}, std::chrono::seconds(3), nullptr, wait);
  // Dials that fail are 8 s apart in the end.
  swarm.run([&] { return swarm.now() > wait - std::chrono::seconds(10); });
  ASSERT_FALSE(fetcher.ended);
  swarm.add_seed(model);
  swarm.run([&] { return fetcher.ended; });
  expect_complete(fetcher, "fetcher");
}

// An address of a ticket may be another machine's from here: that of a bridge of containers, which
// this machine has, too.
TEST(Core, ARefusalByOneAddressOfANodeEndsAFetchUnlessItWaits) {
  for (const bool waits : {false, true}) {
    BufferPool buffers(limits::kBuffersLarge, limits::kBuffersSmall);
    Core core({.hello = {.node_id = sha256({}), .agent = "test", .advertised = {}}}, buffers);
    Time now = std::chrono::seconds(1000);
    ASSERT_TRUE(core.add_fetch({.id = sha256({}),
                                .selection = {},
                                .stall_timeout = std::chrono::hours(1),
                                .wait = waits ? std::chrono::hours(1) : std::chrono::hours(0)},
                               now));
    core.add_node({"bridge:1", "real:1"}, now);
    const auto ended = [&] {
      core.settle(now);
      return std::ranges::any_of(core.take_actions(), [](const Action& action) {
        return std::holds_alternative<action::FetchEnded>(action);
      });
    };
    EXPECT_FALSE(ended());
    core.dial_failed("bridge:1", {Errc::kRefused, "it has another key"}, now);
    core.dial_failed("real:1", {Errc::kUnreachable, "nothing listens there"}, now);
    now += std::chrono::milliseconds(1);
    EXPECT_EQ(ended(), !waits);
    if (!waits) continue;
    now += std::chrono::seconds(1);
    EXPECT_FALSE(ended());
    core.dial_failed("real:1", {Errc::kRefused, "it has another key"}, now);
    now += std::chrono::milliseconds(1);
    EXPECT_TRUE(ended());
  }
}

TEST(Core, GivesUpWhenTheWaitIsOver) {
  const MemoryModel model = make_memory_model(2, 2, 1000, 7);
  VirtualSwarm swarm;
  auto& fetcher = swarm.add_fetcher(model, {}, {"nobody:1"}, std::chrono::seconds(3), nullptr,
                                    std::chrono::minutes(5));
  swarm.run([&] { return fetcher.ended; });
  ASSERT_TRUE(fetcher.error);
  EXPECT_EQ(fetcher.error->code, Errc::kUnreachable);
  EXPECT_THAT(fetcher.error->message, HasSubstr("for 300 s"));
  EXPECT_GE(fetcher.ended_at, std::chrono::minutes(5));
  EXPECT_LT(fetcher.ended_at, std::chrono::minutes(5) + std::chrono::seconds(1));
}

// A source that came within the wait and has something else is no reason to wait on.
TEST(Core, TheWaitIsForASourceAndNotForItsModel) {
  const MemoryModel model = make_memory_model(2, 2, 1000, 7);
  const MemoryModel other = make_memory_model(2, 2, 1000, 8);
  VirtualSwarm swarm;
  swarm.add_seed(other);
  auto& fetcher = swarm.add_fetcher(model, {}, {"10.0.0.0:1"}, std::chrono::seconds(3), nullptr,
                                    std::chrono::minutes(5));
  swarm.run([&] { return fetcher.ended; });
  ASSERT_TRUE(fetcher.error);
  EXPECT_LT(fetcher.ended_at, std::chrono::seconds(10));
}

TEST(Core, AnImpossibleSelectionEndsWithTheValidRange) {
  const MemoryModel model = make_memory_model(4, 2, 1000, 9);
  VirtualSwarm swarm;
  swarm.add_seed(model);
  auto& fetcher = swarm.add_fetcher(model, {.layers = {{2, 9}}}, {"10.0.0.0:1"});
  swarm.run([&] { return fetcher.ended; });
  ASSERT_TRUE(fetcher.error);
  EXPECT_EQ(fetcher.error->code, Errc::kUsage);
  EXPECT_THAT(fetcher.error->message, HasSubstr("0-3"));
}

TEST(Core, LearnsOfPeersThroughPeers) {
  const MemoryModel model = make_memory_model(8, 4, 200'000, 10);
  VirtualSwarm swarm;
  swarm.add_seed(model);
  auto& first = swarm.add_fetcher(model, {}, {"10.0.0.0:1"});
  auto& second = swarm.add_fetcher(model, {}, {"10.0.0.0:1"});
  swarm.run_all_fetches();
  expect_complete(first, "first");
  expect_complete(second, "second");
  EXPECT_GT(first.core->status(first.key).sent_bytes + second.core->status(second.key).sent_bytes,
            0U);
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

TEST(Core, ASecondFetchOfAModelOnTheSameConnectionGetsItsPieces) {
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

TEST(Core, AKeptManifestNeedsNoPeerToBeLearnedFrom) {
  const MemoryModel model = make_memory_model(4, 2, 100'000, 13);
  VirtualSwarm swarm;
  auto& fetcher = swarm.add_fetcher(model, {}, {}, std::chrono::seconds(3), model.manifest);
  swarm.run([&] { return fetcher.ended; });
  EXPECT_TRUE(fetcher.core->status(fetcher.key).learned);
  ASSERT_TRUE(fetcher.error);  // there is nobody with the pieces
  EXPECT_EQ(fetcher.error->code, Errc::kUnreachable);
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

}  // namespace
}  // namespace shardswarm::test
