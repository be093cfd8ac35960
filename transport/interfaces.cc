#include "transport/interfaces.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/address.h"

namespace shardswarm {

std::vector<std::string> usable_addresses() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  std::vector<std::string> v4;
  std::vector<std::string> v6;
  std::vector<std::string> loopback;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0) continue;
    const int family = at->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const void* bytes = family == AF_INET
                            ? static_cast<const void*>(
                                  &reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr)
                            : &reinterpret_cast<const sockaddr_in6*>(at->ifa_addr)->sin6_addr;
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(family, bytes, text.data(), text.size());
    const HostKind kind = kind_of_host(text.data());
    if (kind == HostKind::kLinkLocal) continue;
    // Addresses of the loopback interface beyond 127.0.0.0/8 are the machine's own: routers of
    // data centres announce them.
    if (kind == HostKind::kLoopback) {
      loopback.emplace_back(text.data());
    } else {
      (family == AF_INET ? v4 : v6).emplace_back(text.data());
    }
  }
  std::vector<std::string> usable = some_of_both(std::move(v4), std::move(v6));
  if (!usable.empty()) return usable;
  if (loopback.size() > kAddressesMax) loopback.resize(kAddressesMax);
  return loopback;
}

std::vector<std::string> some_of_both(std::vector<std::string> v4, std::vector<std::string> v6) {
  const std::size_t left = kAddressesMax - std::min(kAddressesMax, v4.size());
  v6.resize(std::min(v6.size(), std::max(kAddressesMax / 2, left)));
  v4.resize(std::min(v4.size(), kAddressesMax - v6.size()));
  v4.insert(v4.end(), v6.begin(), v6.end());
  return v4;
}

}  // namespace shardswarm
