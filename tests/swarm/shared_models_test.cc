// Models that nobody asked for here, served for what other models of this machine have of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

constexpr std::uint64_t kTensorBytes = 300'000;

// A, its fine-tune B with other bytes in the last `changed` tensors, and a stranger.
struct Family {
  MemoryModel a = make_memory_model(6, 2, kTensorBytes, 1);
  MemoryModel b = make_memory_model(6, 2, kTensorBytes, 2);
  std::set<Digest> of_a;

  explicit Family(std::uint32_t changed) {
    // B begins as A does: the headers have one length.
    auto& weights = b.files[1];
    const std::uint64_t header = b.manifest->file(FileIndex(1)).header_bytes;
    const std::uint64_t same = weights.size() - changed * kTensorBytes;
    std::copy(a.files[1].begin() + static_cast<std::ptrdiff_t>(header),
              a.files[1].begin() + static_cast<std::ptrdiff_t>(same),
              weights.begin() + static_cast<std::ptrdiff_t>(header));
    b.manifest = manifest_again(b);
    for (std::uint32_t i = 0; i < a.manifest->piece_count(); ++i) {
      of_a.insert(a.manifest->digest(PieceIndex(i)));
    }
  }
  // The config file is equal too.
  std::uint32_t shared() const {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < b.manifest->piece_count(); ++i) {
      count += of_a.contains(b.manifest->digest(PieceIndex(i))) ? 1 : 0;
    }
    return count;
  }

 private:
  static std::shared_ptr<const Manifest> manifest_again(const MemoryModel& model) {
    ManifestRoot root = model.manifest->root();
    const auto header = model.manifest->header_blob(FileIndex(1));
    std::vector<std::byte> list;
    for (std::size_t at = header->size(); at < model.files[1].size(); at += kTensorBytes) {
      const Digest digest = sha256(std::span(model.files[1]).subspan(at, kTensorBytes));
      list.insert(list.end(), digest.bytes.begin(), digest.bytes.end());
    }
    root.files[1].piece_list_digest = sha256(list);
    auto manifest =
        std::make_shared<Manifest>(Manifest::from_root(encode_root(root).value()).value());
    manifest->add_header(FileIndex(1), header).value();
    manifest->add_piece_list(FileIndex(0), model.manifest->piece_list_blob(FileIndex(0))).value();
    manifest
        ->add_piece_list(FileIndex(1),
                         std::make_shared<const std::vector<std::byte>>(std::move(list)))
        .value();
    return manifest;
  }
};

std::uint64_t sent_by(const VirtualSwarm::Node& fetcher, const VirtualSwarm::Node& from) {
  std::uint64_t bytes = 0;
  for (const auto& [id, tally] : fetcher.core->tallies(fetcher.key)) {
    if (tally.address == from.name) bytes += tally.fetched_bytes;
  }
  return bytes;
}

void expect_whole(const VirtualSwarm::Node& node) {
  ASSERT_TRUE(node.ended);
  ASSERT_FALSE(node.error) << node.error->message;
  EXPECT_EQ(node.got.size(), node.model->manifest->piece_count());
  for (const auto& [piece, content] : node.got) {
    EXPECT_TRUE(std::ranges::equal(content, node.model->piece(piece)));
  }
}

// A node that seeds A; the pieces of B that it serves are told from B's bytes.
VirtualSwarm::Node& add_holder_of_a(VirtualSwarm& swarm, const Family& family, bool share = true) {
  swarm.share = share;
  VirtualSwarm::Node& node = swarm.add_seed(family.a);
  node.model = &family.b;
  node.other_digests = family.of_a;
  swarm.share = false;
  return node;
}

