// The parts of a node's core, and which of them know each other. Each has its own state and rules;
// what they have in common is the context.
#pragma once

#include <utility>

#include "swarm/announcements.h"
#include "swarm/blobs.h"
#include "swarm/context.h"
#include "swarm/downlink.h"
#include "swarm/fetches.h"
#include "swarm/liveness.h"
#include "swarm/meetings.h"
#include "swarm/neighbourhood.h"
#include "swarm/peer_exchange.h"
#include "swarm/rate_gate.h"
#include "swarm/shared_models.h"
#include "swarm/stall_watch.h"
#include "swarm/uplink.h"

namespace shardswarm {

struct Parts {
  Parts(CoreOptions options, BufferPool& buffers) : context(std::move(options), buffers) {}
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  Context context;
  Liveness liveness{context};
  RateGate gate{context};
  Uplink uplink{context, gate};
  Downlink downlink{context};
  Blobs blobs{context};
  Announcements announcements{context};
  Meetings meetings{context};
  Neighbourhood neighbourhood{context};
  PeerExchange exchange{context, neighbourhood};
  SharedModels shared{context, meetings};
  Fetches fetches{context, meetings, neighbourhood};
  StallWatch stalls{context, neighbourhood.addresses()};
};

}  // namespace shardswarm
