// The public API over real sockets: several nodes in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <csignal>
#include <mutex>
#include <set>

#include "node/shardswarm.h"
#include "tests/support/temp_dir.h"
#include "tools/synthetic.h"

namespace shardswarm {
namespace {

using test::read_file;
using test::TempDir;
using testing::HasSubstr;

class NodeTest : public testing::Test {
 protected:
  void SetUp() override {
    TransformerShape shape;
    shape.layers = 4;
    shape.files = 2;
    const SyntheticModel model = llama_model(shape);
    ASSERT_TRUE(write_checkpoint(model, source(), 1));
    ASSERT_TRUE(make_cluster_key(dir_ / "cluster.key"));
  }

  std::filesystem::path source() const { return dir_ / "source"; }

  NodeOptions options(const std::string& name, bool secure) {
    NodeOptions options;
    options.state_directory = dir_ / ("state-" + name);
    options.listen = "127.0.0.1:0";
    if (secure) {
      options.key = dir_ / "cluster.key";
    } else {
      options.insecure = true;
    }
    return options;
  }

  void expect_same(const std::filesystem::path& original, const std::filesystem::path& copy) {
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(original)) {
      if (!entry.is_regular_file()) continue;
      ++files;
      const auto relative = std::filesystem::relative(entry.path(), original);
      EXPECT_EQ(read_file(entry.path()), read_file(copy / relative)) << relative;
    }
    EXPECT_GE(files, 4U);
  }

  TempDir dir_;
};

class NodeTransportTest : public NodeTest, public testing::WithParamInterface<bool> {};

TEST_P(NodeTransportTest, SeedsAndFetchesAWholeModel) {
  auto seeder = Node::start(options("seed", GetParam()));
  ASSERT_TRUE(seeder) << seeder.error().message;
  auto seed = (*seeder)->seed({.directory = source()});
  ASSERT_TRUE(seed) << seed.error().message;
  auto fetcher = Node::start(options("fetch", GetParam()));
  ASSERT_TRUE(fetcher) << fetcher.error().message;
  std::atomic<std::uint64_t> last_present{0};
  std::atomic<bool> went_back{false};
  auto fetch = (*fetcher)->fetch(
      (*seed)->ticket(), {.directory = dir_ / "copy", .on_progress = [&](const FetchProgress& p) {
                            if (p.present_bytes < last_present) went_back = true;
                            last_present = p.present_bytes;
                          }});
  const auto report = fetch->wait();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_FALSE(went_back);
  EXPECT_EQ(report->fetched_bytes - report->duplicate_bytes, report->wanted_bytes);
  ASSERT_EQ(report->peers.size(), 1U);
  EXPECT_EQ(report->peers[0].id, (*seeder)->id());
  EXPECT_EQ(report->peers[0].fetched_bytes, report->fetched_bytes);
  expect_same(source(), dir_ / "copy");
  EXPECT_EQ((*seed)->sent_bytes(), report->fetched_bytes);
}

TEST_P(NodeTransportTest, AFetcherServesOthersWhatItHas) {
  auto seeder = Node::start(options("seed", GetParam()));
  ASSERT_TRUE(seeder);
  auto seed = (*seeder)->seed({.directory = source()});
  ASSERT_TRUE(seed);
  auto first = Node::start(options("first", GetParam()));
  ASSERT_TRUE(first);
  const auto one = (*first)->fetch((*seed)->ticket(), {.directory = dir_ / "one"});
  ASSERT_TRUE(one->wait());
  seeder->reset();
  auto second = Node::start(options("second", GetParam()));
  ASSERT_TRUE(second);
  const Ticket ticket{.id = (*seed)->ticket().id, .peers = (*first)->addresses()};
  const auto two = (*second)->fetch(ticket, {.directory = dir_ / "two"});
  const auto report = two->wait();
  ASSERT_TRUE(report) << report.error().message;
  expect_same(source(), dir_ / "two");
}

// One sends to two at once, then three to one: in both, two connections have much to move.
TEST_P(NodeTransportTest, SeveralThreadsMoveWhatSeveralConnectionsCarry) {
  TransformerShape shape;
  shape.layers = 3;
  shape.hidden = 1024;
  shape.intermediate = 2816;
  const std::filesystem::path large = dir_ / "large";
  ASSERT_TRUE(write_checkpoint(llama_model(shape), large, 2));
  std::mutex mutex;
  std::set<std::string> with_helpers;
  const auto start = [&](const std::string& name) {
    NodeOptions several = options(name, GetParam());
    several.network_threads = 4;
    several.log = [&, name](LogLevel, std::string_view text) {
      if (!text.ends_with("threads move bytes")) return;
      const std::scoped_lock lock(mutex);
      with_helpers.insert(name);
    };
    return Node::start(several);
  };
  auto one = start("one");
  ASSERT_TRUE(one) << one.error().message;
  auto two = start("two");
  auto three = start("three");
  ASSERT_TRUE(two && three);
  const auto seed = (*one)->seed({.directory = large});
  ASSERT_TRUE(seed) << seed.error().message;
  const Ticket ticket = (*seed)->ticket();
  const auto fetch = [&](Node& node, const char* to, std::vector<std::string> peers) {
    return node.fetch(ticket, {.directory = dir_ / to, .peers = std::move(peers)});
  };
  {
    const auto second = fetch(**two, "copy-two", {});
    const auto third = fetch(**three, "copy-three", {});
    ASSERT_TRUE(second->wait());
    ASSERT_TRUE(third->wait());
  }
  auto peers = (*two)->addresses();
  for (const std::string& address : (*three)->addresses()) peers.push_back(address);
  auto four = start("four");
  ASSERT_TRUE(four);
  const auto report = fetch(**four, "copy-four", peers)->wait();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->peers.size(), 3U);
  EXPECT_GT(report->network_threads, 1U);
  EXPECT_LE(report->network_threads, 4U);
  for (const char* copy : {"copy-two", "copy-three", "copy-four"}) {
    expect_same(large, dir_ / copy);
  }
  const std::scoped_lock lock(mutex);
  EXPECT_THAT(with_helpers, testing::IsSupersetOf({"one", "four"}));
}

