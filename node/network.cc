#include "node/network.h"

#include <algorithm>
#include <asio/steady_timer.hpp>
#include <utility>

#include "node/connection.h"
#include "node/shell_context.h"
#include "node/turns.h"

namespace shardswarm {
namespace {

using asio::ip::tcp;

constexpr std::size_t kStrangersMax = 64;
constexpr auto kAcceptRetry = std::chrono::milliseconds(200);

}  // namespace

Result<void> Network::listen() {
  const NodeOptions& options = context_.options;
  auto congestion = Congestion::make(options.congestion_control);
  if (!congestion) return std::unexpected(congestion.error());
  congestion_ = std::move(*congestion);
  auto listener = Listener::open(context_.io,
                                 {.listen = options.listen,
                                  .loopback_only = !context_.authenticated(),
                                  .leave_default_port = options.leave_default_port,
                                  .advertise = options.advertise},
                                 congestion_);
  if (!listener) return std::unexpected(listener.error());
  listener_ = std::move(*listener);
  context_.core.set_listening(listener_->port(), options.advertise.empty()
                                                     ? std::vector<std::string>()
                                                     : listener_->addresses());
  return {};
}

void Network::start() {
  for (auto& acceptor : listener_->acceptors()) accept(acceptor);
}

void Network::accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([this, &acceptor](asio::error_code ec, tcp::socket socket) {
    if (ec == asio::error::operation_aborted || !acceptor.is_open()) return;
    if (ec) {
      // Out of descriptors, most likely: others close in time.
      context_.log(LogLevel::kWarning, "cannot accept a connection: " + ec.message());
      auto timer = std::make_shared<asio::steady_timer>(context_.io, kAcceptRetry);
      timer->async_wait([this, timer, &acceptor](asio::error_code timer_error) {
        if (!timer_error && acceptor.is_open()) accept(acceptor);
      });
      return;
    }
    asio::error_code gone;
    const tcp::endpoint remote = socket.remote_endpoint(gone);
    if (!gone && context_.connections.size() < 2 * limits::kConnectionsMax) {
      drop_stranger();
      congestion_.accepted(socket.native_handle(), remote.address());
      adopt(std::move(socket), text_of(remote), nullptr);
    }
    accept(acceptor);
  });
}

// Of those that have not shown who they are, the oldest goes when there are too many: it must not
// be that strangers keep peers out.
void Network::drop_stranger() {
  std::shared_ptr<Connection> oldest;
  std::size_t strangers = 0;
  for (const auto& [id, connection] : context_.connections) {
    if (connection->up()) continue;
    if (!oldest) oldest = connection;
    ++strangers;
  }
  if (strangers >= kStrangersMax) oldest->abort(std::nullopt);
}

void Network::dial(const std::string& address) {
  const auto dial = std::make_shared<Dial>(
      context_.io, congestion_,
      Dial::Options{.address = address, .loopback_only = !context_.authenticated()});
  // The dial holds its own callback, which must not hold the dial.
  dial->start([this, address, dial = std::weak_ptr(dial)](Result<tcp::socket> connected) {
    if (context_.stopping) return;
    if (connected) {
      adopt(std::move(*connected), address, dial.lock());
      return;
    }
    context_.core.dial_failed(address, connected.error(), context_.now());
    turns_.schedule();
  });
}

// `dial`: null for a connection that was accepted.
void Network::adopt(tcp::socket socket, std::string address, std::shared_ptr<Dial> dial) {
  const ConnectionId id(next_connection_++);
  const bool dialed = dial != nullptr;
  const auto connection =
      std::make_shared<Connection>(*this, id, std::move(socket), std::move(address), dialed);
  context_.connections[id] = connection;
  if (dialed) dials_[id] = std::move(dial);
  connection->start();
}

void Network::finish(ConnectionId id) const {
  if (const auto connection = context_.connection(id)) connection->finish();
}

void Network::abort_all() {
  while (!context_.connections.empty()) {
    const auto connection = context_.connections.begin()->second;
    connection->abort(std::nullopt);
  }
}

void Network::connection_closed(ConnectionId id, const std::string& address, bool dialed, bool up,
                                std::optional<Error> error) {
  context_.connections.erase(id);
  const auto dial = dials_.extract(id);
  if (up) {
    error = context_.core.remove_connection(id, std::move(error), context_.now());
  } else if (dialed) {
    const Error why = error.value_or(Error{Errc::kUnreachable, "it closed the connection"});
    // What answers at one of a name's addresses may be somebody else's node. A node with a key
    // learns that in the TLS handshake, before the connection is up. A node without a key learns it
    // later, and tries the name's other addresses only when it dials again.
    if (context_.stopping) {
      context_.core.dial_failed(address, why, context_.now());
    } else if (!dial.mapped()->try_others(why)) {
      context_.core.dial_failed(address, dial.mapped()->failure(), context_.now());
    }
  }
  if (!dialed && error) log_refusal(address, *error);
  turns_.schedule();
  closed_();
}

void Network::log_refusal(const std::string& address, const Error& error) {
  const auto refused =
      refusals_.add(address, error.message, error.code == Errc::kRefused, context_.now());
  if (refused.more > 0) {
    context_.log(LogLevel::kWarning, "and " + std::to_string(refused.more) +
                                         " more connections were refused: -v shows each of them");
  }
  context_.log(refused.warn ? LogLevel::kWarning : LogLevel::kInfo,
               "refused " + address + ": " + error.message);
}

}  // namespace shardswarm
