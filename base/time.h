// Time as the core sees it: handed in with every event, never asked for.
#pragma once

#include <chrono>

namespace shardswarm {

using Duration = std::chrono::nanoseconds;
// Time since an arbitrary start (the process', the simulation's). Monotonic.
using Time = std::chrono::nanoseconds;

}  // namespace shardswarm
