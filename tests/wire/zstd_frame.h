// Zstd frames by hand (RFC 8878): what no encoder of ours makes, and a few bytes that unfold to
// much.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/limits.h"

namespace shardswarm::test {

// A frame of `count` zeros in blocks of one repeated byte, 128 KiB a block. How long its content is
// stands nowhere.
inline std::vector<std::byte> zstd_frame_of_zeros(std::uint64_t count, unsigned window_log = 20) {
  std::vector<std::byte> frame = {std::byte{0x28}, std::byte{0xb5},
                                  std::byte{0x2f}, std::byte{0xfd},
                                  std::byte{0},    static_cast<std::byte>((window_log - 10) << 3)};
  constexpr unsigned kRepeatedByte = 1;
  bool last = false;
  while (!last) {
    const std::uint64_t n = std::min<std::uint64_t>(count, 128 * limits::kKiB);
    count -= n;
    last = count == 0;
    const std::uint64_t header = (last ? 1U : 0U) | kRepeatedByte << 1 | n << 3;
    for (int i = 0; i < 3; ++i) frame.push_back(static_cast<std::byte>(header >> (8 * i)));
    frame.push_back(std::byte{0});
  }
  return frame;
}

}  // namespace shardswarm::test
