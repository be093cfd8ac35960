// With whom a node is connected: whom to dial, to take, to leave, and to refuse. The rules stand in
// swarm/neighbours.h.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "piece/digest.h"
#include "swarm/actions.h"
#include "swarm/address_book.h"
#include "swarm/neighbours.h"
#include "wire/session.h"

namespace shardswarm {

struct Context;
struct Link;
struct Model;

// Of a connection.
class NeighbourRecord {
 public:
  bool near() const { return near_; }  // of our own site
  // There is no room for it: it is told of others and sent away.
  bool visiting() const { return visiting_; }
  void told() { told_ = true; }  // a visitor knows of others now
  Time visit_ends() const;
  // Where others can dial it.
  const std::vector<std::string>& told_addresses() const { return told_addresses_; }

 private:
  friend class Neighbourhood;
  friend class Links;
  std::vector<std::string> dialed_addresses_;  // of the book; more than one after a duplicate
  std::vector<std::string> told_addresses_;
  bool near_ = true;
  bool counted_ = false;  // as a neighbour, by Links
  bool visiting_ = false;
  bool told_ = false;
  Time ready_at_{};  // when HELLO came
};

// It has said HELLO, is not closing and is no visitor.
bool is_neighbour(const Link& link);
// How people know the node at the other end.
std::string name_of(const Link& link);

class Neighbourhood {
 public:
  explicit Neighbourhood(Context& context) : context_(context) {}

  // Addresses to dial, all of one node.
  void add_node(const std::vector<std::string>& addresses, Time now);
  void add_learned(const std::string& address, const NodeId& teller, bool near, Time now);
  void dial_failed(const std::string& address, Error error, Time now);

  // A new connection. False: its node is banned, and it is closed.
  bool added(Link& link);
  // HELLO came: it becomes a neighbour, a visitor, or is closed as one that is not wanted. Whether
  // it stands.
  bool greeted(Link& link, Hello hello, Time now);
  // The peer said CLOSE.
  void closed_by_peer(Link& link, CloseReason reason, Time now);
  // It is ourselves at the other end, or one that must not be dialed again.
  void never_again(const Link& link);
  // It sent what is wrong: this node is not taken again.
  void ban(Link& link, std::string_view why);
  // The connection is gone. `why` it ended.
  void removed(Link& link, const std::string& why, Time now);
  bool has_node(const NodeId& node) const { return link_by_node_.contains(node); }

  // The fetches changed, or which peers have their models.
  void reconsider() { changed_ = true; }
  void dial_due(Time now);
  // A fetch whose neighbours have nothing for it looks for others, one at a time; so does one that
  // has too few near neighbours and knows of others.
  void choose_again(Time now);
  void end_visit(Link& link, Time now);
  std::optional<Time> next_dial() const;
  std::optional<Time> next_choice() const { return rechoose_due_; }

  const AddressBook& addresses() const { return addresses_; }
  const Acquaintances& acquaintances() const { return acquaintances_; }

 private:
  bool keep_one(Link& link, const NodeId& node, Time now);
  void take_in(Link& link, Time now);
  void tell_addresses(Link& link, Time now);
  std::size_t share_of_fetch() const;
  std::size_t neighbours_of(const Model& model) const;
  std::size_t missing() const;
  std::size_t dials_most() const;
  std::size_t near_missing() const;
  std::optional<ConnectionId> spare();
  std::vector<Neighbour> all(Time now) const;
  bool has_for_us(const Link& link, const Model& model) const;
  bool has_for_us(const Link& link) const;
  bool starved(const Model& model) const;
  bool wants_of_us(const Link& link) const;
  void leave(Link& link, Time now);
  void remember(const Link& link, Time now);
  void full(Link& link, Time now);

  Context& context_;
  AddressBook addresses_;
  Acquaintances acquaintances_;
  std::map<NodeId, ConnectionId> link_by_node_;
  std::set<NodeId> banned_;
  std::uint32_t next_given_node_ = 1;
  bool changed_ = true;  // missing_ is out of date
  std::size_t missing_ = 0;
  Time dial_for_few_due_{};
  std::optional<Time> rechoose_due_;
};

}  // namespace shardswarm
