#include "transport/dial.h"

#include <net/if.h>

#include <algorithm>
#include <array>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/address_v6.hpp>
#include <charconv>
#include <utility>

#include "base/address.h"

namespace shardswarm {
namespace {

using asio::ip::tcp;

constexpr auto kConnectLimit = std::chrono::seconds(5);
// The system's resolver asks its first server for 5 s before it turns to the second. All dials
// share one thread for it, so a name may also wait for others here.
constexpr auto kNameLimit = std::chrono::seconds(10);

Time now() { return std::chrono::steady_clock::now().time_since_epoch(); }

std::string resolver_error(const asio::error_code& ec) {
  if (ec == asio::error::host_not_found || ec == asio::error::no_data) {
    return "no such name is known: check its spelling, DNS and /etc/hosts";
  }
  if (ec == asio::error::host_not_found_try_again) {
    return "the name server does not answer: check /etc/resolv.conf and the network";
  }
  return ec.message();
}

std::string connect_error(const asio::error_code& ec, const asio::ip::address& address) {
  if (ec == asio::error::connection_refused) return "nothing listens there (connection refused)";
  if (ec == asio::error::network_unreachable || ec == asio::error::host_unreachable) {
    return "no route from this machine (" + ec.message() + ")";
  }
  if (ec == asio::error::invalid_argument && address.is_v6() && address.to_v6().is_link_local()) {
    return "a link-local address needs a network interface of this machine behind it, as in "
           "[fe80::1%eth0]";
  }
  return ec.message();
}

// By its name or by its number.
bool has_interface(const std::string& interface) {
  if (::if_nametoindex(interface.c_str()) != 0) return true;
  unsigned index = 0;
  const char* const end = interface.data() + interface.size();
  const auto [stop, error] = std::from_chars(interface.data(), end, index);
  std::array<char, IF_NAMESIZE> name{};
  return error == std::errc{} && stop == end && ::if_indextoname(index, name.data()) != nullptr;
}

}  // namespace

Dial::Dial(asio::io_context& io, const Congestion& congestion, Options options)
    : io_(io),
      congestion_(congestion),
      options_(std::move(options)),
      resolver_(io),
      deadline_(io),
      next_attempt_(io) {}

void Dial::start(Done done) {
  done_ = std::move(done);
  waiting_ = true;
  const auto parsed = parse_host_port(options_.address);
  if (!parsed) {
    finish(std::unexpected(parsed.error()));
    return;
  }
  asio::error_code not_numeric;
  const auto numeric = asio::ip::make_address(parsed->host, not_numeric);
  arm_deadline(not_numeric ? kNameLimit : kConnectLimit);
  if (const std::size_t scope = parsed->host.find('%');
      !not_numeric && scope != std::string::npos &&
      !has_interface(parsed->host.substr(scope + 1))) {
    finish(fail(Errc::kUnreachable, "cannot connect to " + options_.address +
                                        ": this machine has no network interface '" +
                                        parsed->host.substr(scope + 1) + "'"));
  } else if (!not_numeric) {
    resolved({{numeric, parsed->port}});
  } else if (is_localhost(parsed->host)) {
    resolved({{asio::ip::address_v4::loopback(), parsed->port},
              {asio::ip::address_v6::loopback(), parsed->port}});
  } else {
    resolver_.async_resolve(
        parsed->host, std::to_string(parsed->port),
        [self = shared_from_this(), host = parsed->host](
            asio::error_code ec, const tcp::resolver::results_type& results) {
          if (!self->waiting_) return;  // the deadline came first
          if (ec) {
            self->finish(
                fail(Errc::kUnreachable, "cannot resolve " + host + ": " + resolver_error(ec)));
            return;
          }
          std::vector<tcp::endpoint> found;
          for (const auto& result : results) found.push_back(result.endpoint());
          self->resolved(found);
        });
  }
}

void Dial::resolved(const std::vector<tcp::endpoint>& found) {
  std::vector<Family> families;
  for (const tcp::endpoint& endpoint : found) {
    if (options_.loopback_only && !endpoint.address().is_loopback()) continue;
    if (std::ranges::find(endpoints_, endpoint) != endpoints_.end()) continue;
    endpoints_.push_back(endpoint);
    families.push_back(endpoint.address().is_v6() ? Family::kV6 : Family::kV4);
  }
  if (endpoints_.empty()) {
    finish(fail(Errc::kRefused,
                options_.address +
                    " is on another machine, and this node has no cluster key: on the machine that "
                    "has the key run `shardswarm key export`, and here `shardswarm key import` (or "
                    "copy ~/.config/shardswarm/cluster.key from there); --insecure does without "
                    "one on a network that you trust"));
    return;
  }
  race_ = DialRace(families);
  arm_deadline(kConnectLimit);  // in place of the one for the name: a slow resolver is no dead host
  advance();
}

void Dial::arm_deadline(std::chrono::seconds limit) {
  ++round_;
  limit_ = limit;
  deadline_.expires_after(limit);
  deadline_.async_wait([self = shared_from_this(), round = round_](asio::error_code ec) {
    if (ec || self->is_stale(round)) return;
    const std::string limit_text = std::to_string(self->limit_.count()) + " s";
    if (self->endpoints_.empty()) {
      self->resolver_.cancel();
      self->finish(fail(Errc::kUnreachable,
                        "cannot resolve " + self->options_.address + ": waited " + limit_text +
                            " for the resolver, which looks names up one after the other: check "
                            "/etc/resolv.conf and the network"));
      return;
    }
    for (const auto& [index, socket] : self->attempts_) {
      self->failures_[index] = {Errc::kUnreachable, "no answer in " + limit_text};
    }
    self->finish(std::unexpected(self->failure()));
  });
}

// Begins what is due, and looks again when something will be.
void Dial::advance() {
  while (const auto index = race_.take_due(now())) attempt(*index);
  if (race_.lost()) {
    finish(std::unexpected(failure()));
    return;
  }
  const auto due = race_.next_due();
  if (!due) return;
  next_attempt_.expires_at(std::chrono::steady_clock::time_point(*due));
  next_attempt_.async_wait([self = shared_from_this(), round = round_](asio::error_code ec) {
    if (!ec && !self->is_stale(round)) self->advance();
  });
}

void Dial::attempt(std::size_t index) {
  const tcp::endpoint& endpoint = endpoints_[index];
  const auto socket = std::make_shared<tcp::socket>(io_);
  asio::error_code ec;
  socket->open(endpoint.protocol(), ec);
  if (ec) {
    failures_[index] = {Errc::kUnreachable, ec.message()};
    race_.failed(index, now());
    return;
  }
  congestion_.dialing(socket->native_handle(), endpoint.address());
  attempts_[index] = socket;
  socket->async_connect(endpoint, [self = shared_from_this(), socket, index](asio::error_code why) {
    const auto it = self->attempts_.find(index);
    if (it == self->attempts_.end() || it->second != socket) return;  // given up
    self->attempted(index, why);
  });
}

void Dial::attempted(std::size_t index, asio::error_code ec) {
  auto socket = std::move(attempts_.extract(index).mapped());
  if (ec) {
    failures_[index] = {Errc::kUnreachable, connect_error(ec, endpoints_[index].address())};
    race_.failed(index, now());
    advance();
    return;
  }
  race_.won(index);
  connected_ = index;
  finish(std::move(*socket));
}

void Dial::finish(Result<tcp::socket> result) {
  deadline_.cancel();
  next_attempt_.cancel();
  for (const auto& [index, socket] : attempts_) {
    asio::error_code ignored;
    socket->close(ignored);
  }
  attempts_.clear();
  waiting_ = false;
  done_(std::move(result));
}

bool Dial::try_others(const Error& why) {
  if (connected_) failures_[*connected_] = why;
  if (race_.lost()) return false;
  waiting_ = true;
  arm_deadline(kConnectLimit);
  advance();
  return true;
}

Error Dial::failure() const {
  const auto refused = [](const auto& failed) {
    return failed.second.code == Errc::kRefused || failed.second.code == Errc::kVersion;
  };
  Error failure{Errc::kUnreachable, "cannot connect to " + options_.address + ": "};
  if (!failures_.empty() && std::ranges::all_of(failures_, refused)) {
    failure = {failures_.rbegin()->second.code, options_.address + ": "};
  }
  const bool several = endpoints_.size() > 1;
  bool first = true;
  for (const auto& [index, why] : failures_) {
    if (!std::exchange(first, false)) failure.message += "; ";
    if (several) failure.message += endpoints_[index].address().to_string() + ": ";
    failure.message += why.message;
  }
  return failure;
}

}  // namespace shardswarm
