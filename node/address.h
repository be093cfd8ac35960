// "host:port" texts: "10.0.0.1:7000", "node7:7000", "[::1]:7000".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "piece/error.h"

namespace shardswarm {

struct HostPort {
  std::string host;  // without brackets; empty means every address when listening
  std::uint16_t port = 0;
};

// kUsage, saying what an address looks like.
Result<HostPort> parse_host_port(std::string_view text);
std::string join_host_port(std::string_view host, std::uint16_t port);  // brackets IPv6

// Whether it is an IP address with a port, and so needs no name to be resolved.
bool is_numeric_address(std::string_view text);

// Addresses of this machine that others may dial: of interfaces that are up, without link-local
// ones; loopback only if there is nothing else. IPv4 first.
std::vector<std::string> usable_addresses();

}  // namespace shardswarm
