// TCP's congestion control, by where the peer is.
//
// The system's, but on a local network where that is BBR: it paces by timers, which over loopback
// cost a sender a third of its processor time, and where many connections share a link with a short
// queue it lets the link run empty for seconds (8 hosts at 200 Mbit/s, all to all: up to 1.5 times
// as long). There CUBIC, or Reno where we may not have that. Figures: docs/data-path.md.
#pragma once

#include <asio/ip/address.hpp>
#include <string>

#include "base/error.h"

namespace shardswarm {

// Addresses of this machine and of private networks: loopback, link-local, RFC 1918, RFC 4193.
bool on_local_network(const asio::ip::address& address);

class Congestion {
 public:
  // `name`: one that the kernel knows, for all peers; "system": leaves it alone; empty: as above.
  // kUsage if the kernel does not have it or does not let us.
  static Result<Congestion> make(const std::string& name);

  // Of a socket before listen(): accepted ones begin with it.
  void listening(int socket) const;
  void accepted(int socket, const asio::ip::address& peer) const;
  // Before connect(). Sooner is what matters: a connection that began with BBR goes on pacing with
  // whatever it is given later.
  void dialing(int socket, const asio::ip::address& peer) const;

 private:
  std::string near_;    // empty: not to be touched
  std::string beyond_;  // the system's, where the listener's is another
};

}  // namespace shardswarm
