#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <utility>

#include "base/limits.h"
#include "base/text.h"

namespace shardswarm {
namespace {

constexpr std::size_t kShownBytesMax = 80;

std::unexpected<Error> bad_address(std::string_view text, std::string_view why) {
  const std::string shown = holds_key(text) ? "a key, which is not shown here,"
                                            : "'" + printable(text.substr(0, kShownBytesMax)) + "'";
  return fail(Errc::kUsage, shown + " " + std::string(why) +
                                ": write HOST:PORT, as 10.0.0.1:17976 or [fd00::1]:17976");
}

// The brackets as a ticket writes them, so that no shell takes them for a pattern.
std::string with_brackets(std::string_view text) {
  std::string plain(text);
  for (const auto& [escape, bracket] : std::to_array<std::pair<std::string_view, char>>(
           {{"%5B", '['}, {"%5b", '['}, {"%5D", ']'}, {"%5d", ']'}})) {
    for (std::size_t at = 0; (at = plain.find(escape, at)) != std::string::npos;) {
      plain.replace(at, escape.size(), 1, bracket);
    }
  }
  return plain;
}

bool is_letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// Only what names, numbers and interfaces are made of: `seed` prints a command with its addresses,
// and people paste it into shells without quotes (TICKET-4).
bool valid_host(std::string_view host, bool in_brackets) {
  const std::string_view others = in_brackets ? ".-_:%" : ".-_";
  return std::ranges::all_of(host, [others](char c) {
    return is_letter_or_digit(c) || others.find(c) != std::string_view::npos;
  });
}

HostKind kind_of_v4(std::uint32_t address) {
  if (address == 0) return HostKind::kWildcard;
  if (address >> 24 == 127) return HostKind::kLoopback;
  if (address >> 28 == 0xe || address == 0xffffffff) return HostKind::kManyMachines;
  return HostKind::kUnicast;
}

HostKind kind_of_v6(const in6_addr& address) {
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    const auto* bytes = static_cast<const std::uint8_t*>(address.s6_addr) + 12;
    return kind_of_v4(std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
                      std::uint32_t{bytes[2]} << 8 | bytes[3]);
  }
  if (IN6_IS_ADDR_UNSPECIFIED(&address)) return HostKind::kWildcard;
  if (IN6_IS_ADDR_LOOPBACK(&address)) return HostKind::kLoopback;
  if (IN6_IS_ADDR_LINKLOCAL(&address)) return HostKind::kLinkLocal;
  if (IN6_IS_ADDR_MULTICAST(&address)) return HostKind::kManyMachines;
  return HostKind::kUnicast;
}

}  // namespace

Result<TypedAddress> parse_typed_address(std::string_view text) {
  if (text.size() > limits::kAddressBytesMax) {
    return bad_address(text, "… is longer than an address can be");
  }
  const std::string plain = with_brackets(text);
  std::string_view host = plain;
  std::optional<std::string_view> port_text;
  const bool in_brackets = plain.starts_with('[');
  if (in_brackets) {
    const std::size_t close = plain.find(']');
    if (close == std::string::npos || close < 2) return bad_address(text, "is not an address");
    host = host.substr(1, close - 1);
    const std::string_view rest = std::string_view(plain).substr(close + 1);
    if (host.find(':') == std::string_view::npos || (!rest.empty() && rest.front() != ':')) {
      return bad_address(text, "is not an address");
    }
    if (!rest.empty()) port_text = rest.substr(1);
  } else if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
    port_text = host.substr(colon + 1);
    host = host.substr(0, colon);
    if (port_text->find(':') != std::string_view::npos) {
      return bad_address(text, "is not an address (an IPv6 address stands in brackets)");
    }
  }
  if (!valid_host(host, in_brackets) || (host.empty() && !port_text)) {
    return bad_address(text, "is not an address");
  }
  TypedAddress typed{.host = std::string(host), .port = std::nullopt};
  if (port_text) {
    std::uint16_t port = 0;
    const char* end = port_text->data() + port_text->size();
    const auto parsed = std::from_chars(port_text->data(), end, port);
    if (parsed.ec != std::errc{} || parsed.ptr != end) {
      return bad_address(text, "has no port between 0 and 65535");
    }
    typed.port = port;
  }
  return typed;
}

Result<HostPort> parse_host_port(std::string_view text) {
  auto typed = parse_typed_address(text);
  if (!typed) return std::unexpected(typed.error());
  if (!typed->port) return bad_address(text, "has no port");
  return HostPort{std::move(typed->host), *typed->port};
}

Result<std::string> parse_dialable(std::string_view text) {
  const auto typed = parse_typed_address(text);
  if (!typed) return std::unexpected(typed.error());
  if (typed->host.empty()) return bad_address(text, "names no host");
  if (typed->port == 0) return bad_address(text, "has port 0, which nobody can dial");
  switch (kind_of_host(typed->host)) {
    case HostKind::kWildcard:
      return bad_address(text, "means every address of a machine, and nobody can dial that");
    case HostKind::kManyMachines:
      return bad_address(text, "is a multicast or broadcast address, and nobody can dial that");
    default:
      return join_host_port(typed->host, typed->port.value_or(kDefaultPort));
  }
}

std::string join_host_port(std::string_view host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string_view::npos;
  return (v6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + std::to_string(port);
}

HostKind kind_of_host(std::string_view host) {
  const std::string name(host.substr(0, host.find('%')));  // without an IPv6 address's interface
  in6_addr v6{};
  if (::inet_pton(AF_INET6, name.c_str(), &v6) == 1) return kind_of_v6(v6);
  // inet_aton takes what resolvers take for a number, too: "0", "127.1", "0x7f000001".
  in_addr v4{};
  if (::inet_aton(name.c_str(), &v4) == 1) return kind_of_v4(ntohl(v4.s_addr));
  return is_localhost(name) ? HostKind::kLoopback : HostKind::kName;
}

bool is_localhost(std::string_view host) {
  constexpr std::string_view kName = "localhost";
  if (host.ends_with('.')) host.remove_suffix(1);
  return std::ranges::equal(host, kName, [](char a, char b) { return (a | 0x20) == b; });
}

std::string network_of(std::string_view host) {
  if (!host.starts_with('[') || !host.ends_with(']')) return std::string(host);
  const std::string_view number = host.substr(1, host.size() - 2);
  const std::size_t interface = std::min(number.find('%'), number.size());
  in6_addr v6{};
  if (::inet_pton(AF_INET6, std::string(number.substr(0, interface)).c_str(), &v6) != 1) {
    return std::string(host);
  }
  std::ranges::fill(std::span(v6.s6_addr).subspan(8), std::uint8_t{0});
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET6, &v6, text.data(), text.size());
  return std::string(text.data()) + "/64" + std::string(number.substr(interface));
}

bool is_numeric_address(std::string_view text) {
  const auto parsed = parse_host_port(text);
  if (!parsed) return false;
  in6_addr scratch{};
  return ::inet_pton(AF_INET, parsed->host.c_str(), &scratch) == 1 ||
         ::inet_pton(AF_INET6, parsed->host.c_str(), &scratch) == 1;
}

}  // namespace shardswarm
