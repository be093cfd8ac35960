// The shell's sockets: listening, dialing, connections coming and going.
#include <algorithm>
#include <asio/post.hpp>

#include "base/address.h"
#include "node/shell.h"

namespace shardswarm {
namespace {

using asio::ip::tcp;

constexpr std::size_t kStrangersMax = 64;
constexpr auto kAcceptRetry = std::chrono::milliseconds(200);

}  // namespace

Result<void> Shell::listen() {
  auto congestion = Congestion::make(options_.congestion_control);
  if (!congestion) return std::unexpected(congestion.error());
  congestion_ = std::move(*congestion);
  auto listener = Listener::open(io_,
                                 {.listen = options_.listen,
                                  .loopback_only = !authenticated(),
                                  .leave_default_port = options_.leave_default_port,
                                  .advertise = options_.advertise},
                                 congestion_);
  if (!listener) return std::unexpected(listener.error());
  listener_ = std::move(*listener);
  core_->set_listening(listener_->port(), options_.advertise.empty() ? std::vector<std::string>()
                                                                     : listener_->addresses());
  return {};
}

void Shell::accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([this, &acceptor](asio::error_code ec, tcp::socket socket) {
    if (ec == asio::error::operation_aborted || !acceptor.is_open()) return;
    if (ec) {
      // Out of descriptors, most likely: others close in time.
      log(LogLevel::kWarning, "cannot accept a connection: " + ec.message());
      auto timer = std::make_shared<asio::steady_timer>(io_, kAcceptRetry);
      timer->async_wait([this, timer, &acceptor](asio::error_code timer_error) {
        if (!timer_error && acceptor.is_open()) accept(acceptor);
      });
      return;
    }
    asio::error_code gone;
    const tcp::endpoint remote = socket.remote_endpoint(gone);
    if (!gone && connections_.size() < 2 * limits::kConnectionsMax) {
      drop_stranger();
      congestion_.accepted(socket.native_handle(), remote.address());
      adopt(std::move(socket), text_of(remote), nullptr);
    }
    accept(acceptor);
  });
}

// Of those that have not shown who they are, the oldest goes when there are too many: it must not
// be that strangers keep peers out.
void Shell::drop_stranger() {
  std::shared_ptr<Connection> oldest;
  std::size_t strangers = 0;
  for (const auto& [id, connection] : connections_) {
    if (connection->up()) continue;
    if (!oldest) oldest = connection;
    ++strangers;
  }
  if (strangers >= kStrangersMax) oldest->abort(std::nullopt);
}

void Shell::dial(const std::string& address) {
  const auto dial = std::make_shared<Dial>(
      io_, congestion_, Dial::Options{.address = address, .loopback_only = !authenticated()});
  // The dial holds its own callback, which must not hold the dial.
  dial->start([this, address, dial = std::weak_ptr(dial)](Result<tcp::socket> connected) {
    if (stopping_) return;
    if (connected) {
      adopt(std::move(*connected), address, dial.lock());
      return;
    }
    core_->dial_failed(address, connected.error(), now());
    schedule_turn();
  });
}

// `dial`: null for a connection that was accepted.
void Shell::adopt(tcp::socket socket, std::string address, std::shared_ptr<Dial> dial) {
  const ConnectionId id(next_connection_++);
  const bool dialed = dial != nullptr;
  const auto connection = std::make_shared<Connection>(
      *this, id, std::move(socket), std::move(address), dialed, identity_ ? &*identity_ : nullptr);
  connections_[id] = connection;
  if (dialed) dials_[id] = std::move(dial);
  connection->start();
}

void Shell::connection_closed(ConnectionId id, const std::string& address, bool dialed, bool up,
                              std::optional<Error> error) {
  connections_.erase(id);
  const auto dial = dials_.extract(id);
  if (up) {
    error = core_->remove_connection(id, std::move(error), now());
  } else if (dialed) {
    const Error why = error.value_or(Error{Errc::kUnreachable, "it closed the connection"});
    // What answers at one of a name's addresses may be somebody else's node. A node with a key
    // learns that in the TLS handshake, before the connection is up. A node without a key learns it
    // later, and tries the name's other addresses only when it dials again.
    if (stopping_) {
      core_->dial_failed(address, why, now());
    } else if (!dial.mapped()->try_others(why)) {
      core_->dial_failed(address, dial.mapped()->failure(), now());
    }
  }
  if (!dialed && error) {
    const auto refused =
        refusals_.add(address, error->message, error->code == Errc::kRefused, now());
    if (refused.more > 0) {
      log(LogLevel::kWarning, "and " + std::to_string(refused.more) +
                                  " more connections were refused: -v shows each of them");
    }
    log(refused.warn ? LogLevel::kWarning : LogLevel::kInfo,
        "refused " + address + ": " + error->message);
  }
  schedule_turn();
  stop_if_quiet();
}

}  // namespace shardswarm
