// The shell's sockets: listening, dialing, connections coming and going.
#include <algorithm>
#include <asio/post.hpp>

#include "node/address.h"
#include "node/shell.h"

namespace shardswarm {
namespace {

using asio::ip::tcp;

constexpr auto kDialTimeout = std::chrono::seconds(5);
constexpr std::size_t kStrangersMax = 64;
constexpr auto kAcceptRetry = std::chrono::milliseconds(200);

std::string text_of(const tcp::endpoint& endpoint) {
  return join_host_port(endpoint.address().to_string(), endpoint.port());
}

}  // namespace

// A dial under way: whichever of connection and deadline comes first wins.
struct Shell::Dialing {
  explicit Dialing(asio::io_context& io) : socket(io), deadline(io) {}
  std::string address;
  std::vector<tcp::endpoint> to_try;  // the next is the last
  tcp::socket socket;
  asio::steady_timer deadline;
  bool timed_out = false;
};

Result<void> Shell::listen() {
  const auto wanted = parse_host_port(options_.listen);
  if (!wanted) return std::unexpected(wanted.error());
  asio::error_code ec;
  tcp::endpoint endpoint(tcp::v4(), wanted->port);
  if (!wanted->host.empty()) {
    const auto found =
        resolver_.resolve(wanted->host, std::to_string(wanted->port), tcp::resolver::passive, ec);
    if (ec || found.empty()) {
      return fail(Errc::kUsage, "cannot listen on " + options_.listen + ": " + ec.message());
    }
    endpoint = found.begin()->endpoint();
  }
  auto congestion = Congestion::make(options_.congestion_control);
  if (!congestion) return std::unexpected(congestion.error());
  congestion_ = std::move(*congestion);
  const bool authenticated = identity_.has_value() || options_.insecure;
  if (!authenticated && !endpoint.address().is_loopback()) {
    return fail(Errc::kUsage, "listening on " + options_.listen +
                                  " needs a cluster key: make one with `shardswarm key new`, or "
                                  "say --insecure on a network that you trust");
  }
  const auto failed = [&](const char* what) {
    return fail_errno(ec.value(), "cannot " + std::string(what) + " " + text_of(endpoint));
  };
  acceptor_.open(endpoint.protocol(), ec);
  if (ec) return failed("open a socket for");
  acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
  acceptor_.bind(endpoint, ec);
  if (ec) return failed("listen on");
  congestion_.listening(acceptor_.native_handle());
  acceptor_.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) return failed("listen on");
  acceptor_.non_blocking(true, ec);

  const tcp::endpoint bound = acceptor_.local_endpoint(ec);
  if (!options_.advertise.empty()) {
    addresses_ = options_.advertise;
  } else if (bound.address().is_unspecified()) {
    for (const std::string& host : usable_addresses()) {
      const bool v6 = host.find(':') != std::string::npos;
      if (v6 && bound.address().is_v4()) continue;
      addresses_.push_back(join_host_port(host, bound.port()));
    }
  } else {
    addresses_ = {text_of(bound)};
  }
  core_->set_listen_port(bound.port());
  return {};
}

void Shell::accept() {
  acceptor_.async_accept([this](asio::error_code ec, tcp::socket socket) {
    if (ec == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (ec) {
      // Out of descriptors, most likely: others close in time.
      log(LogLevel::kWarning, "cannot accept a connection: " + ec.message());
      auto timer = std::make_shared<asio::steady_timer>(io_, kAcceptRetry);
      timer->async_wait([this, timer](asio::error_code timer_error) {
        if (!timer_error && acceptor_.is_open()) accept();
      });
      return;
    }
    asio::error_code gone;
    const tcp::endpoint remote = socket.remote_endpoint(gone);
    if (!gone && connections_.size() < 2 * limits::kConnectionsMax) {
      drop_stranger();
      congestion_.accepted(socket.native_handle(), remote.address());
      adopt(std::move(socket), text_of(remote), false);
    }
    accept();
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
  const auto parsed = parse_host_port(address);
  if (!parsed) {
    core_->dial_failed(address, parsed.error(), now());
    return;
  }
  resolver_.async_resolve(
      parsed->host, std::to_string(parsed->port),
      [this, address](asio::error_code ec, const tcp::resolver::results_type& found) {
        if (stopping_) return;
        if (ec || found.empty()) {
          core_->dial_failed(
              address, {Errc::kUnreachable, "cannot resolve " + address + ": " + ec.message()},
              now());
          schedule_turn();
          return;
        }
        const bool authenticated = identity_.has_value() || options_.insecure;
        const bool here = std::all_of(found.begin(), found.end(), [](const auto& result) {
          return result.endpoint().address().is_loopback();
        });
        if (!authenticated && !here) {
          core_->dial_failed(
              address,
              {Errc::kRefused, address + " is beyond this machine: that needs a cluster "
                                         "key (--key), or --insecure on a trusted network"},
              now());
          schedule_turn();
          return;
        }
        auto dialing = std::make_shared<Dialing>(io_);
        dialing->address = address;
        for (const auto& result : found) dialing->to_try.push_back(result.endpoint());
        std::ranges::reverse(dialing->to_try);
        dialing->deadline.expires_after(kDialTimeout);
        dialing->deadline.async_wait([dialing](asio::error_code timer_error) {
          if (timer_error) return;
          dialing->timed_out = true;
          asio::error_code ignored;
          dialing->socket.close(ignored);
        });
        dial_next(dialing);
      });
}

void Shell::dial_next(const std::shared_ptr<Dialing>& dialing) {
  const tcp::endpoint endpoint = dialing->to_try.back();
  dialing->to_try.pop_back();
  asio::error_code ec;
  dialing->socket.close(ec);
  dialing->socket.open(endpoint.protocol(), ec);
  if (!ec) congestion_.dialing(dialing->socket.native_handle(), endpoint.address());
  // A socket that could not be opened says so there.
  dialing->socket.async_connect(endpoint, [this, dialing](asio::error_code connect_error) {
    if (connect_error && !dialing->timed_out && !stopping_ && !dialing->to_try.empty()) {
      dial_next(dialing);
      return;
    }
    dialing->deadline.cancel();
    if (stopping_) return;
    if (connect_error || dialing->timed_out) {
      const std::string why = dialing->timed_out ? "no answer in 5 s" : connect_error.message();
      core_->dial_failed(dialing->address,
                         {Errc::kUnreachable, "cannot connect to " + dialing->address + ": " + why},
                         now());
      schedule_turn();
      return;
    }
    adopt(std::move(dialing->socket), dialing->address, true);
  });
}

void Shell::adopt(tcp::socket socket, std::string address, bool dialed) {
  const ConnectionId id(next_connection_++);
  const auto connection = std::make_shared<Connection>(
      *this, id, std::move(socket), std::move(address), dialed, identity_ ? &*identity_ : nullptr);
  connections_[id] = connection;
  connection->start();
}

void Shell::connection_closed(ConnectionId id, const std::string& address, bool dialed, bool up,
                              std::optional<Error> error) {
  connections_.erase(id);
  if (up) {
    core_->remove_connection(id, std::move(error), now());
  } else if (dialed) {
    core_->dial_failed(
        address, error.value_or(Error{Errc::kUnreachable, address + " closed the connection"}),
        now());
  } else if (error) {
    log(LogLevel::kWarning, "refused " + address + ": " + error->message);
  }
  schedule_turn();
  stop_if_quiet();
}

}  // namespace shardswarm
