// The listening sockets of a node: where it listens, what others are told of it, and what the
// operator should know about that.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "node/congestion.h"
#include "piece/error.h"

namespace shardswarm {

// Several sockets with one port: an IPv6 socket takes IPv6 alone, so that addresses of peers are
// what they seem. Movable; network thread only, once it runs.
class Listener {
 public:
  struct Options {
    // HOST:PORT, HOST or :PORT; empty for neither.
    //   - No host: all addresses of both families; on loopback alone with `loopback_only`.
    //   - "[::]": all addresses of both families. "0.0.0.0": all of IPv4.
    //   - A name: all its addresses that this machine has.
    //   - No port: the first free one from kDefaultPort to kDefaultPortLast, else any. Port 0: any.
    std::string listen;
    bool loopback_only = false;  // neither a key nor permission to do without
    // Leaves kDefaultPort to seeds, whose tickets are kept: for a node that only fetches.
    bool leave_default_port = false;
    std::vector<std::string> advertise;  // HOST or HOST:PORT; HOST alone: with the port listened on
  };

  // kUsage: an address that makes no sense, that is not to be listened on without a key, or that
  // nobody could dial. kIo and kPermission: what the system says of the socket, as "in use".
  static Result<Listener> open(asio::io_context& io, const Options& options,
                               const Congestion& congestion);

  std::list<asio::ip::tcp::acceptor>& acceptors() { return acceptors_; }
  void close();

  std::uint16_t port() const { return port_; }
  // HOST:PORT, as told to others: advertised, else what is listened on, else for a wildcard every
  // usable address of the machine. IPv4 first; at most kAddressesMax.
  const std::vector<std::string>& addresses() const { return addresses_; }
  // Sentences for the operator, each with the next step: the usual port is taken; nobody on another
  // machine can reach these addresses.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  Listener() = default;

  std::list<asio::ip::tcp::acceptor> acceptors_;
  std::uint16_t port_ = 0;
  std::vector<std::string> addresses_;
  std::vector<std::string> notes_;
};

// Whether these can be told to others as addresses of a node. kUsage, with the address and why not.
Result<void> check_advertised(const std::vector<std::string>& addresses);

}  // namespace shardswarm
