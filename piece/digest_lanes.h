// SHA-256 of many messages, two at a time on one core.
//
// SHA-NI takes 4 cycles from one pair of rounds to the next and could begin another after 2:
// OpenSSL, which hashes one message, leaves half of the unit idle. Two messages side by side: 1.8
// times the bytes on the AMD EPYC that it was measured on (docs/data-path.md). Elsewhere one after
// the other.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "piece/digest.h"

namespace shardswarm {

// How many messages are hashed at once here: 1 or 2.
std::size_t sha256_lanes();

// Messages under way side by side: a lane whose message is done takes another. Plain state, no
// threads.
class Sha256Lanes {
 public:
  // REQUIRES: 1 <= lanes <= sha256_lanes().
  explicit Sha256Lanes(std::size_t lanes = sha256_lanes()) : count_(lanes) {}
  Sha256Lanes(const Sha256Lanes&) = delete;  // a lane points into itself
  Sha256Lanes& operator=(const Sha256Lanes&) = delete;

  std::size_t free() const { return count_ - under_way_; }
  std::size_t under_way() const { return under_way_; }
  // `message` must stay as it is until it is done. REQUIRES: free() > 0.
  void begin(std::span<const std::byte> message, std::size_t tag);
  struct Done {
    std::size_t tag;
    Digest digest;
  };
  // A step: 64 KiB at most of each message, or one that is done; with one lane alone a whole
  // message. REQUIRES: under_way() > 0.
  std::optional<Done> advance();

 private:
  static constexpr std::size_t kBlockBytes = 64;
  static constexpr std::size_t kLanesMax = 2;

  // First the message's whole blocks, then what is left of it, padded.
  struct Lane {
    bool busy = false;
    std::size_t tag = 0;
    const std::byte* at = nullptr;
    std::size_t blocks = 0;  // at `at`
    std::array<std::uint32_t, 8> state{};
    std::array<std::byte, 2 * kBlockBytes> tail{};
    std::size_t tail_blocks = 0;  // not yet taken up
    std::span<const std::byte> message;
  };

  static void compress(Lane& lane, std::size_t blocks);
  static void compress(Lane& one, Lane& other, std::size_t blocks);  // so many of each
  static Digest digest_of(const Lane& lane);

  std::array<Lane, kLanesMax> lanes_;
  std::size_t count_;
  std::size_t under_way_ = 0;
};

// digests[i] = sha256(messages[i]). Thread-safe. REQUIRES: as many digests as messages.
void sha256_each(std::span<const std::span<const std::byte>> messages, std::span<Digest> digests);

}  // namespace shardswarm