INSTANTIATE_TEST_SUITE_P(PlainAndTls, NodeTransportTest, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "Tls" : "Plain"; });

TEST_F(NodeTest, FetchesTwiceTheSecondTimeWithoutTheNetwork) {
  auto seeder = Node::start(options("seed", false));
  auto seed = (*seeder)->seed({.directory = source()});
  ASSERT_TRUE(seed);
  auto fetcher = Node::start(options("fetch", false));
  const FetchOptions wanted{.directory = dir_ / "copy"};
  ASSERT_TRUE((*fetcher)->fetch((*seed)->ticket(), wanted)->wait());
  const auto again = (*fetcher)->fetch((*seed)->ticket(), wanted)->wait();
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->fetched_bytes, 0U);
  EXPECT_EQ(again->reused_bytes, again->wanted_bytes);
}

TEST_F(NodeTest, PlansWithoutWriting) {
  auto seeder = Node::start(options("seed", false));
  auto seed = (*seeder)->seed({.directory = source()});
  ASSERT_TRUE(seed);
  auto fetcher = Node::start(options("fetch", false));
  const auto plan = (*fetcher)->plan(
      (*seed)->ticket(), {.directory = dir_ / "copy", .selection = {.layers = {{1, 2}}}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_GT(plan->wanted_bytes, 0U);
  EXPECT_THAT(plan->files, testing::Contains("config.json"));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "copy"));
}

TEST_F(NodeTest, AnotherClustersKeyIsRefused) {
  auto seeder = Node::start(options("seed", true));
  auto seed = (*seeder)->seed({.directory = source()});
  ASSERT_TRUE(seed);
  ASSERT_TRUE(make_cluster_key(dir_ / "other.key"));
  NodeOptions other = options("fetch", true);
  other.key = dir_ / "other.key";
  auto fetcher = Node::start(other);
  ASSERT_TRUE(fetcher);
  const auto report = (*fetcher)->fetch((*seed)->ticket(), {.directory = dir_ / "copy"})->wait();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kRefused) << report.error().message;
  EXPECT_THAT(report.error().message, HasSubstr("it has another cluster key"));
}

TEST_F(NodeTest, APeerMayBeAWholeTicketOfTheModelAndOfNoOther) {
  auto seeder = Node::start(options("seed", false));
  auto seed = (*seeder)->seed({.directory = source()});
  ASSERT_TRUE(seed);
  const Ticket& ticket = (*seed)->ticket();
  const Ticket bare{.id = ticket.id, .peers = {}};
  const Ticket other{.id = sha256({}), .peers = ticket.peers};
  auto fetcher = Node::start(options("fetch", false));
  const auto refused =
      (*fetcher)->fetch(bare, {.directory = dir_ / "copy", .peers = {other.to_string()}})->wait();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kUsage);
  const auto fetched =
      (*fetcher)->fetch(bare, {.directory = dir_ / "copy", .peers = {ticket.to_string()}})->wait();
  ASSERT_TRUE(fetched) << fetched.error().message;
}

