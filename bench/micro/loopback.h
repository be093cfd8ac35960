// A TCP connection of this process with itself, both ends non-blocking.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>

#include "base/file.h"

namespace shardswarm {

struct LoopbackPair {
  Fd dialed;
  Fd accepted;
};

inline std::optional<LoopbackPair> loopback_pair() {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), plain, size) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), plain, &size) != 0) {
    return std::nullopt;
  }
  LoopbackPair pair;
  pair.dialed = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(pair.dialed.get(), plain, size) != 0) return std::nullopt;
  pair.accepted = Fd(::accept(listener.get(), nullptr, nullptr));
  for (const Fd* fd : {&pair.dialed, &pair.accepted}) {
    if (::fcntl(fd->get(), F_SETFL, O_NONBLOCK) != 0) return std::nullopt;
  }
  return pair;
}

}  // namespace shardswarm
