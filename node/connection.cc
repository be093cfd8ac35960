#include "node/connection.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <asio/post.hpp>
#include <chrono>
#include <utility>

#include "node/shell.h"

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

Connection::Connection(Shell& shell, ConnectionId id, asio::ip::tcp::socket socket,
                       std::string address, bool dialed, const Identity* identity)
    : shell_(shell),
      id_(id),
      socket_(std::move(socket)),
      deadline_(shell.io()),
      address_(std::move(address)),
      dialed_(dialed) {
  asio::error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  bound_unsent();
  const int fd = socket_.native_handle();
  transport_ = identity == nullptr
                   ? make_plain_transport(fd)
                   : make_tls_transport(fd, dialed, *identity, shell.options().kernel_tls);
}

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
    shell_.log(LogLevel::kDebug, "the kernel encrypts what goes to " + address_);
  }
  shell_.core().add_connection(id_, address_, dialed_, transport_->peer_id(), shell_.now());
  shell_.to_receive(id_);
}

void Connection::bound_unsent() {
#ifdef TCP_NOTSENT_LOWAT
  const auto most = static_cast<int>(shell_.core().unsent_max(id_));
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
      self->shell_.to_receive(self->id_);
    } else {
      self->shell_.to_send(self->id_);
    }
  });
}

void Connection::begin_pass() {
  received_in_pass_ = 0;
  dry_ = false;
}

bool Connection::begin_receive() {
  if (closed_ || finishing_ || waiting_read_) return false;
  into_ = shell_.core().receive_spans(id_);
  receive_blocked_ = into_[0].empty() && into_[1].empty();
  return !receive_blocked_;
}

bool Connection::end_receive() {
  note_moved();
  if (!moved_) {
    closed(moved_.error());
    return false;
  }
  if (moved_->bytes == 0) {
    if (moved_->wait == Wait::kNone) {
      closed(std::nullopt);
    } else {
      wait_for(moved_->wait);
      receive_blocked_ = moved_->wait == Wait::kWritable;
    }
    return false;
  }
  shell_.core().received(id_, moved_->bytes, shell_.now());
  received_in_pass_ += moved_->bytes;
  return !had_its_part();
}

bool Connection::had_its_part() const { return received_in_pass_ >= kReadTurnBytes; }

void Connection::resume_receive() {
  if (receive_blocked_ && !closed_ && !finishing_) shell_.to_receive(id_);
}

bool Connection::begin_send() {
  while (!closed_ && !draining_ && !waiting_write_) {
    const Output output = shell_.core().next_output(id_);
    if (const auto* bytes = std::get_if<OutputBytes>(&output)) {
      if (!sent(transport_->write(bytes->bytes, bytes->more))) return false;
    } else if (const auto* extent = std::get_if<OutputExtent>(&output)) {
      if (!find_source(*extent)) return false;
      extent_ = *extent;
      return true;
    } else {
      current_source_.reset();  // its buffer may be what another connection waits for
      if (finishing_) drain();
      return false;
    }
  }
  return false;
}

bool Connection::end_send() {
  note_moved();
  const OutputExtent extent = *std::exchange(extent_, std::nullopt);
  // The frame's header promised these bytes: a file that shrank costs the connection.
  if (!moved_ && !current_source_->buffer && shrank(current_source_->range)) {
    shell_.piece_lost(current_.first, extent.piece);
  }
  return sent(moved_);
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
  shell_.core().sent(id_, moved->bytes, shell_.now());
  return true;
}

bool Connection::find_source(const OutputExtent& extent) {
  const std::pair key{shell_.core().model_of(id_, extent.channel), extent.piece};
  if (current_ == key && current_source_) return true;
  const auto it = prepared_.find(key);
  if (it == prepared_.end()) {
    closed(Error{Errc::kInternal, "a piece is to be sent that was not prepared"});
    return false;
  }
  current_ = key;
  current_source_ = it->second;
  return true;
}

void Connection::move() {
  if (!extent_) {
    moved_ = transport_->read(into_);
  } else if (const PreparedPiece& source = *current_source_; source.buffer) {
    moved_ =
        transport_->write(source.buffer.bytes().subspan(extent_->offset, extent_->length), false);
  } else {
    moved_ = transport_->write_file(source.range.fd, source.range.offset + extent_->offset,
                                    extent_->length);
  }
}

std::size_t Connection::asked() const {
  return extent_ ? extent_->length : into_[0].size() + into_[1].size();
}

// As much as last time, unless it was stopped by what it was asked for, which says "at least".
void Connection::note_moved() {
  if (!moved_) return;
  const std::size_t bytes = moved_->bytes;
  dry_ = bytes < asked();
  std::size_t& last = extent_ ? last_sent_ : last_received_;
  if (bytes > 0) last = dry_ ? bytes : std::max(last, bytes);
}

std::size_t Connection::expected() const {
  return dry_ ? 0 : std::min(asked(), extent_ ? last_sent_ : last_received_);
}

void Connection::prepared(ModelKey model, PieceIndex piece, std::shared_ptr<PreparedPiece> source) {
  prepared_[{model, piece}] = std::move(source);
}

void Connection::release(ModelKey model, PieceIndex piece) { prepared_.erase({model, piece}); }

void Connection::finish() {
  if (finishing_ || closed_) return;
  finishing_ = true;
  deadline_.expires_after(kFlushTimeout);
  deadline_.async_wait([self = shared_from_this()](asio::error_code ec) {
    if (!ec) self->closed(std::nullopt);
  });
  shell_.to_send(id_);
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
  asio::post(shell_.io(), [self = shared_from_this()] { self->drain(); });
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
  asio::post(shell_.io(), [self = shared_from_this()] {
    self->transport_.reset();
    asio::error_code close_error;
    self->socket_.close(close_error);
  });
  prepared_.clear();
  current_source_.reset();
  shell_.connection_closed(id_, address_, dialed_, up_, std::move(error));
}

}  // namespace shardswarm
