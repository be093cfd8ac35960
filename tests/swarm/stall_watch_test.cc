#include "swarm/stall_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>

#include "tests/swarm/expect_complete.h"
#include "tests/swarm/raw_peer.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class StalledFetch : public testing::Test {
 protected:
  VirtualSwarm::Node& fetch_from(const std::vector<std::string>& peers, Duration wait = {}) {
    return swarm_.add_fetcher(model_, {}, peers, seconds(60), nullptr, wait);
  }
  void run_to_the_end(const VirtualSwarm::Node& fetcher) {
    swarm_.run([&] { return fetcher.ended; });
    ASSERT_TRUE(fetcher.ended);
    ASSERT_TRUE(fetcher.error);
  }

  const MemoryModel model_ = make_memory_model(8, 4, 200'000, 7);
  const MemoryModel other_ = make_memory_model(2, 2, 1000, 8);
  VirtualSwarm swarm_;
};

TEST_F(StalledFetch, EndsSoonWhenTheOnlySourceHasAnotherModelAndNamesIt) {
  for (const bool shares : {false, true}) {  // who shares opens the model in return (WIRE-25)
    swarm_.share = shares;
    const auto& source = swarm_.add_seed(other_);
    const Time began = swarm_.now();
    const auto& fetcher = fetch_from({source.name});
    run_to_the_end(fetcher);
    EXPECT_LT(fetcher.ended_at - began, seconds(10));
    EXPECT_EQ(fetcher.error->code, Errc::kUnreachable);
    EXPECT_THAT(fetcher.error->message,
                HasSubstr(source.name + " does not have model " + to_hex(model_.manifest->id())));
  }
}

TEST_F(StalledFetch, GoesOnWhileAnotherSourceMayComeUp) {
  const auto& source = swarm_.add_seed(other_);
  auto& late = swarm_.add(model_);
  late.gone = true;
  const auto& fetcher = fetch_from({source.name, late.name});
  swarm_.run([&] { return fetcher.ended || swarm_.now() > seconds(30); });
  ASSERT_FALSE(fetcher.ended);
  late.gone = false;
  swarm_.give(late);
  swarm_.run([&] { return fetcher.ended; });
  EXPECT_TRUE(fetcher.ended && !fetcher.error);
}

TEST_F(StalledFetch, TellsMeanwhileWhatThePeersLack) {
  const auto& source = swarm_.add_seed(other_);
  const auto& fetcher = fetch_from({source.name});
  swarm_.run_for(seconds(2));
  EXPECT_THAT(fetcher.core->status(fetcher.key).lacking,
              HasSubstr(source.name + " does not have model"));
}

TEST_F(StalledFetch, NamesThePeerWhoseFileChanged) {
  auto& seed = swarm_.add_seed(model_);
  const auto& fetcher = fetch_from({seed.name});
  swarm_.run([&] { return fetcher.got.size() > 3; });
  seed.core->pieces_lost(seed.key, PieceSet(model_.manifest->piece_count()));
  run_to_the_end(fetcher);
  EXPECT_EQ(fetcher.error->code, Errc::kStalled);
  EXPECT_THAT(fetcher.error->message,
              AllOf(HasSubstr("a file of " + seed.name + " changed or went"),
                    Not(HasSubstr("is connected but holds none")),
                    HasSubstr("run the same command again to resume")));
}

TEST_F(StalledFetch, PiecesThatAPeerHasAgainAreNotGone) {
  auto& seed = swarm_.add_seed(model_);
  const auto& fetcher = fetch_from({seed.name});
  swarm_.run([&] { return fetcher.got.size() > 3; });
  seed.core->pieces_lost(seed.key, PieceSet(model_.manifest->piece_count()));
  swarm_.run_for(milliseconds(100));
  swarm_.kill(seed);
  auto& again = swarm_.add_seed(model_);
  fetcher.core->add_node({again.name}, swarm_.now());
  swarm_.run([&] { return fetcher.ended; });
  EXPECT_TRUE(fetcher.ended && !fetcher.error);
}

TEST_F(StalledFetch, NamesTheSourceThatWasStopped) {
  auto& seed = swarm_.add_seed(model_);
  const auto& fetcher = fetch_from({seed.name});
  swarm_.run([&] { return fetcher.got.size() > 3; });
  seed.core->close_all(CloseReason::kShutdown);
  swarm_.run_for(milliseconds(50));
  swarm_.kill(seed);
  run_to_the_end(fetcher);
  EXPECT_THAT(fetcher.error->message,
              AllOf(HasSubstr(seed.name + " was lost "), HasSubstr("its node was stopped"),
                    HasSubstr("run the same command again to resume")));
}

TEST_F(StalledFetch, ThatAwaitsItsSourceTellsForHowLong) {
  const auto& fetcher = fetch_from({"10.0.0.1:1"}, minutes(5));
  for (Time at = seconds(5); at < minutes(4); at += seconds(7)) {
    swarm_.run([&] { return swarm_.now() > at; });
    const ModelStatus status = fetcher.core->status(fetcher.key);
    EXPECT_EQ(status.waits_until, Time(minutes(5)));
    EXPECT_EQ(status.gives_up_at, Time(minutes(5)));
    EXPECT_EQ(status.last_progress, Time(0));
    EXPECT_THAT(status.unreachable, HasSubstr("nobody at 10.0.0.1:1"));
  }
  swarm_.add_seed(other_);
  swarm_.run([&] { return fetcher.core->status(fetcher.key).lacking != ""; }, minutes(1));
  EXPECT_FALSE(fetcher.core->status(fetcher.key).waits_until);
}