TEST(SharedModels, PiecesComeFromANodeThatHasAnotherModel) {
  const Family family(4);
  VirtualSwarm swarm;
  swarm.rate = 5e6;
  auto& seed = swarm.add_seed(family.b);
  auto& holder = add_holder_of_a(swarm, family);
  auto& fetcher = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
  swarm.run_all_fetches();
  expect_whole(fetcher);
  const std::uint64_t shared = sent_by(fetcher, holder);
  EXPECT_GT(shared, 0U);
  EXPECT_LE(shared, family.shared() * kTensorBytes);
  // At the end one takes over what waits at the other, whose CLAIM may be on its way.
  EXPECT_LE(fetcher.core->status(fetcher.key).duplicate_bytes, 2 * kTensorBytes);
  EXPECT_TRUE(fetcher.warnings.empty()) << fetcher.warnings.front();
}

TEST(SharedModels, AloneItCannotTellTheModelAndTheFetchEnds) {
  const Family family(4);
  VirtualSwarm swarm;
  auto& holder = add_holder_of_a(swarm, family);
  auto& fetcher = swarm.add_fetcher(family.b, {}, {holder.name}, std::chrono::seconds(20));
  swarm.run([&] { return fetcher.ended; });
  ASSERT_TRUE(fetcher.ended);
  ASSERT_TRUE(fetcher.error);
  EXPECT_TRUE(fetcher.error->code == Errc::kStalled || fetcher.error->code == Errc::kUnreachable)
      << fetcher.error->message;
  EXPECT_TRUE(fetcher.got.empty());
}

// With the manifest known already it gets what they have in common, and then nothing more.
TEST(SharedModels, AloneItGivesWhatIsCommonToWhoKnowsTheModel) {
  const Family family(4);
  VirtualSwarm swarm;
  auto& holder = add_holder_of_a(swarm, family);
  auto& fetcher =
      swarm.add_fetcher(family.b, {}, {holder.name}, std::chrono::seconds(20), family.b.manifest);
  swarm.run([&] { return fetcher.ended; });
  ASSERT_TRUE(fetcher.error);
  EXPECT_EQ(fetcher.error->code, Errc::kStalled);
  EXPECT_EQ(fetcher.got.size(), family.shared() - 1) << "config.json is a plain file";
}

TEST(SharedModels, SharingOffMeansAnUnknownModel) {
  const Family family(4);
  VirtualSwarm swarm;
  auto& seed = swarm.add_seed(family.b);
  auto& holder = add_holder_of_a(swarm, family, false);
  auto& fetcher = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
  swarm.run_all_fetches();
  expect_whole(fetcher);
  EXPECT_EQ(sent_by(fetcher, holder), 0U);
  EXPECT_EQ(holder.shares_ended, 0);
}

TEST(SharedModels, WhatHasNothingInCommonIsLetGoAndNotLookedForAgainForAMinute) {
  const Family family(4);
  VirtualSwarm swarm;
  auto& seed = swarm.add_seed(family.b);
  auto& holder = add_holder_of_a(swarm, family);
  holder.other_digests.clear();
  auto& fetcher = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
  swarm.run_all_fetches();
  expect_whole(fetcher);
  EXPECT_EQ(holder.shares_ended, 1);
  holder.other_digests = family.of_a;  // it would find them now
  swarm.rate = 2e6;
  auto& second = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
  swarm.run([&] { return second.ended; });
  expect_whole(second);
  EXPECT_EQ(sent_by(second, holder), 0U);
  EXPECT_EQ(holder.shares_ended, 1);
  const Time until = swarm.now() + std::chrono::seconds(61);
  swarm.run([&] { return swarm.now() >= until; });
  auto& third = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
  swarm.run([&] { return third.ended; });
  expect_whole(third);
  EXPECT_GT(sent_by(third, holder), 0U);
}

TEST(SharedModels, ItEndsWhenNobodyHasTheModelOpenAnyMore) {
  const Family family(4);
  VirtualSwarm swarm;
  swarm.rate = 5e6;
  auto& seed = swarm.add_seed(family.b);
  auto& holder = add_holder_of_a(swarm, family);
  auto& fetcher = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
  swarm.run_all_fetches();
  expect_whole(fetcher);
  swarm.kill(fetcher);
  swarm.kill(seed);
  const Time until = swarm.now() + std::chrono::seconds(5);
  swarm.run([&] { return swarm.now() >= until || holder.shares_ended > 0; });
  EXPECT_EQ(holder.shares_ended, 1);
  // And begins again for the next one.
  auto& again = swarm.add_seed(family.b);
  auto& second = swarm.add_fetcher(family.b, {}, {again.name, holder.name});
  swarm.run([&] { return second.ended; });
  expect_whole(second);
  EXPECT_GT(sent_by(second, holder), 0U);
}

