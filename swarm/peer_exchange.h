// Peer exchange: what a node tells others of the nodes that it knows, and what it takes from what
// they tell (PEERS).
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <vector>

#include "base/time.h"
#include "piece/digest.h"
#include "wire/session.h"

namespace shardswarm {

struct Context;
struct Link;
struct LinkModel;
struct Model;
class Neighbourhood;

// Of a model.
class ExchangeRecord {
 public:
  // The peers with it changed: all neighbours are told, when it is due.
  void peers_changed() { changed_ = true; }
  // A neighbour came that was not told yet.
  void newcomer() { newcomers_ = true; }
  // Of a fetch: who told of others that have to do with it.
  const std::set<NodeId>& tellers() const { return tellers_; }

 private:
  friend class PeerExchange;
  bool changed_ = false;
  bool newcomers_ = false;
  Time due_{};
  std::set<NodeId> tellers_;
};

class PeerExchange {
 public:
  PeerExchange(Context& context, Neighbourhood& neighbourhood)
      : context_(context), neighbourhood_(neighbourhood) {}

  // New neighbours are told at once, the others when it is due.
  void tell(Model& model, Time now);
  void tell_visitor(Link& link, const Model& model, Channel channel, Time now);
  // PEERS.
  void heard(Link& link, Model& model, const event::Peers& e, Time now);
  static std::optional<Time> next_deadline(const Model& model);

 private:
  std::vector<PeerAddress> known(const Model& model, std::size_t others, Time now);

  Context& context_;
  Neighbourhood& neighbourhood_;
};

}  // namespace shardswarm
