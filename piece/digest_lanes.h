// SHA-256 of many messages, two at a time on one core.
//
// SHA-NI takes 4 cycles from one pair of rounds to the next and could begin another after 2:
// OpenSSL, which hashes one message, leaves half of the unit idle. Two messages side by side: 1.8
// times the bytes on the AMD EPYC that it was measured on (docs/data-path.md). Elsewhere one after
// the other.
#pragma once

#include <cstddef>
#include <span>

#include "piece/digest.h"

namespace shardswarm {

// How many messages are hashed at once here: 1 or 2.
std::size_t sha256_lanes();

// digests[i] = sha256(messages[i]). Thread-safe. REQUIRES: as many digests as messages.
void sha256_each(std::span<const std::span<const std::byte>> messages, std::span<Digest> digests);

}  // namespace shardswarm
