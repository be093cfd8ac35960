#include "node/connection.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <asio/post.hpp>
#include <chrono>
#include <utility>

#include "node/network.h"
#include "node/shell_context.h"
#include "node/turns.h"

namespace shardswarm {
namespace {

// Bytes read from one socket before others get their turn.
constexpr std::size_t kReadTurnBytes = 2 * limits::kMiB;
constexpr auto kHandshakeTimeout = std::chrono::seconds(10);
constexpr auto kFlushTimeout = std::chrono::seconds(2);

bool shrank(const FileRange& range) {
  struct stat status{};
  return ::fstat(range.fd, &status) != 0 ||
         static_cast<std::uint64_t>(status.st_size) < range.offset + range.length;
}

}  // namespace

Connection::Connection(Network& network, ConnectionId id, asio::ip::tcp::socket socket,
                       std::string address, bool dialed)
    : network_(network),
      id_(id),
      socket_(std::move(socket)),
      deadline_(network.context().io),
      address_(std::move(address)),
      dialed_(dialed) {
  asio::error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  bound_unsent();
  const int fd = socket_.native_handle();
  const auto& identity = context().identity;
  transport_ = identity ? make_tls_transport(fd, dialed, *identity, context().options.kernel_tls)
                        : make_plain_transport(fd);
}

ShellContext& Connection::context() { return network_.context(); }

void Connection::start() {
  deadline_.expires_after(kHandshakeTimeout);
  deadline_.async_wait([self = shared_from_this()](asio::error_code ec) {
    if (ec || self->up_) return;
    self->closed(
        self->error_.value_or(Error{Errc::kUnreachable, "it made no TLS handshake in 10 s"}));
  });
  handshake();
}

void Connection::handshake() {
  const auto done = transport_->handshake();
  if (!done) {
    // The alert that says why must reach the other side: see drain().
    error_ = done.error();
    finishing_ = true;
    drain();
    return;
  }
  if (*done != Wait::kNone) {
    wait_for(*done);
    return;
  }
  up_ = true;
  deadline_.cancel();
  if (transport_->peer_id() && can_send_file()) {
    context().log(LogLevel::kDebug, "the kernel encrypts what goes to " + address_);
  }
  context().core.add_connection(id_, address_, dialed_, transport_->peer_id(), context().now());
  network_.turns().to_receive(id_);
}

void Connection::bound_unsent() {
#ifdef TCP_NOTSENT_LOWAT
  const auto most = static_cast<int>(context().core.unsent_max(id_));
  if (most < 2 * unsent_max_ && unsent_max_ < 2 * most) return;
  unsent_max_ = most;
  ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof most);
#endif
}

void Connection::wait_for(Wait what) {
  bool& waiting = what == Wait::kReadable ? waiting_read_ : waiting_write_;
  if (waiting || closed_) return;
  waiting = true;
  const auto kind = what == Wait::kReadable ? asio::ip::tcp::socket::wait_read
                                            : asio::ip::tcp::socket::wait_write;
  socket_.async_wait(kind, [self = shared_from_this(), what](asio::error_code ec) {
    (what == Wait::kReadable ? self->waiting_read_ : self->waiting_write_) = false;
    if (ec || self->closed_) return;
    if (self->draining_) {
      self->drain();
    } else if (!self->up_) {
      self->handshake();
    } else if (what == Wait::kReadable) {
      self->network_.turns().to_receive(self->id_);
    } else {
      self->network_.turns().to_send(self->id_);
    }
  });
}

void Connection::begin_pass() { transfer_.begin_pass(); }

bool Connection::begin_receive() {
  if (closed_ || finishing_ || waiting_read_) return false;
  transfer_.receive_into(context().core.receive_spans(id_));
  receive_blocked_ = transfer_.blocked();
  return !receive_blocked_;
}

bool Connection::end_receive() {
  const Result<Moved>& moved = transfer_.received();
  if (!moved) {
    closed(moved.error());
    return false;
  }
  if (moved->bytes == 0) {
    if (moved->wait == Wait::kNone) {
      closed(std::nullopt);
    } else {
      wait_for(moved->wait);
      receive_blocked_ = moved->wait == Wait::kWritable;
    }
    return false;
  }
  context().core.received(id_, moved->bytes, context().now());
  return !had_its_part();
}

