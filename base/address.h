// Addresses of nodes as text: "10.0.0.1:17976", "node7:17976", "[fd00::1]:17976".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace shardswarm {

// A node listens on the first free port of this range when nobody names one, so that one firewall
// rule holds for all nodes of a machine. IANA has assigned nothing between 17778 and 17999, the
// range lies below the ports that Linux (from 32768) and IANA (from 49152) give to outgoing
// connections, and 7976 is SWRM on a telephone's keypad.
inline constexpr std::uint16_t kDefaultPort = 17976;
inline constexpr std::uint16_t kDefaultPortLast = 17991;

// What a ticket, and the addresses that a node tells others, have at most.
inline constexpr std::size_t kAddressesMax = 16;

struct HostPort {
  std::string host;  // without brackets; empty means every address when listening
  std::uint16_t port = 0;
};

// An address as a person writes it: the port may be missing.
struct TypedAddress {
  std::string host;  // without brackets
  std::optional<std::uint16_t> port;
};

// HOST:PORT, as nodes tell each other. kUsage, saying what an address looks like.
Result<HostPort> parse_host_port(std::string_view text);
// HOST, HOST:PORT or :PORT. The brackets of an IPv6 address may be written %5B and %5D, as tickets
// have them (spec/ticket.md). kUsage.
Result<TypedAddress> parse_typed_address(std::string_view text);
// The same as HOST:PORT that can be dialed: kDefaultPort where there is no port. kUsage for what
// nobody can dial: no host, port 0, a wildcard, a multicast or broadcast address.
Result<std::string> parse_dialable(std::string_view text);

std::string join_host_port(std::string_view host, std::uint16_t port);  // brackets IPv6

enum class HostKind : std::uint8_t {
  kName,          // has to be resolved
  kWildcard,      // 0.0.0.0 and ::, in all their spellings
  kLoopback,      // 127.0.0.0/8, ::1, and the name localhost
  kLinkLocal,     // fe80::/10: to dial one, a machine must name the interface of its own
  kManyMachines,  // multicast and broadcast
  kUnicast,
};
HostKind kind_of_host(std::string_view host);
// The name localhost. It is not looked up (RFC 6761): a hosts file may know one of 127.0.0.1 and
// ::1 only.
bool is_localhost(std::string_view host);

// What one machine can have many addresses of: of an IPv6 address in brackets its first 64 bits and
// the interface; any other host is returned as it is.
std::string network_of(std::string_view host);

// Whether it is an IP address with a port, and so needs no name to be resolved.
bool is_numeric_address(std::string_view text);

}  // namespace shardswarm