TEST(StallWatch, EndsWithStalledWhenNobodyHasTheRest) {
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

TEST(StallWatch, SaysWhenNoPeerHasTheModel) {
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

TEST(StallWatch, SaysWhenNoPeerIsReachable) {
  const MemoryModel model = make_memory_model(2, 2, 1000, 7);
  VirtualSwarm swarm;
  auto& fetcher = swarm.add_fetcher(model, {}, {"nobody:1"}, std::chrono::seconds(3));
  swarm.run([&] { return fetcher.ended; });
  ASSERT_TRUE(fetcher.error);
  EXPECT_EQ(fetcher.error->code, Errc::kUnreachable);
  EXPECT_THAT(fetcher.error->message, HasSubstr("nobody at nobody:1"));
}

TEST(StallWatch, WaitsForASourceThatIsNotUpYet) {
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
TEST(StallWatch, ARefusalByOneAddressOfANodeEndsAFetchUnlessItWaits) {
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

TEST(StallWatch, GivesUpWhenTheWaitIsOver) {
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
TEST(StallWatch, TheWaitIsForASourceAndNotForItsModel) {
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

// --- newcomers that find all places of a seed taken ---

constexpr Duration kStall = seconds(60);
constexpr const char* kSeed = "10.0.0.1:1";

// A fetch that knows one seed, and is told by it of a node that cannot be reached.
class FullSeed : public testing::Test {
 protected:
  FullSeed() {
    key_ = core_
               .add_fetch({.id = model_.manifest->id(),
                           .selection = {},
                           .stall_timeout = kStall,
                           .kept = nullptr},
                          now_)
               .value();
    core_.add_node({kSeed}, now_);
  }
  // `answers`: the seed says that it is full; else nobody is there.
  void run_until(Time end, bool answers) {
    for (; now_ < end && !ended_; now_ += milliseconds(100)) {
      core_.settle(now_);
      for (const Action& action : core_.take_actions()) {
        if (const auto* dial = std::get_if<action::Dial>(&action)) {
          dials_.push_back(dial->address);
        } else if (const auto* end_of_fetch = std::get_if<action::FetchEnded>(&action)) {
          ended_ = now_;
          error_ = end_of_fetch->error;
        }
      }
      for (const std::string& address : std::exchange(dials_, {})) {
        if (answers && address == kSeed) {
          visit();
        } else {
          core_.dial_failed(address, {Errc::kUnreachable, "nobody there"}, now_);
        }
      }
    }
  }
  void visit() {
    ++visits_;
    const ConnectionId id(next_++);
    RawPeer seed(core_, id, kSeed, true, now_);
    seed.run(now_);
    const Channel channel = seed.session.open(model_.manifest->id());
    seed.run(now_);
    seed.session.peers(channel, {{{.id = sha256({}), .address = "10.0.0.2:1"}}});
    seed.session.close(CloseReason::kOverload, "others need the connection more");
    seed.run(now_);
    core_.remove_connection(id, std::nullopt, now_);
  }

  const MemoryModel model_ = make_memory_model(2, 2, 1000, 1);
  BufferPool buffers_{limits::kBuffersLarge, limits::kBuffersSmall};
  Core core_{[] {
               CoreOptions options;
               options.hello.agent = "test";
               return options;
             }(),
             buffers_};
  ModelKey key_;
  Time now_ = seconds(1000);
  std::uint32_t next_ = 1;
  int visits_ = 0;
  std::vector<std::string> dials_;
  std::optional<Time> ended_;
  std::optional<Error> error_;
};

TEST_F(FullSeed, IsTriedForTenStallTimeoutsAndSaysSoInTheEnd) {
  run_until(now_ + 9 * kStall, true);
  EXPECT_FALSE(ended_);
  EXPECT_GE(visits_, 8);
  core_.settle(now_);
  const auto due = core_.next_deadline();
  ASSERT_TRUE(due);
  EXPECT_GT(*due, now_);
  run_until(now_ + 3 * kStall, true);
  ASSERT_TRUE(ended_);
  ASSERT_TRUE(error_);
  EXPECT_EQ(error_->code, Errc::kUnreachable);
  EXPECT_THAT(error_->message,
              AllOf(HasSubstr("no peer had room"), HasSubstr(kSeed), HasSubstr("600 s")));
}

TEST_F(FullSeed, ThatAnswersNoMoreIsNotWaitedFor) {
  run_until(now_ + 3 * kStall, true);
  EXPECT_FALSE(ended_);
  const Time gone = now_;
  run_until(now_ + 9 * kStall, false);
  ASSERT_TRUE(ended_);
  EXPECT_LE(*ended_ - gone, 3 * kStall);
  EXPECT_THAT(error_->message, HasSubstr("nobody there"));
}

}  // namespace
}  // namespace shardswarm::test
