// Memory of this process, as the kernel counts it.
#pragma once

#include <cstdint>

namespace shardswarm {

// Anonymous resident memory in bytes (Linux: RssAnon; elsewhere the peak resident size; 0 if it
// cannot be told).
std::uint64_t private_bytes();

}  // namespace shardswarm
