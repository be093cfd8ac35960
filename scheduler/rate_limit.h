// How much may pass a limit, and when: a token bucket. Pure; time is handed in. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace shardswarm {

// Bytes a second of all that goes over connections, frame headers and control frames included;
// 0: no limit. What is below `kRateMin` is refused where a user can say it.
struct RateLimits {
  std::uint64_t upload = 0;         // of the node, to all peers together
  std::uint64_t download = 0;       // of the node
  std::uint64_t peer_upload = 0;    // to each peer
  std::uint64_t peer_download = 0;  // from each peer

  // At 16 KiB/s a piece of 1 MiB takes a minute, and peers close a connection on which one comes
  // at less than 4 KiB/s.
  static constexpr std::uint64_t kRateMin = 16 * 1024;
};

// Whoever finds it open may pass a whole frame: what that is more than the tokens there were is a
// debt, and it is closed until the debt is paid. So it is exact in the long run, whatever passes
// without asking (control frames), and never off by more than kBurst and a frame.
class TokenBucket {
 public:
  // What an idle moment saves up: a timer that rings late costs no rate, and a second in which
  // it was saved up shows 2 % more.
  static constexpr Duration kBurst = std::chrono::milliseconds(20);

  explicit TokenBucket(std::uint64_t bytes_per_second) : rate_(bytes_per_second) {}

  bool open(Time now) const { return open_at_ <= now; }
  Time open_at() const { return open_at_; }  // unless more passes before
  void take(std::uint64_t bytes, Time now) {
    if (rate_ == 0) return;
    const double seconds = static_cast<double>(bytes) / static_cast<double>(rate_);
    open_at_ = std::max(open_at_, now - kBurst) +
               std::chrono::ceil<Duration>(std::chrono::duration<double>(seconds));
  }

 private:
  std::uint64_t rate_;  // 0: always open
  Time open_at_{};      // when the tokens come to zero from below
};

}  // namespace shardswarm
