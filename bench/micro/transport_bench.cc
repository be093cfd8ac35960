// One connection over loopback, its sender on another thread: plain TCP from memory and by
// sendfile, TLS 1.3, and TLS 1.3 by the kernel and sendfile. And four, to which one or several
// threads send.
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/limits.h"
#include "bench/micro/loopback.h"
#include "node/fork_join.h"
#include "transport/transport.h"

namespace shardswarm {
namespace {

enum Kind : std::int64_t { kPlain = 0, kSendFile = 1, kTls = 2, kKernelTls = 3 };

void wait_for(int fd, Wait wait) {
  pollfd poll{.fd = fd,
              .events = static_cast<short>(wait == Wait::kReadable ? POLLIN : POLLOUT),
              .revents = 0};
  (void)::poll(&poll, 1, -1);
}

bool shake_hands(Transport& transport, int fd) {
  while (true) {
    const auto wait = transport.handshake();
    if (!wait) return false;
    if (*wait == Wait::kNone) return true;
    wait_for(fd, *wait);
  }
}

// Sends a block again and again until the other side goes.
void send_all(Transport& transport, int fd, const std::vector<std::byte>& block, int file) {
  if (!shake_hands(transport, fd)) return;
  for (std::size_t at = 0;; at %= block.size()) {
    const std::size_t most = std::min<std::size_t>(block.size() - at, limits::kShortFrameBytes);
    const auto moved = file >= 0 ? transport.write_file(file, at, static_cast<std::uint32_t>(most))
                                 : transport.write(std::span(block).subspan(at, most), true);
    if (!moved) return;
    at += moved->bytes;
    if (moved->wait != Wait::kNone) wait_for(fd, moved->wait);
  }
}

std::optional<Identity> make_identity() {
  const auto key = ClusterKey::make();
  if (!key) return std::nullopt;
  auto identity = Identity::of_cluster(*key);
  if (!identity) return std::nullopt;
  return std::move(*identity);
}

// A piece is received into its own place per iteration.
void Loopback(benchmark::State& state) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // sendfile, once the receiver went
  auto pair = loopback_pair();
  const auto identity = make_identity();
  if (!pair || !identity) return state.SkipWithError("no connection or no key");
  const std::vector<std::byte> block(limits::kPieceBytesMax, std::byte{3});
  const Fd file(::memfd_create("shardswarm-micro", MFD_CLOEXEC));
  if (!write_exactly(file.get(), 0, block, "memory")) return state.SkipWithError("no file");
  const bool in_kernel = state.range(0) == kKernelTls;
  if (in_kernel && !kernel_has_tls()) return state.SkipWithError("this kernel has no TLS");
  const bool tls = state.range(0) == kTls || in_kernel;
  const bool sends_file = state.range(0) == kSendFile || in_kernel;
  const auto transport_of = [&](const Fd& fd, bool dialer) {
    return tls ? make_tls_transport(fd.get(), dialer, *identity, in_kernel)
               : make_plain_transport(fd.get());
  };
  const auto sending = transport_of(pair->dialed, true);
  auto receiving = transport_of(pair->accepted, false);
  std::thread sender(
      [&] { send_all(*sending, pair->dialed.get(), block, sends_file ? file.get() : -1); });
  const bool ready = shake_hands(*receiving, pair->accepted.get());
  std::vector<std::byte> piece(limits::kPieceBytesMax);
  bool failed = !ready;
  for (auto _ : state) {
    for (std::size_t at = 0; at < piece.size() && !failed;) {
      const std::span<std::byte> rest[] = {std::span(piece).subspan(at)};
      const auto moved = receiving->read(rest);
      failed = !moved || (moved->bytes == 0 && moved->wait == Wait::kNone);
      if (failed) break;
      at += moved->bytes;
      if (moved->wait != Wait::kNone) wait_for(pair->accepted.get(), moved->wait);
    }
  }
  if (failed) state.SkipWithError("the connection was lost");
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(piece.size()));
  // Both directions: a sender that waits for room is woken by it.
  (void)::shutdown(pair->accepted.get(), SHUT_RDWR);
  (void)::shutdown(pair->dialed.get(), SHUT_RDWR);
  sender.join();
}
BENCHMARK(Loopback)
    ->ArgName("0_plain_1_sendfile_2_tls_3_kernel_tls")
    ->DenseRange(0, 3)
    ->UseRealTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMicrosecond);

constexpr std::size_t kConnections = 4;

