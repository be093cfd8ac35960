// How a node's core is set.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/limits.h"
#include "base/time.h"
#include "scheduler/download.h"
#include "scheduler/rate_limit.h"
#include "scheduler/upload.h"
#include "wire/session.h"

namespace shardswarm {

struct CoreOptions {
  Hello hello;
  std::uint64_t seed = 1;  // of all randomness
  bool share = false;      // serve models that nobody asked for here, for what others have of them
  bool insecure = false;   // it was started so: whom a key refuses is told to leave that out
  // Neighbours that a node looks for; it takes half as many more (swarm/neighbours.h).
  std::uint32_t degree = limits::kDegree;  // 2 to kDegree
  // HAVE goes to every neighbour. The pieces that came within this time, taken once for each
  // neighbour, go in one: a node sends no more than 4,000 a second however many neighbours it has,
  // and with few neighbours a piece is told at once. At 64 neighbours 1 ms, 16
  // times fewer HAVEs than pieces, costs 3 % of the makespan.
  Duration have_delay_per_peer = std::chrono::microseconds(250);
  DownloadOptions download;
  UploadOptions upload;
  RateLimits limits;
};

}  // namespace shardswarm
