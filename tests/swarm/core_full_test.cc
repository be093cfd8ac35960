// Newcomers that find all places of a seed taken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>

#include "tests/swarm/raw_peer.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

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
    core_.add_address(kSeed, now_);
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