struct Sending {
  LoopbackPair pair;
  std::unique_ptr<Transport> transport;
  std::size_t at = 0;  // in the block
  std::size_t sent = 0;
  bool failed = false;
};

bool connect(Sending& sending, bool tls, const Identity& identity) {
  auto pair = loopback_pair();
  if (!pair) return false;
  sending.pair = std::move(*pair);
  const int fd = sending.pair.dialed.get();
  const int other = sending.pair.accepted.get();
  sending.transport =
      tls ? make_tls_transport(fd, true, identity, false) : make_plain_transport(fd);
  const auto receiver =
      tls ? make_tls_transport(other, false, identity, false) : make_plain_transport(other);
  bool there = false;
  std::thread accepting([&] { there = shake_hands(*receiver, other); });
  const bool here = shake_hands(*sending.transport, fd);
  accepting.join();
  return here && there;
}

// Throws away what arrives, without copying it, until all have closed.
void drain(const std::array<Sending, kConnections>& all) {
  std::array<pollfd, kConnections> polls{};
  for (std::size_t i = 0; i < polls.size(); ++i) {
    polls[i] = {.fd = all[i].pair.accepted.get(), .events = POLLIN, .revents = 0};
  }
  for (std::size_t open = polls.size(); open > 0;) {
    if (::poll(polls.data(), polls.size(), -1) < 0) return;
    for (pollfd& poll : polls) {
      if (poll.revents == 0) continue;
      const auto n = ::recv(poll.fd, nullptr, limits::kMiB, MSG_TRUNC);
      if (n > 0 || (n < 0 && errno == EAGAIN)) continue;
      poll.fd = -1;
      --open;
    }
  }
}

// Those that have room, at least one.
std::vector<Sending*> with_room(std::array<Sending, kConnections>& all) {
  std::array<pollfd, kConnections> polls{};
  for (std::size_t i = 0; i < polls.size(); ++i) {
    polls[i] = {.fd = all[i].pair.dialed.get(), .events = POLLOUT, .revents = 0};
  }
  (void)::poll(polls.data(), polls.size(), -1);
  std::vector<Sending*> ready;
  for (std::size_t i = 0; i < polls.size(); ++i) {
    if (polls[i].revents != 0) ready.push_back(&all[i]);
  }
  return ready;
}

// As a turn of a node: to each connection that has room as much as it takes, up to a piece.
void SendingToSeveral(benchmark::State& state) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  const auto identity = make_identity();
  if (!identity) return state.SkipWithError("no key");
  const std::vector<std::byte> block(limits::kPieceBytesMax, std::byte{3});
  const Fd file(::memfd_create("shardswarm-micro", MFD_CLOEXEC));
  if (!write_exactly(file.get(), 0, block, "memory")) return state.SkipWithError("no file");
  const bool tls = state.range(0) == kTls;
  std::array<Sending, kConnections> all;
  for (Sending& sending : all) {
    if (!connect(sending, tls, *identity)) return state.SkipWithError("no connection");
  }
  std::thread drainer([&] { drain(all); });
  const auto threads = static_cast<unsigned>(state.range(1));
  ForkJoin moving(threads);
  std::int64_t bytes = 0;
  bool failed = false;
  for (auto _ : state) {
    const auto ready = with_room(all);
    moving.run(ready.size(), threads, [&](std::size_t i) {
      Sending& to = *ready[i];
      const std::size_t most = block.size() - to.at;
      const auto moved =
          tls ? to.transport->write(std::span(block).subspan(to.at, most), true)
              : to.transport->write_file(file.get(), to.at, static_cast<std::uint32_t>(most));
      to.failed = !moved;
      to.sent = moved ? moved->bytes : 0;
      to.at = (to.at + to.sent) % block.size();
    });
    for (const Sending* to : ready) {
      failed = failed || to->failed;
      bytes += static_cast<std::int64_t>(to->sent);
    }
    if (failed) {
      state.SkipWithError("a connection was lost");
      break;
    }
  }
  state.SetBytesProcessed(bytes);
  for (const Sending& to : all) (void)::shutdown(to.pair.dialed.get(), SHUT_RDWR);
  drainer.join();
}
BENCHMARK(SendingToSeveral)
    ->ArgNames({"1_sendfile_2_tls", "threads"})
    ->ArgsProduct({{kSendFile, kTls}, {1, 2, 4}})
    ->UseRealTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace shardswarm
