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

#include "base/address.h"
#include "base/error.h"
#include "transport/congestion.h"

namespace shardswarm {

// It has several sockets, all on one port. An IPv6 socket takes no IPv4 connections: their peers'
// addresses would be shown as IPv6 addresses ("::ffff:10.0.0.1"). Movable; it is used by the
// network thread only, once that runs.
class Listener {
 public:
  struct Options {
    // HOST:PORT, HOST or :PORT; empty for neither.
    //   - No host: all addresses of both families; on loopback alone with `loopback_only`.
    //   - "[::]": all addresses of both families. "0.0.0.0": all of IPv4.
    //   - A name: all its addresses that this machine has.
    //   - No port: the first free one from `first_port` to `last_port`, else any. Port 0: any.
    std::string listen;
    bool loopback_only = false;  // neither a key nor permission to do without
    // Leaves `first_port` to seeds, whose tickets are kept: for a node that only fetches.
    bool leave_default_port = false;
    // The usual ports. Tests name others, which no node on the same machine takes meanwhile.
    std::uint16_t first_port = kDefaultPort;
    std::uint16_t last_port = kDefaultPortLast;
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
  // Sentences for the operator. They say that the usual port is taken, that nobody on another
  // machine can reach these addresses and what to do, or which address is not told to others.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  Listener() = default;

  std::list<asio::ip::tcp::acceptor> acceptors_;
  std::uint16_t port_ = 0;
  std::vector<std::string> addresses_;
  std::vector<std::string> notes_;
};

std::string text_of(const asio::ip::tcp::endpoint& endpoint);  // HOST:PORT

// Whether these can be told to others as addresses of a node. kUsage, with the address and why not.
Result<void> check_advertised(const std::vector<std::string>& addresses);

}  // namespace shardswarm
