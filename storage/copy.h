// Bytes from one file to another without passing through us, where the system can.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace shardswarm {

// Shares the blocks (reflink) where the file system and the offsets allow, else has the kernel copy
// them, else reads and writes. Blocks; thread-safe. `name` is what errors call the source.
Result<void> copy_bytes(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                        std::uint64_t bytes, const std::string& name);

}  // namespace shardswarm
