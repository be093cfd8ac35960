// Turns: what several connections received is told to the core one after the other.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "tests/swarm/raw_peer.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {
namespace {

using std::chrono::seconds;

constexpr ConnectionId kOld{1};
constexpr ConnectionId kNew{2};
constexpr Time kNow = seconds(1000);

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
TEST(CoreTurn, BytesOfAConnectionThatAnotherOneClosedMeanwhileAreIgnored) {
  BufferPool buffers(4, 4);
  CoreOptions options;  // its node id is zero: of two connections the one that it dialed stands
  options.hello.agent = "test";
  Core core(std::move(options), buffers);
  RawPeer old(core, kOld, "10.0.0.1:1", false, kNow);
  old.run(kNow);
  ASSERT_NE(old.heard<event::Ready>(), nullptr);
  old.session.ping(7);

  RawPeer same(core, kNew, "10.0.0.1:1", true, kNow);
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
    core.received(kNew, n_new, kNow);
    heard += n_new;
    if (heard < hello.size()) continue;
    ASSERT_TRUE(core.closing(kOld));
    ASSERT_FALSE(core.closing(kNew));
    ASSERT_GT(n_old, 0U);
    const std::uint64_t before = core.control_bytes();
    core.received(kOld, n_old, kNow);
    EXPECT_EQ(core.control_bytes(), before);
    told = true;
  }
  ASSERT_TRUE(told);
  core.settle(kNow);
  EXPECT_TRUE(core.receive_spans(kOld)[0].empty());
  EXPECT_FALSE(core.closing(kNew));
  old.run(kNow);
  const auto* close = old.heard<event::Closed>();
  ASSERT_NE(close, nullptr);
  EXPECT_EQ(close->reason, CloseReason::kDuplicate);
  EXPECT_EQ(old.heard<event::Pong>(), nullptr);
}

}  // namespace
}  // namespace shardswarm::test