TEST(SharedModels, WantsInFurtherFilesAreLookedForToo) {
  const Family family(4);
  VirtualSwarm swarm;
  swarm.rate = 5e6;
  auto& seed = swarm.add_seed(family.b);
  auto& holder = add_holder_of_a(swarm, family);
  // One layer at first; while it is wanted the share stays open.
  auto& narrow = swarm.add_fetcher(family.b, {.layers = {{0, 0}}}, {seed.name, holder.name});
  swarm.run([&] { return sent_by(narrow, holder) > 0; });
  auto& wide = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
  swarm.run([&] { return wide.ended; });
  expect_whole(wide);
  EXPECT_GT(sent_by(wide, holder), 0U);
  swarm.run([&] { return holder.shares_ended > 0; });  // nobody wants anything any more
}

TEST(SharedModels, AskedForHereMeanwhileItIsAModelLikeOthers) {
  const Family family(4);
  for (const bool seeds : {false, true}) {
    SCOPED_TRACE(seeds);
    VirtualSwarm swarm;
    swarm.rate = 5e6;
    auto& seed = swarm.add_seed(family.b);
    auto& holder = add_holder_of_a(swarm, family);
    auto& fetcher = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
    swarm.run([&] { return fetcher.got.size() >= 3; });
    const ModelKey of_a = holder.key;
    if (seeds) {
      swarm.give(holder);
    } else {
      holder.key = swarm.fetch_too(holder, family.b, {}, {seed.name});
    }
    EXPECT_NE(holder.key, of_a);
    EXPECT_EQ(holder.shares_ended, 1);
    swarm.run([&] { return fetcher.ended && (seeds || holder.ended); });
    expect_whole(fetcher);
    if (!seeds) expect_whole(holder);
  }
}

TEST(SharedModels, NoMoreThanSixtyFourModelsAtOnce) {
  const Family family(4);
  VirtualSwarm swarm;
  auto& holder = add_holder_of_a(swarm, family);
  std::vector<MemoryModel> models;
  for (std::uint32_t i = 0; i < 65; ++i) models.push_back(make_memory_model(1, 1, 100, 100 + i));
  auto& asker = swarm.add(models[0]);
  for (const MemoryModel& model : models) swarm.fetch_too(asker, model, {}, {holder.name});
  const Time until = swarm.now() + std::chrono::seconds(5);
  swarm.run([&] { return swarm.now() >= until; });
  EXPECT_TRUE(asker.warnings.empty());
  EXPECT_EQ(holder.shares_ended, 0);
  // Those that were opened end with the peer.
  swarm.kill(asker);
  const Time end = swarm.now() + std::chrono::seconds(5);
  swarm.run([&] { return swarm.now() >= end; });
  EXPECT_EQ(holder.shares_ended, 64);
}

TEST(SharedModels, AnotherPeersGoingDoesNotEndIt) {
  const Family family(2);
  VirtualSwarm swarm;
  swarm.rate = 2e6;
  auto& seed = swarm.add_seed(family.b);
  auto& holder = add_holder_of_a(swarm, family);
  auto& first = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
  auto& second = swarm.add_fetcher(family.b, {}, {seed.name, holder.name});
  swarm.run([&] { return first.got.size() >= 2; });
  swarm.kill(first);
  swarm.run([&] { return second.ended; });
  expect_whole(second);
  EXPECT_GT(sent_by(second, holder), 0U);
  EXPECT_EQ(holder.shares_ended, 0);
}

}  // namespace
}  // namespace shardswarm::test