// One of two nodes has a key: both say which, and at once, not after the stall timeout of an hour.
TEST_P(NodeTransportTest, AKeyOnOneSideOnlyIsSaidOnBoth) {
  const bool seed_has_key = GetParam();
  std::mutex mutex;
  std::vector<std::string> seed_said;
  NodeOptions seed_options = options("seed", seed_has_key);
  seed_options.log = [&](LogLevel level, std::string_view text) {
    const std::scoped_lock lock(mutex);
    if (level == LogLevel::kWarning) seed_said.emplace_back(text);
  };
  auto seeder = Node::start(seed_options);
  auto seed = (*seeder)->seed({.directory = source()});
  ASSERT_TRUE(seed);
  auto fetcher = Node::start(options("fetch", !seed_has_key));
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto report = (*fetcher)
                            ->fetch((*seed)->ticket(), {.directory = dir_ / "copy",
                                                        .stall_timeout = std::chrono::hours(1)})
                            ->wait();
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, Errc::kRefused);
    EXPECT_THAT(report.error().message, HasSubstr((*seeder)->addresses().front()));
    EXPECT_THAT(report.error().message,
                HasSubstr(seed_has_key ? "it has a cluster key and this node has none"
                                       : "it has no cluster key and this node has one"));
    EXPECT_THAT(report.error().message, HasSubstr("key import"));
  }
  fetcher->reset();
  seeder->reset();
  const std::scoped_lock lock(mutex);
  // The seed without a key also warns that it is insecure.
  const auto refusals = std::ranges::count_if(
      seed_said, [](const std::string& text) { return text.starts_with("refused 127.0.0.1:"); });
  EXPECT_EQ(refusals, 1) << testing::PrintToString(seed_said);
  EXPECT_THAT(
      seed_said,
      testing::Contains(HasSubstr(
          seed_has_key ? "it has no cluster key and this node has one"
                       : "it speaks TLS, as a node with a cluster key does, and this node")));
}

// A program that embeds a node need not have heard of SIGPIPE: sendfile raises it when a peer goes,
// for the thread that called it. Helpers are started from this one.
TEST_F(NodeTest, TheNetworkThreadBlocksSigpipe) {
  auto seeder = Node::start(options("seed", false));
  auto seed = (*seeder)->seed({.directory = source()});
  ASSERT_TRUE(seed);
  auto fetcher = Node::start(options("fetch", false));
  std::atomic<bool> blocked{false};
  const auto on_the_network_thread = [&](const FetchProgress&) {
    sigset_t set;
    blocked = ::pthread_sigmask(SIG_SETMASK, nullptr, &set) == 0 && ::sigismember(&set, SIGPIPE);
  };
  const auto fetch = (*fetcher)->fetch(
      (*seed)->ticket(), {.directory = dir_ / "copy", .on_progress = on_the_network_thread});
  ASSERT_TRUE(fetch->wait());
  EXPECT_TRUE(blocked);
}

TEST_F(NodeTest, ThousandsOfNetworkThreadsAreRefused) {
  NodeOptions many = options("many", false);
  many.network_threads = 5000;
  const auto node = Node::start(many);
  ASSERT_FALSE(node);
  EXPECT_EQ(node.error().code, Errc::kUsage);
}

TEST_F(NodeTest, CancelEndsAFetchResumable) {
  auto fetcher = Node::start(options("fetch", false));
  ASSERT_TRUE(fetcher);
  const Ticket nobody{.id = sha256({}), .peers = {"127.0.0.1:1"}};
  const auto fetch = (*fetcher)->fetch(nobody, {.directory = dir_ / "copy"});
  fetch->cancel();
  const auto report = fetch->wait();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kCancelled);
}

TEST_F(NodeTest, DestroyingTheNodeEndsItsFetches) {
  auto fetcher = Node::start(options("fetch", false));
  ASSERT_TRUE(fetcher);
  const Ticket nobody{.id = sha256({}), .peers = {"127.0.0.1:1"}};
  const auto fetch = (*fetcher)->fetch(nobody, {.directory = dir_ / "copy"});
  fetcher->reset();
  const auto report = fetch->wait();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kCancelled);
}

TEST_F(NodeTest, WithoutAKeyItStaysOnLoopback) {
  NodeOptions open = options("open", false);
  open.insecure = false;
  open.key.clear();
  ASSERT_EQ(::unsetenv("SHARDSWARM_KEY"), 0);
  ASSERT_EQ(::setenv("XDG_CONFIG_HOME", (dir_ / "nothing").c_str(), 1), 0);
  open.listen = "0.0.0.0:0";
  const auto node = Node::start(open);
  ASSERT_FALSE(node);
  EXPECT_EQ(node.error().code, Errc::kRefused);
  EXPECT_THAT(node.error().message, HasSubstr("key"));
  open.listen = "127.0.0.1:0";
  EXPECT_TRUE(Node::start(open));
}

TEST_F(NodeTest, TheSameModelTwiceAtATimeIsBusy) {
  auto seeder = Node::start(options("seed", false));
  auto seed = (*seeder)->seed({.directory = source()});
  ASSERT_TRUE(seed);
  const auto report = (*seeder)->fetch((*seed)->ticket(), {.directory = dir_ / "copy"})->wait();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kBusy);
}

}  // namespace
}  // namespace shardswarm
