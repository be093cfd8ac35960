// When fetches end that get on no more, and what they say of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  fetcher.core->add_address(again.name, swarm_.now());
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

}  // namespace
}  // namespace shardswarm::test
