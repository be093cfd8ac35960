#include <algorithm>

#include "base/address.h"
#include "base/text.h"
#include "node/shardswarm.h"

namespace shardswarm {
namespace {

constexpr std::string_view kScheme = "shardswarm:";
constexpr std::string_view kAuthority = "//";
constexpr std::string_view kPeer = "peer=";

std::unexpected<Error> bad(std::string_view why) {
  return fail(Errc::kUsage, "this is not a ticket (" + std::string(why) +
                                "): a ticket is shardswarm://HOST:PORT/<64 hex digits>, as "
                                "`shardswarm seed` prints it");
}

Result<void> add_peer(Ticket& ticket, std::string_view text) {
  auto address = parse_dialable(text);
  if (!address) return std::unexpected(address.error());
  if (ticket.peers.size() == kAddressesMax) {
    return fail(Errc::kUsage, "it has more than " + std::to_string(kAddressesMax) + " addresses");
  }
  ticket.peers.push_back(std::move(*address));
  return {};
}

// Calls `take` with each part of `list`, until one fails.
template <class Take>
Result<void> each_part(std::string_view list, char separator, Take take) {
  while (true) {
    const std::size_t end = std::min(list.find(separator), list.size());
    if (auto taken = take(list.substr(0, end)); !taken) return taken;
    if (end == list.size()) return {};
    list.remove_prefix(end + 1);
  }
}

// HOST:PORT[,HOST:PORT...]/ID
Result<Ticket> parse_addresses_and_id(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return bad("there is no /ID behind the addresses");
  Ticket ticket;
  const auto id = digest_from_hex(text.substr(slash + 1));
  if (!id) return bad("there is no id of 64 hex digits behind the addresses");
  ticket.id = *id;
  if (slash == 0) return ticket;
  const auto added = each_part(text.substr(0, slash), ',',
                               [&](std::string_view part) { return add_peer(ticket, part); });
  if (!added) return bad(added.error().message);
  return ticket;
}

// ID or ID?peer=HOST:PORT[&peer=HOST:PORT...]: tickets of the first releases, and bare ids.
Result<Ticket> parse_id_and_peers(std::string_view text) {
  Ticket ticket;
  const std::size_t question = text.find('?');
  const auto id = digest_from_hex(text.substr(0, question));
  if (!id) return bad("there is no id of 64 hex digits");
  ticket.id = *id;
  if (question == std::string_view::npos) return ticket;
  const auto added =
      each_part(text.substr(question + 1), '&', [&](std::string_view part) -> Result<void> {
        if (part.starts_with(kPeer)) return add_peer(ticket, part.substr(kPeer.size()));
        return fail(Errc::kUsage, shown(part) + " is not peer=HOST:PORT");
      });
  if (!added) return bad(added.error().message);
  return ticket;
}

// The brackets of IPv6 addresses are patterns to shells: unquoted, zsh would find "no matches".
std::string without_brackets(const std::string& address) {
  if (!address.starts_with('[')) return address;
  const std::size_t close = address.find(']');
  return "%5B" + address.substr(1, close - 1) + "%5D" + address.substr(close + 1);
}

}  // namespace

Result<Ticket> Ticket::parse(std::string_view text) {
  text = trimmed(text);
  const bool scheme = text.starts_with(kScheme);
  if (scheme) text.remove_prefix(kScheme.size());
  if (scheme && text.starts_with(kAuthority)) {
    return parse_addresses_and_id(text.substr(kAuthority.size()));
  }
  return parse_id_and_peers(text);
}

std::string Ticket::to_string() const {
  std::string text(kScheme);
  text += kAuthority;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    if (i > 0) text += ',';
    text += without_brackets(peers[i]);
  }
  return text + '/' + to_hex(id);
}

Result<std::vector<std::string>> peer_addresses(std::string_view text, const ModelId& id) {
  const std::string_view peer = trimmed(text);
  if (peer.find_first_of("/?") == std::string_view::npos) {
    auto address = parse_dialable(peer);
    if (!address) return std::unexpected(address.error());
    return std::vector{std::move(*address)};
  }
  auto ticket = peer.starts_with(kScheme) ? Ticket::parse(peer) : parse_addresses_and_id(peer);
  if (!ticket) return std::unexpected(ticket.error());
  if (ticket->id != id) {
    return fail(Errc::kUsage, "--peer names a ticket of model " + to_hex(ticket->id) +
                                  ", but what is asked for is model " + to_hex(id));
  }
  if (ticket->peers.empty()) return fail(Errc::kUsage, "--peer names a ticket without addresses");
  return std::move(ticket->peers);
}

}  // namespace shardswarm
