// Connections that come, stand and go. Which of them, when there are too many or too few:
// neighbourhood_choice.cc.
#include "swarm/neighbourhood.h"

#include <algorithm>
#include <utility>

#include "base/address.h"
#include "swarm/context.h"

namespace shardswarm {
namespace {

constexpr Duration kVisitMax = std::chrono::seconds(2);

// "host" of "host:port" or "[v6]:port".
std::string host_of(const std::string& address) { return address.substr(0, address.rfind(':')); }

}  // namespace

bool is_neighbour(const Link& link) {
  return link.hello && !link.closing && !link.neighbour.visiting();
}

std::string name_of(const Link& link) {
  const auto& told = link.neighbour.told_addresses();
  return link.dialed || told.empty() ? link.address : told.front();
}

Time NeighbourRecord::visit_ends() const { return ready_at_ + kVisitMax; }

// --- addresses ---

void Neighbourhood::add_node(const std::vector<std::string>& addresses, Time now) {
  for (const std::string& address : addresses) {
    addresses_.add_given(address, now, next_given_node_);
  }
  ++next_given_node_;
}

void Neighbourhood::add_learned(const std::string& address, const NodeId& teller, bool near,
                                Time now) {
  addresses_.add_learned(address, teller, near, now);
}

void Neighbourhood::dial_failed(const std::string& address, Error error, Time now) {
  context_.out.log(error.message);
  addresses_.failed(address, std::move(error), now);
}

// --- it begins ---

bool Neighbourhood::added(Link& link) {
  if (link.dialed) link.neighbour.dialed_addresses_.push_back(link.address);
  if (!link.authenticated || !banned_.contains(*link.authenticated)) return true;
  context_.links.close(link, CloseReason::kBadData, "this node sent bad data before");
  return false;
}

// Of two connections between the same nodes both ends keep the one whose dialer has the smaller id,
// so that they agree without asking. Whether it is this one, or there is no other.
bool Neighbourhood::keep_one(Link& link, const NodeId& node, Time now) {
  const auto other = link_by_node_.find(node);
  if (other == link_by_node_.end()) return true;
  const NodeId& own = context_.options.hello.node_id;
  Link& old = *context_.links.find(other->second);
  const NodeId& old_dialer = old.dialed ? own : node;
  const NodeId& new_dialer = link.dialed ? own : node;
  Link& loser = old.closing || new_dialer < old_dialer ? old : link;
  Link& winner = &loser == &old ? link : old;
  for (std::string& address : loser.neighbour.dialed_addresses_) {
    addresses_.connected(address, now);
    winner.neighbour.dialed_addresses_.push_back(std::move(address));
  }
  loser.neighbour.dialed_addresses_.clear();
  context_.links.close(loser, CloseReason::kDuplicate, "another connection to this node stands");
  return &winner == &link;
}

bool Neighbourhood::greeted(Link& link, Hello hello, Time now) {
  const NodeId node = hello.node_id;
  if (banned_.contains(node)) {
    context_.links.close(link, CloseReason::kBadData, "this node sent bad data before");
    return false;
  }
  if (!keep_one(link, node, now)) return false;
  link.neighbour.near_ = hello.site == context_.options.hello.site;
  take_in(link, now);
  link_by_node_[node] = link.id;
  link.hello = std::move(hello);
  context_.links.count_neighbour(link);
  tell_addresses(link, now);
  context_.out.log("connected to " + link.address + " (" + to_hex(node).substr(0, 12) + ", " +
                   link.hello->agent + ")");
  if (link.neighbour.visiting_) remember(link, now);
  return true;
}

// Who has just said HELLO becomes a neighbour or, if there is no room, a visitor.
void Neighbourhood::take_in(Link& link, Time now) {
  const std::uint32_t degree = context_.options.degree;
  link.neighbour.ready_at_ = now;
  if (context_.links.neighbours() < most_neighbours(degree)) return;
  auto left = whom_to_leave(all(now), degree, context_.random);
  if (!left && link.dialed) left = spare();
  if (left) {
    leave(*context_.links.find(*left), now);
  } else {
    link.neighbour.visiting_ = true;
  }
}

void Neighbourhood::tell_addresses(Link& link, Time now) {
  NeighbourRecord& record = link.neighbour;
  for (const std::string& address : record.dialed_addresses_) addresses_.connected(address, now);
  const std::string host = host_of(link.address);
  if (!link.hello->advertised.empty()) {
    record.told_addresses_ = link.hello->advertised;
  } else if (link.dialed) {
    record.told_addresses_ = {link.address};
  } else if (link.hello->listen_port != 0) {
    record.told_addresses_ = {host + ":" + std::to_string(link.hello->listen_port)};
  }
  if (link.dialed) return;
  // Where it can be dialed is believed as far as it is the host that it came from.
  for (const std::string& address : record.told_addresses_) {
    if (host_of(address) == host && addresses_.came(address, now)) {
      record.dialed_addresses_.push_back(address);
    }
  }
}

// --- it ends ---

void Neighbourhood::never_again(const Link& link) {
  for (const std::string& address : link.neighbour.dialed_addresses_) addresses_.never(address);
}

void Neighbourhood::ban(Link& link, std::string_view why) {
  link.error = Error{Errc::kCorrupt, std::string(why)};
  context_.out.warn("peer " + link.address + " is banned: " + std::string(why));
  if (link.hello) banned_.insert(link.hello->node_id);
  never_again(link);
  context_.links.close(link, CloseReason::kBadData, why);
}

void Neighbourhood::closed_by_peer(Link& link, CloseReason reason, Time now) {
  if (reason == CloseReason::kSelf || reason == CloseReason::kBadData) never_again(link);
  // A full peer is no error: it has told of others, and is tried again later.
  if (reason != CloseReason::kOverload) return;
  context_.out.log(link.address + " is full");
  full(link, now);
}

void Neighbourhood::full(Link& link, Time now) {
  for (const std::string& address : link.neighbour.dialed_addresses_) {
    addresses_.full(address, now, context_.random);
  }
  link.neighbour.dialed_addresses_.clear();
}

void Neighbourhood::leave(Link& link, Time now) {
  remember(link, now);
  full(link, now);
  context_.links.close(link, CloseReason::kOverload, "others need the connection more");
}

void Neighbourhood::remember(const Link& link, Time now) {
  const auto& told = link.neighbour.told_addresses_;
  if (told.empty()) return;
  acquaintances_.met(
      {.id = link.hello->node_id, .address = told.front(), .site = site_tag(link.hello->site)},
      now);
}

void Neighbourhood::end_visit(Link& link, Time now) {
  const NeighbourRecord& record = link.neighbour;
  if (!record.visiting_ || link.closing) return;
  if (record.told_ || now >= record.visit_ends()) leave(link, now);
}

void Neighbourhood::removed(Link& link, const std::string& why, Time now) {
  for (const std::string& address : link.neighbour.dialed_addresses_) {
    if (link.hello) {
      addresses_.disconnected(address, now);
    } else {
      const Errc code = link.error ? link.error->code : Errc::kUnreachable;
      std::string failure = address;
      failure.append(": ").append(why);
      addresses_.failed(address, {code, std::move(failure)}, now);
    }
  }
  if (!link.hello) return;
  const auto by_node = link_by_node_.find(link.hello->node_id);
  if (by_node != link_by_node_.end() && by_node->second == link.id) link_by_node_.erase(by_node);
}

}  // namespace shardswarm
