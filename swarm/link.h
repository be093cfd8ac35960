// A connection, as a node's core remembers it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "piece/digest.h"
#include "swarm/actions.h"
#include "swarm/downlink.h"
#include "swarm/liveness.h"
#include "swarm/named_budget.h"
#include "swarm/neighbourhood.h"
#include "swarm/rate_gate.h"
#include "swarm/uplink.h"
#include "wire/session.h"

namespace shardswarm {

struct PeerTally;

// A model on a connection: one side has opened it, at least.
struct LinkModel {
  Channel channel;
  bool introduced = false;     // it is in the schedulers, HAVE and WANT were sent
  PeerTally* tally = nullptr;  // in Model::tallies, meanwhile
  bool answered = false;       // the peer said whether it knows the model
  // What came before our manifest did.
  std::vector<PieceRun> early_have;
  std::vector<PieceRun> early_want;
  std::vector<NodeId> connected_to;  // as its last PEERS said
  NamedBudget named{};
  bool told = false;   // PEERS was sent
  bool wants = false;  // its last WANT named pieces
};

// Each part of the core keeps a record of its own here. Others change it through its public
// functions alone.
struct Link {
  Link(ConnectionId connection, const Hello& self, std::optional<NodeId> proved)
      : id(connection), session(self, proved), authenticated(proved) {}

  ConnectionId id;
  Session session;
  bool dialed = false;
  std::string address;                  // as dialed, or as observed
  std::optional<NodeId> authenticated;  // what TLS proved
  std::optional<Hello> hello;           // once it came
  std::optional<Error> error;           // why it ends
  bool closing = false;                 // it ends; changed by Links alone
  std::string closed_why;               // of a connection that this node closes
  std::map<ModelKey, LinkModel> models;
  std::map<Channel, ModelKey> by_channel;
  LivenessRecord liveness;
  GateRecord gate;
  UplinkRecord uplink;
  DownlinkRecord downlink;
  NeighbourRecord neighbour;
};

}  // namespace shardswarm
