#include <sys/socket.h>
#include <sys/uio.h>
#ifdef __linux__
#include <sys/sendfile.h>
#endif

#include <array>
#include <cerrno>

#include "transport/transport.h"

namespace shardswarm {
namespace {

constexpr std::size_t kSpansMax = 4;

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

// Bytes as they are on the socket.
class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(int fd) : fd_(fd) {}

  Result<Wait> handshake() override { return Wait::kNone; }
  std::optional<NodeId> peer_id() const override { return std::nullopt; }

  Result<Moved> read(std::span<const std::span<std::byte>> into) override {
    std::array<iovec, kSpansMax> parts{};
    int count = 0;
    for (const auto& span : into.first(std::min(into.size(), kSpansMax))) {
      if (!span.empty()) parts[static_cast<std::size_t>(count++)] = {span.data(), span.size()};
    }
    const ssize_t n = retry([&] { return ::readv(fd_, parts.data(), count); });
    if (n >= 0) return Moved{static_cast<std::size_t>(n), Wait::kNone};
    if (would_block(errno)) return Moved{0, Wait::kReadable};
    return fail(Errc::kIo, lost());
  }

  Result<Moved> write(std::span<const std::byte> from, bool more) override {
    int flags = 0;
#ifdef MSG_NOSIGNAL
    flags |= MSG_NOSIGNAL;
#endif
#ifdef MSG_MORE
    if (more) flags |= MSG_MORE;
#else
    (void)more;
#endif
    return written(retry([&] { return ::send(fd_, from.data(), from.size(), flags); }));
  }

#ifdef __linux__
  bool can_send_file() const override { return true; }

  Result<Moved> write_file(int fd, std::uint64_t offset, std::uint32_t length) override {
    auto at = static_cast<off_t>(offset);
    const ssize_t n = retry([&] { return ::sendfile(fd_, fd, &at, length); });
    if (n == 0) return fail(Errc::kIo, "the file shrank while it was sent");
    return written(n);
  }
#else
  bool can_send_file() const override { return false; }

  Result<Moved> write_file(int, std::uint64_t, std::uint32_t) override {
    return fail(Errc::kInternal, "no sendfile here");
  }
#endif

  Wait shutdown() override {
    ::shutdown(fd_, SHUT_WR);
    return Wait::kNone;
  }

 private:
  template <class F>
  static ssize_t retry(F&& call) {
    ssize_t n = 0;
    do {
      n = call();
    } while (n < 0 && errno == EINTR);
    return n;
  }

  static std::string lost() { return fail_errno(errno, "connection lost").error().message; }

  Result<Moved> written(ssize_t n) const {
    if (n >= 0) return Moved{static_cast<std::size_t>(n), Wait::kNone};
    if (would_block(errno)) return Moved{0, Wait::kWritable};
    return fail(Errc::kIo, lost());
  }

  int fd_;
};

}  // namespace

std::unique_ptr<Transport> make_plain_transport(int fd) {
  return std::make_unique<PlainTransport>(fd);
}

}  // namespace shardswarm