bool Connection::had_its_part() const { return transfer_.received_in_pass() >= kReadTurnBytes; }

void Connection::resume_receive() {
  if (receive_blocked_ && !closed_ && !finishing_) network_.turns().to_receive(id_);
}

bool Connection::begin_send() {
  while (!closed_ && !draining_ && !waiting_write_) {
    const Output output = context().core.next_output(id_);
    if (const auto* bytes = std::get_if<OutputBytes>(&output)) {
      if (!sent(transport_->write(bytes->bytes, bytes->more))) return false;
    } else if (const auto* extent = std::get_if<OutputExtent>(&output)) {
      if (!prepared_.begin(context().core.model_of(id_, extent->channel), extent->piece)) {
        closed(Error{Errc::kInternal, "a piece is to be sent that was not prepared"});
        return false;
      }
      transfer_.send(*extent);
      return true;
    } else {
      prepared_.end();
      if (finishing_) drain();
      return false;
    }
  }
  return false;
}

bool Connection::end_send() {
  const auto [extent, moved] = transfer_.sent();
  // The frame's header promised these bytes: a file that shrank costs the connection.
  if (!moved) {
    const PreparedPiece& source = prepared_.source();
    if (!source.buffer && shrank(source.range)) {
      network_.piece_lost(prepared_.model(), extent.piece);
    }
  }
  return sent(moved);
}

// Whether to go on.
bool Connection::sent(const Result<Moved>& moved) {
  if (!moved) {
    closed(moved.error());
    return false;
  }
  if (moved->bytes == 0) {
    bound_unsent();
    wait_for(moved->wait);
    return false;
  }
  context().core.sent(id_, moved->bytes, context().now());
  return true;
}

void Connection::finish() {
  if (finishing_ || closed_) return;
  finishing_ = true;
  deadline_.expires_after(kFlushTimeout);
  deadline_.async_wait([self = shared_from_this()](asio::error_code ec) {
    if (!ec) self->closed(std::nullopt);
  });
  network_.turns().to_send(id_);
}

// All is flushed. Closing a socket with unread bytes resets it, and a reset may overtake our CLOSE
// on its way: so say that it was all, then read until the other side has said so, too.
void Connection::drain() {
  if (closed_) return;
  draining_ = true;
  if (!said_end_) {
    const Wait wait = transport_->shutdown();
    if (wait != Wait::kNone) {
      wait_for(wait);
      return;
    }
    said_end_ = true;
    // What comes after a failed handshake is not to be understood.
    if (!up_) transport_ = make_plain_transport(socket_.native_handle());
  }
  std::array<std::byte, 16 * 1024> scratch;
  const std::span<std::byte> into[] = {scratch};
  for (std::size_t turn = 0; turn < kReadTurnBytes; turn += scratch.size()) {
    const auto moved = transport_->read(into);
    if (!moved || (moved->bytes == 0 && moved->wait == Wait::kNone)) {
      closed(std::move(error_));
      return;
    }
    if (moved->bytes == 0) {
      wait_for(moved->wait);
      return;
    }
  }
  // A stranger may go on sending: the others, and the deadline, get their turn.
  asio::post(context().io, [self = shared_from_this()] { self->drain(); });
}

void Connection::abort(std::optional<Error> error) { closed(std::move(error)); }

void Connection::closed(std::optional<Error> error) {
  if (closed_) return;
  closed_ = true;
  deadline_.cancel();
  if (!said_end_) (void)transport_->shutdown();
  asio::error_code ignored;
  socket_.cancel(ignored);
  // The transport holds the descriptor's number: it must not outlive the socket's closing.
  asio::post(context().io, [self = shared_from_this()] {
    self->transport_.reset();
    asio::error_code close_error;
    self->socket_.close(close_error);
  });
  prepared_.clear();
  network_.connection_closed(id_, address_, dialed_, up_, std::move(error));
}

}  // namespace shardswarm
