#include <algorithm>

#include "node/address.h"
#include "node/shardswarm.h"

namespace shardswarm {
namespace {

constexpr std::string_view kScheme = "shardswarm:";

std::unexpected<Error> bad(std::string_view why) {
  return fail(Errc::kUsage, "this is no ticket (" + std::string(why) +
                                "): a ticket is shardswarm:<64 hex digits>?peer=HOST:PORT, as "
                                "`shardswarm seed` prints it");
}

}  // namespace

Result<Ticket> Ticket::parse(std::string_view text) {
  Ticket ticket;
  if (text.starts_with(kScheme)) text.remove_prefix(kScheme.size());
  const std::size_t question = text.find('?');
  const auto id = digest_from_hex(text.substr(0, question));
  if (!id) return bad("no id of 64 hex digits");
  ticket.id = *id;
  if (question == std::string_view::npos) return ticket;
  std::string_view query = text.substr(question + 1);
  while (true) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view part = query.substr(0, end);
    if (!part.starts_with("peer=")) return bad("'" + std::string(part) + "' is not peer=HOST:PORT");
    const std::string_view address = part.substr(5);
    const auto parsed = parse_host_port(address);
    if (!parsed || parsed->host.empty() || parsed->port == 0) {
      return bad("'" + std::string(address) + "' is no HOST:PORT");
    }
    ticket.peers.emplace_back(address);
    if (end == query.size()) return ticket;
    query.remove_prefix(end + 1);
  }
}

std::string Ticket::to_string() const {
  std::string text = std::string(kScheme) + to_hex(id);
  char separator = '?';
  for (const std::string& peer : peers) {
    text += separator;
    text += "peer=" + peer;
    separator = '&';
  }
  return text;
}

}  // namespace shardswarm
