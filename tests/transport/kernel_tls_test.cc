// TLS whose records the kernel makes. Where this kernel cannot, tests/e2e/test_kernel_tls.py starts
// one that can and runs them there.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdlib>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/limits.h"
#include "bench/micro/loopback.h"
#include "identity/openssl.h"
#include "tests/support/temp_dir.h"
#include "transport/transport.h"

namespace shardswarm {
namespace {

bool wait_for(int fd, Wait wait) {
  pollfd poll{.fd = fd,
              .events = static_cast<short>(wait == Wait::kReadable ? POLLIN : POLLOUT),
              .revents = 0};
  const bool came = ::poll(&poll, 1, 30'000) == 1;
  EXPECT_TRUE(came) << "nothing in 30 s";
  return came;
}

void shake_hands(Transport& transport, int fd) {
  while (true) {
    const auto wait = transport.handshake();
    ASSERT_TRUE(wait) << wait.error().message;
    if (*wait == Wait::kNone || !wait_for(fd, *wait)) return;
  }
}

void shake_hands(Transport& one, int fd, Transport& other, int other_fd) {
  std::thread thread([&] { shake_hands(other, other_fd); });
  shake_hands(one, fd);
  thread.join();
}

void exchange(Transport& from, Transport& to, int to_fd, std::byte with) {
  const std::vector<std::byte> said(13, with);
  std::vector<std::byte> heard(said.size());
  const std::span<std::byte> into[] = {heard};
  ASSERT_EQ(from.write(said, false).value().bytes, said.size());
  ASSERT_TRUE(wait_for(to_fd, Wait::kReadable));
  ASSERT_EQ(to.read(into).value().bytes, heard.size());
  ASSERT_EQ(heard, said);
}

class KernelTls : public testing::TestWithParam<bool> {  // whether the dialer sends
 protected:
  void SetUp() override {
    if (!kernel_has_tls())
      GTEST_SKIP() << "this kernel has no TLS: test_kernel_tls runs it on one that has";
    identity_ = Identity::of_cluster(ClusterKey::make().value()).value();
    auto pair = loopback_pair();
    ASSERT_TRUE(pair);
    from_ = std::move(pair->dialed);
    to_ = std::move(pair->accepted);
    sender_ = make_tls_transport(from_.get(), GetParam(), *identity_, true);
    receiver_ = make_tls_transport(to_.get(), !GetParam(), *identity_, false);
    (void)std::signal(SIGPIPE, SIG_IGN);
  }
  void shake_hands_of_both() {
    shake_hands(*sender_, from_.get(), *receiver_, to_.get());
    ASSERT_TRUE(sender_->can_send_file());
    ASSERT_FALSE(receiver_->can_send_file());
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
        if (!wait_for(to_.get(), moved->wait)) return all;
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
      const bool waits = moved->wait != Wait::kNone;
      ASSERT_TRUE(!waits || wait_for(from_.get(), moved->wait));
    }
  }
  void say_end() {
    for (auto wait = sender_->shutdown(); wait != Wait::kNone; wait = sender_->shutdown()) {
      ASSERT_TRUE(wait_for(from_.get(), wait));
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
  shake_hands_of_both();
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
  for (std::size_t at = 0; at < content.size() && !HasFailure();) {
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
  say_end();  // close_notify: else the reader would say that the connection was lost
  reading.join();
  EXPECT_EQ(got.size(), expected.size());
  EXPECT_TRUE(got == expected);
}

// A record ends where nothing more was promised: who waits for an answer must not wait forever.
TEST_P(KernelTls, SmallThingsAreSentAtOnceBothWays) {
  shake_hands_of_both();
  for (int round = 0; round < 50; ++round) {
    exchange(*sender_, *receiver_, to_.get(), static_cast<std::byte>(round));
    exchange(*receiver_, *sender_, from_.get(), static_cast<std::byte>(round + 1));
  }
}

// What the kernel took and TCP has no room for is not lost by saying that it was all.
TEST_P(KernelTls, TheEndComesAfterAllThatWasTaken) {
  shake_hands_of_both();
  constexpr int kUnsentMost = 16 * 1024;
  ASSERT_EQ(
      ::setsockopt(from_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kUnsentMost, sizeof kUnsentMost),
      0);
  const std::vector<std::byte> part(50'000, std::byte{9});
  std::size_t taken = 0;
  while (true) {  // nobody reads yet
    const auto moved = sender_->write(part, false);
    ASSERT_TRUE(moved) << moved.error().message;
    if (moved->bytes == 0) break;
    taken += moved->bytes;
  }
  std::vector<std::byte> got;
  std::thread reading([&] { got = receive(); });
  say_end();
  reading.join();
  EXPECT_EQ(got.size(), taken);
}

// Neither says FIN: each learns of the other's end from what it reads, though it has said its own.
TEST_P(KernelTls, BothSayTheEndAtTheSameTime) {
  receiver_ = make_tls_transport(to_.get(), !GetParam(), *identity_, true);
  shake_hands(*sender_, from_.get(), *receiver_, to_.get());
  ASSERT_TRUE(sender_->can_send_file());
  ASSERT_TRUE(receiver_->can_send_file());
  EXPECT_EQ(sender_->shutdown(), Wait::kNone);
  EXPECT_EQ(receiver_->shutdown(), Wait::kNone);
  std::vector<std::byte> rest(1);
  const std::span<std::byte> into[] = {rest};
  for (auto& [transport, fd] :
       {std::pair{sender_.get(), from_.get()}, std::pair{receiver_.get(), to_.get()}}) {
    ASSERT_TRUE(wait_for(fd, Wait::kReadable));
    const auto end = transport->read(into);
    ASSERT_TRUE(end) << end.error().message;
    EXPECT_EQ(end->bytes, 0U);
    EXPECT_EQ(end->wait, Wait::kNone);
  }
}

// OpenSSL would take a new key for itself, and the kernel go on with the old one.
TEST_P(KernelTls, ARequestForANewKeyEndsTheConnection) {
  const SslPtr peer(
      ::SSL_new(GetParam() ? identity_->server_context() : identity_->client_context()));
  ::SSL_set_fd(peer.get(), to_.get());
  std::thread other([&] {
    int done = 0;
    do {
      done = GetParam() ? ::SSL_accept(peer.get()) : ::SSL_connect(peer.get());
    } while (done != 1 &&
             wait_for(to_.get(), SSL_want_write(peer.get()) ? Wait::kWritable : Wait::kReadable));
  });
  shake_hands(*sender_, from_.get());
  other.join();
  ASSERT_TRUE(sender_->can_send_file());
  ASSERT_EQ(::SSL_key_update(peer.get(), SSL_KEY_UPDATE_REQUESTED), 1);
  std::size_t said = 0;
  ASSERT_EQ(::SSL_write_ex(peer.get(), "x", 1, &said), 1);
  std::vector<std::byte> heard(1);
  const std::span<std::byte> into[] = {heard};
  auto moved = sender_->read(into);
  for (; moved; moved = sender_->read(into)) {
    const bool waits = moved->wait != Wait::kNone;
    ASSERT_TRUE(!waits || wait_for(from_.get(), moved->wait));
  }
  EXPECT_THAT(moved.error().message, testing::HasSubstr("new key"));
}

TEST_P(KernelTls, AFileThatEndsBeforeIsAnError) {
  shake_hands_of_both();
  test::write_file(dir_ / "short", std::vector<std::byte>(1000));
  const Fd file(::open((dir_ / "short").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(sender_->write_file(file.get(), 0, 5000).value().bytes, 1000U);
  EXPECT_FALSE(sender_->write_file(file.get(), 1000, 4000));
}

INSTANTIATE_TEST_SUITE_P(AcceptingAndDialing, KernelTls, testing::Bool());

// Neither asking a kernel that has no TLS matters, nor one that has, and refuses the key.
TEST(KernelTlsAsked, TheProcessEncryptsWhereTheKernelDoesNot) {
  if (kernel_has_tls() && std::getenv("KERNEL_REFUSES_KEYS") == nullptr) {
    GTEST_SKIP() << "this kernel has TLS";
  }
  const Identity identity = Identity::of_cluster(ClusterKey::make().value()).value();
  const auto pair = loopback_pair();
  ASSERT_TRUE(pair);
  const int one = pair->dialed.get();
  const int other = pair->accepted.get();
  const auto dialing = make_tls_transport(one, true, identity, true);
  const auto accepting = make_tls_transport(other, false, identity, true);
  shake_hands(*dialing, one, *accepting, other);
  EXPECT_FALSE(dialing->can_send_file());
  EXPECT_FALSE(accepting->can_send_file());
  exchange(*dialing, *accepting, other, std::byte{1});
  exchange(*accepting, *dialing, one, std::byte{2});
  EXPECT_EQ(dialing->shutdown(), Wait::kNone);
  ASSERT_TRUE(wait_for(other, Wait::kReadable));
  std::vector<std::byte> rest(1);
  const std::span<std::byte> into[] = {rest};
  const auto end = accepting->read(into);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end->bytes, 0U);
  EXPECT_EQ(end->wait, Wait::kNone);
}

}  // namespace
}  // namespace shardswarm
