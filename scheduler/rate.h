// How fast a peer delivers. Not thread-safe; time is handed in.
#pragma once

#include <cstdint>

#include "scheduler/time.h"

namespace shardswarm {

// Bytes a second while something was owed, averaged over about half a second.
class RateMeter {
 public:
  void busy(Time now) { since_ = now; }  // something is owed from now on
  void add(std::uint64_t bytes, Time now) {
    bytes_ += bytes;
    const double seconds = std::chrono::duration<double>(now - since_).count();
    if (seconds < kSample) return;
    const double sample = static_cast<double>(bytes_) / seconds;
    rate_ = rate_ == 0 ? sample : 0.7 * rate_ + 0.3 * sample;
    bytes_ = 0;
    since_ = now;
  }
  double bytes_per_second() const { return rate_; }  // 0: not known yet

 private:
  static constexpr double kSample = 0.1;  // seconds
  Time since_{};
  std::uint64_t bytes_ = 0;
  double rate_ = 0;
};

}  // namespace shardswarm
