#include "transport/congestion.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/file.h"

namespace shardswarm {
namespace {

#ifdef TCP_CONGESTION

constexpr std::size_t kNameBytesMax = 16;  // TCP_CA_NAME_MAX of the kernel

bool set(int socket, const std::string& name) {
  return ::setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name.data(),
                      static_cast<socklen_t>(name.size())) == 0;
}

std::string get(int socket) {
  std::string name(kNameBytesMax, '\0');
  auto length = static_cast<socklen_t>(name.size());
  if (::getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name.data(), &length) != 0) return {};
  return name.substr(0, name.find('\0'));
}

#endif

}  // namespace

bool on_local_network(const asio::ip::address& address) {
  if (address.is_v6()) {
    const auto v6 = address.to_v6();
    if (v6.is_v4_mapped()) {
      return on_local_network(asio::ip::make_address_v4(asio::ip::v4_mapped, v6));
    }
    const bool unique_local = (v6.to_bytes()[0] & 0xfe) == 0xfc;
    return v6.is_loopback() || v6.is_link_local() || unique_local;
  }
  const auto v4 = address.to_v4().to_uint();
  const auto within = [v4](std::uint32_t network, int bits) {
    return v4 >> (32 - bits) == network >> (32 - bits);
  };
  return within(0x7f000000, 8) || within(0x0a000000, 8) || within(0xac100000, 12) ||
         within(0xc0a80000, 16) || within(0xa9fe0000, 16);
}

Result<Congestion> Congestion::make(const std::string& name) {
  Congestion congestion;
  if (name == "system") return congestion;
#ifdef TCP_CONGESTION
  const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string systems = get(probe.get());
  if (!name.empty()) {
    if (!set(probe.get(), name)) {
      return fail(Errc::kUsage, "the kernel does not give us congestion control '" + name +
                                    "': without root it has what "
                                    "/proc/sys/net/ipv4/tcp_allowed_congestion_control lists");
    }
    congestion.near_ = congestion.beyond_ = name;
  } else if (systems.starts_with("bbr")) {
    for (const char* other : {"cubic", "reno"}) {
      if (!set(probe.get(), other)) continue;
      congestion.near_ = other;
      congestion.beyond_ = systems;
      break;
    }
  }
  return congestion;
#else
  if (name.empty()) return congestion;
  return fail(Errc::kUsage, "congestion control cannot be chosen on this system");
#endif
}

void Congestion::listening([[maybe_unused]] int socket) const {
#ifdef TCP_CONGESTION
  if (!near_.empty()) set(socket, near_);
#endif
}

void Congestion::accepted([[maybe_unused]] int socket,
                          [[maybe_unused]] const asio::ip::address& peer) const {
#ifdef TCP_CONGESTION
  if (near_ != beyond_ && !on_local_network(peer)) set(socket, beyond_);
#endif
}

void Congestion::dialing([[maybe_unused]] int socket,
                         [[maybe_unused]] const asio::ip::address& peer) const {
#ifdef TCP_CONGESTION
  if (!near_.empty() && (near_ == beyond_ || on_local_network(peer))) set(socket, near_);
#endif
}

}  // namespace shardswarm
