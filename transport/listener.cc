#include "transport/listener.h"

#include <algorithm>
#include <asio/ip/v6_only.hpp>
#include <cerrno>
#include <utility>

#include "base/address.h"
#include "base/limits.h"
#include "base/text.h"
#include "transport/interfaces.h"

namespace shardswarm {
namespace {

using asio::ip::address;
using asio::ip::address_v4;
using asio::ip::address_v6;
using asio::ip::tcp;

// A port that the system found free in IPv4 may be taken in IPv6. Then the system is asked for
// another one, this often at most.
constexpr int kAnyPortAttempts = 16;

struct Place {
  std::string host;                   // as it was written
  std::optional<std::uint16_t> port;  // nothing: one of the usual ports
  std::vector<address> addresses;     // to listen on, as far as this machine has them
  bool has_all = false;               // of the machine's addresses, of these families
};

// The sockets on one port, or why there are none.
struct Attempt {
  std::list<tcp::acceptor> acceptors;
  asio::error_code error;
  tcp::endpoint at;  // where the error was

  bool in_use() const { return error == asio::error::address_in_use; }
  bool not_here() const { return error.value() == EADDRNOTAVAIL || error.value() == EAFNOSUPPORT; }
};

std::unexpected<Error> cannot_listen(Errc code, const std::string& where, const std::string& why) {
  const bool key = holds_key(where);
  return fail(code, "cannot listen on " +
                        (key ? "a key, which is not shown here" : printable(where)) + ": " + why);
}

Result<std::vector<address>> addresses_of(asio::io_context& io, const std::string& host,
                                          const std::string& written) {
  asio::error_code ec;
  tcp::resolver resolver(io);
  std::vector<address> found;
  for (const auto& result : resolver.resolve(host, "0", tcp::resolver::passive, ec)) {
    const address one = result.endpoint().address();
    if (std::ranges::find(found, one) == found.end()) found.push_back(one);
  }
  if (ec || found.empty()) {
    return cannot_listen(Errc::kUsage, written,
                         "this machine does not know the name (" + ec.message() + ")");
  }
  return found;
}

Result<Place> find_place(asio::io_context& io, const Listener::Options& options) {
  const std::vector<address> loopback = {address_v4::loopback(), address_v6::loopback()};
  const std::vector<address> all = {address_v4::any(), address_v6::any()};
  Place place;
  if (!options.listen.empty()) {
    auto typed = parse_typed_address(options.listen);
    if (!typed) return cannot_listen(Errc::kUsage, options.listen, typed.error().message);
    place.host = std::move(typed->host);
    place.port = typed->port;
  }
  if (place.host.empty()) {
    place.addresses = options.loopback_only ? loopback : all;
    place.has_all = !options.loopback_only;
    return place;
  }
  switch (kind_of_host(place.host)) {
    case HostKind::kManyMachines:
      return cannot_listen(Errc::kUsage, options.listen, "it is a multicast or broadcast address");
    case HostKind::kWildcard:
      place.addresses = place.host.find(':') != std::string::npos ? all : std::vector{all.front()};
      place.has_all = true;
      break;
    default: {
      auto found = is_localhost(place.host) ? Result<std::vector<address>>(loopback)
                                            : addresses_of(io, place.host, options.listen);
      if (!found) return std::unexpected(found.error());
      place.addresses = std::move(*found);
    }
  }
  const bool beyond =
      std::ranges::any_of(place.addresses, [](const address& a) { return !a.is_loopback(); });
  if (options.loopback_only && beyond) {
    return cannot_listen(Errc::kRefused, options.listen,
                         "that needs a cluster key. Make one with `shardswarm key new`, or bring "
                         "the one of your other machines with `shardswarm key import`; --insecure "
                         "does without one on a network that you trust");
  }
  return place;
}

asio::error_code listen_on(tcp::acceptor& acceptor, const tcp::endpoint& endpoint,
                           const Congestion& congestion) {
  asio::error_code ec;
  acceptor.open(endpoint.protocol(), ec);
  if (ec) return ec;
  acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (ec) return ec;
  congestion.listening(acceptor.native_handle());
  acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (!ec) acceptor.non_blocking(true, ec);
  return ec;
}

// On all addresses that this machine has, with one port. A machine without IPv6, or without IPv4,
// listens on the other.
Attempt try_port(asio::io_context& io, const Place& place, std::uint16_t port,
                 const Congestion& congestion) {
  Attempt attempt;
  for (const address& one : place.addresses) {
    tcp::acceptor acceptor(io);
    const tcp::endpoint endpoint(one, port);
    Attempt failed{
        .acceptors = {}, .error = listen_on(acceptor, endpoint, congestion), .at = endpoint};
    if (!failed.error) {
      port = acceptor.local_endpoint(failed.error).port();
      attempt.acceptors.push_back(std::move(acceptor));
    } else if (!failed.not_here()) {
      return failed;
    } else if (attempt.acceptors.empty()) {
      attempt.error = failed.error;
      attempt.at = endpoint;
    }
  }
  if (!attempt.acceptors.empty()) attempt.error.clear();
  return attempt;
}

Attempt try_any_port(asio::io_context& io, const Place& place, const Congestion& congestion) {
  Attempt attempt;
  for (int i = 0; i < kAnyPortAttempts; ++i) {
    attempt = try_port(io, place, 0, congestion);
    if (!attempt.in_use()) break;
  }
  return attempt;
}

Attempt try_usual_ports(asio::io_context& io, const Place& place, std::uint16_t first,
                        std::uint16_t last, const Congestion& congestion) {
  for (std::uint16_t port = first; port <= last; ++port) {
    Attempt attempt = try_port(io, place, port, congestion);
    if (!attempt.in_use()) return attempt;
  }
  return try_any_port(io, place, congestion);
}

std::unexpected<Error> failed_to_listen(const Attempt& attempt) {
  const std::string what = "cannot listen on " + text_of(attempt.at);
  if (attempt.in_use()) {
    return fail(Errc::kIo, what +
                               ": the port is in use by another program; name another one, or "
                               "none to get a free one");
  }
  if (attempt.not_here()) {
    std::string here;
    for (const std::string& one : usable_addresses()) here += (here.empty() ? "" : ", ") + one;
    return fail(Errc::kIo, what + ": that is not an address of this machine, which has " + here);
  }
  if (attempt.error.value() == EACCES && attempt.at.port() < 1024) {
    return fail(Errc::kPermission, what + ": only root may use ports below 1024");
  }
  return fail_errno(attempt.error.value(), what);
}

std::vector<std::string> addresses_told(const Listener::Options& options,
                                        const std::list<tcp::acceptor>& acceptors,
                                        std::uint16_t port) {
  std::vector<std::string> told;
  for (const std::string& one : options.advertise) {
    const auto typed = parse_typed_address(one);  // checked before
    if (typed) told.push_back(join_host_port(typed->host, typed->port.value_or(port)));
  }
  if (!told.empty()) return told;
  for (const tcp::acceptor& acceptor : acceptors) {
    asio::error_code ec;
    const address bound = acceptor.local_endpoint(ec).address();
    if (bound.is_unspecified()) {
      for (const std::string& host : usable_addresses()) {
        if ((host.find(':') != std::string::npos) == bound.is_v6()) {
          told.push_back(join_host_port(host, port));
        }
      }
    } else if (bound.is_v6() && bound.to_v6().is_link_local()) {
      continue;  // its interface means something on this machine only (TICKET-3)
    } else if (told.empty() || !bound.is_loopback()) {  // a second one of loopback helps nobody
      told.push_back(join_host_port(bound.to_string(), port));
    }
  }
  if (told.size() > kAddressesMax) told.resize(kAddressesMax);
  return told;
}

// Why no other machine can reach these addresses, and what to do; empty if one can, as far as is
// known here.
std::string reach_note(const Listener::Options& options, const Place& place,
                       const std::vector<std::string>& told) {
  if (told.empty()) {
    return "This ticket has no address: " + printable(place.host) +
           " is a link-local address, which others can dial only with an interface of their own. "
           "Give them --peer [" +
           place.host.substr(0, place.host.find('%')) +
           "%INTERFACE]:PORT, or name another address with --listen or --advertise.";
  }
  const bool only_here = std::ranges::all_of(told, [](const std::string& one) {
    const auto parsed = parse_host_port(one);
    return parsed && kind_of_host(parsed->host) == HostKind::kLoopback;
  });
  if (!only_here) return {};
  const std::string what = "This ticket works on this machine only: ";
  const std::string host = printable(place.host);
  if (!options.advertise.empty()) {
    return what + "--advertise names a loopback address. Name one that other machines can reach.";
  }
  if (options.loopback_only) {
    return what +
           "without a cluster key a node listens on loopback alone. To serve other machines run "
           "`shardswarm key new` here, or, if they have a key, `shardswarm key export` there and "
           "`shardswarm key import` here; then start this again.";
  }
  if (place.has_all) {
    return what + "no network interface but loopback is up. Bring one up and start this again.";
  }
  if (kind_of_host(place.host) == HostKind::kName) {
    return what + host + " means " + place.addresses.front().to_string() +
           " here, a loopback address (see /etc/hosts). Name another address with --listen, or "
           "leave --listen out to listen on all.";
  }
  return what + host + " is a loopback address. Leave --listen out to listen on all addresses.";
}

}  // namespace

std::string text_of(const tcp::endpoint& endpoint) {
  return join_host_port(endpoint.address().to_string(), endpoint.port());
}

Result<Listener> Listener::open(asio::io_context& io, const Options& options,
                                const Congestion& congestion) {
  if (auto checked = check_advertised(options.advertise); !checked) {
    return std::unexpected(checked.error());
  }
  const auto place = find_place(io, options);
  if (!place) return std::unexpected(place.error());
  const auto first =
      static_cast<std::uint16_t>(options.first_port + (options.leave_default_port ? 1 : 0));
  Attempt attempt = !place->port ? try_usual_ports(io, *place, first, options.last_port, congestion)
                    : *place->port == 0 ? try_any_port(io, *place, congestion)
                                        : try_port(io, *place, *place->port, congestion);
  if (attempt.error) return failed_to_listen(attempt);
  Listener listener;
  listener.acceptors_ = std::move(attempt.acceptors);
  asio::error_code ignored;
  listener.port_ = listener.acceptors_.front().local_endpoint(ignored).port();
  listener.addresses_ = addresses_told(options, listener.acceptors_, listener.port_);
  if (!place->port && listener.port_ != first) {
    listener.notes_.push_back("Port " + std::to_string(first) +
                              " is in use: this node listens on port " +
                              std::to_string(listener.port_) + ".");
  }
  if (auto note = reach_note(options, *place, listener.addresses_); !note.empty()) {
    listener.notes_.push_back(std::move(note));
  }
  return listener;
}

void Listener::close() {
  for (tcp::acceptor& acceptor : acceptors_) {
    asio::error_code ignored;
    acceptor.close(ignored);
  }
}

Result<void> check_advertised(const std::vector<std::string>& addresses) {
  if (addresses.size() > kAddressesMax) {
    return fail(Errc::kUsage, "a node advertises at most " + std::to_string(kAddressesMax) +
                                  " addresses, not " + std::to_string(addresses.size()));
  }
  for (const std::string& one : addresses) {
    const auto dialable = parse_dialable(one);
    if (!dialable) {
      return fail(Errc::kUsage,
                  "cannot advertise what others cannot dial: " + dialable.error().message);
    }
    const std::string host = parse_typed_address(one)->host;  // which parsed just now
    if (host.find('%') != std::string::npos) {
      return fail(Errc::kUsage, "cannot advertise " + printable(one) +
                                    ": the interface behind '%' means something on this machine "
                                    "only; advertise an address without one");
    }
    if (kind_of_host(host) == HostKind::kLinkLocal) {
      return fail(Errc::kUsage, "cannot advertise " + printable(one) +
                                    ": it is a link-local address, which others can dial only with "
                                    "an interface of their own; advertise another address");
    }
    // With the port it must be an address that others take (WIRE-15).
    if (join_host_port(host, 65535).size() > limits::kAddressBytesMax) {
      return fail(Errc::kUsage, "cannot advertise an address of more than " +
                                    std::to_string(limits::kAddressBytesMax) + " bytes");
    }
  }
  return {};
}

}  // namespace shardswarm
