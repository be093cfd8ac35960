// TLS whose records the kernel makes. Where this kernel cannot, tests/e2e/test_kernel_tls.py starts
// one that can and runs them there.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "node/shardswarm.h"
#include "node/transport.h"
#include "piece/limits.h"
#include "storage/file.h"
#include "tests/support/temp_dir.h"

namespace shardswarm {
namespace {

// Two ends of a TCP connection over loopback, non-blocking.
void connected_pair(Fd& one, Fd& other) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(listener.get(), plain, size), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_EQ(::getsockname(listener.get(), plain, &size), 0);
  one = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(one.get(), plain, size), 0);
  other = Fd(::accept(listener.get(), nullptr, nullptr));
  for (const Fd* fd : {&one, &other}) ASSERT_EQ(::fcntl(fd->get(), F_SETFL, O_NONBLOCK), 0);
}

void wait_for(int fd, Wait wait) {
  pollfd poll{.fd = fd,
              .events = static_cast<short>(wait == Wait::kReadable ? POLLIN : POLLOUT),
              .revents = 0};
  ASSERT_EQ(::poll(&poll, 1, 10'000), 1);
}

void shake_hands(Transport& transport, int fd) {
  for (auto wait = transport.handshake(); wait && *wait != Wait::kNone;) {
    wait_for(fd, *wait);
    wait = transport.handshake();
  }
}

class KernelTls : public testing::TestWithParam<bool> {  // whether the dialer sends
 protected:
  void SetUp() override {
    if (!kernel_has_tls())
      GTEST_SKIP() << "this kernel has no TLS: test_kernel_tls runs it on one that has";
    ASSERT_TRUE(make_cluster_key(dir_ / "key"));
    identity_ = Identity::from_cluster_key(dir_ / "key").value();
    connected_pair(from_, to_);
    sender_ = make_tls_transport(from_.get(), GetParam(), *identity_, true);
    receiver_ = make_tls_transport(to_.get(), !GetParam(), *identity_, false);
    std::thread other([&] { shake_hands(*receiver_, to_.get()); });
    shake_hands(*sender_, from_.get());
    other.join();
  }

  // All that comes until the other side closes in order.
  std::vector<std::byte> receive() {
    std::vector<std::byte> all;
    std::vector<std::byte> part(100'000);
    while (true) {
      const std::span<std::byte> into[] = {part};
      const auto moved = receiver_->read(into);
      if (!moved) {
        ADD_FAILURE() << moved.error().message;
        return all;
      }
      if (moved->wait != Wait::kNone) {
        wait_for(to_.get(), moved->wait);
      } else if (moved->bytes == 0) {
        return all;
      }
      all.insert(all.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(moved->bytes));
    }
  }
  template <class Move>
  void send(std::size_t length, Move&& move) {
    for (std::size_t at = 0; at < length;) {
      const Result<Moved> moved = move(at);
      ASSERT_TRUE(moved) << moved.error().message;
      at += moved->bytes;
      if (moved->wait != Wait::kNone) wait_for(from_.get(), moved->wait);
    }
  }

  test::TempDir dir_;
  std::optional<Identity> identity_;
  Fd from_;
  Fd to_;
  std::unique_ptr<Transport> sender_;
  std::unique_ptr<Transport> receiver_;
};

// As a node does: small things from memory that say whether more comes, parts of files after them,
// and a reader that is slower.
TEST_P(KernelTls, BytesAndFilesArriveInOrder) {
  ASSERT_TRUE(sender_->can_send_file());
  EXPECT_FALSE(receiver_->can_send_file());
  EXPECT_TRUE(sender_->peer_id());
  EXPECT_EQ(sender_->peer_id(), receiver_->peer_id());  // one key pair, here
  std::mt19937_64 random(1);
  std::vector<std::byte> content(5 * limits::kMiB + 4321);
  for (std::byte& byte : content) byte = static_cast<std::byte>(random());
  test::write_file(dir_ / "file", content);
  const Fd file(::open((dir_ / "file").c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<std::byte> expected;
  std::vector<std::byte> got;
  std::thread reading([&] { got = receive(); });
  for (std::size_t at = 0; at < content.size();) {
    const std::size_t header = 1 + random() % 40;
    const std::size_t body = std::min<std::size_t>(1 + random() % 700'000, content.size() - at);
    const std::span<const std::byte> small(content.data(), header);
    send(header, [&](std::size_t done) { return sender_->write(small.subspan(done), true); });
    send(body, [&](std::size_t done) {
      return sender_->write_file(file.get(), at + done, static_cast<std::uint32_t>(body - done));
    });
    expected.insert(expected.end(), small.begin(), small.end());
    expected.insert(expected.end(), content.begin() + static_cast<std::ptrdiff_t>(at),
                    content.begin() + static_cast<std::ptrdiff_t>(at + body));
    at += body;
  }
  const std::string_view end = "the end";
  const auto last = std::as_bytes(std::span(end));
  send(last.size(), [&](std::size_t done) { return sender_->write(last.subspan(done), false); });
  expected.insert(expected.end(), last.begin(), last.end());
  sender_->shutdown();  // close_notify: else the reader would say that the connection was lost
  reading.join();
  EXPECT_EQ(got.size(), expected.size());
  EXPECT_TRUE(got == expected);
}

// A record ends where nothing more was promised: who waits for an answer must not wait forever.
TEST_P(KernelTls, SmallThingsAreSentAtOnceBothWays) {
  std::vector<std::byte> question(13, std::byte{7});
  std::vector<std::byte> got(question.size());
  const std::span<std::byte> into[] = {got};
  for (int round = 0; round < 50; ++round) {
    for (auto& [from, to, fd] : {std::tuple{sender_.get(), receiver_.get(), to_.get()},
                                 std::tuple{receiver_.get(), sender_.get(), from_.get()}}) {
      question[0] = static_cast<std::byte>(round);
      ASSERT_EQ(from->write(question, false).value().bytes, question.size());
      wait_for(fd, Wait::kReadable);
      ASSERT_EQ(to->read(into).value().bytes, got.size());
      ASSERT_EQ(got, question);
    }
  }
}

TEST_P(KernelTls, AFileThatEndsBeforeIsAnError) {
  test::write_file(dir_ / "short", std::vector<std::byte>(1000));
  const Fd file(::open((dir_ / "short").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(sender_->write_file(file.get(), 0, 5000).value().bytes, 1000U);
  EXPECT_FALSE(sender_->write_file(file.get(), 1000, 4000));
}

INSTANTIATE_TEST_SUITE_P(AcceptingAndDialing, KernelTls, testing::Bool());

TEST(KernelTlsAsked, IsNoMatterWhereItIsNotThere) {
  if (kernel_has_tls()) GTEST_SKIP() << "this kernel has TLS";
  test::TempDir dir;
  ASSERT_TRUE(make_cluster_key(dir / "key"));
  const Identity identity = Identity::from_cluster_key(dir / "key").value();
  Fd one;
  Fd other;
  connected_pair(one, other);
  const auto dialing = make_tls_transport(one.get(), true, identity, true);
  const auto accepting = make_tls_transport(other.get(), false, identity, true);
  std::thread thread([&] { shake_hands(*accepting, other.get()); });
  shake_hands(*dialing, one.get());
  thread.join();
  EXPECT_TRUE(dialing->peer_id());
  EXPECT_FALSE(dialing->can_send_file());
}

}  // namespace
}  // namespace shardswarm
