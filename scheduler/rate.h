// How fast a peer delivers. Not thread-safe; time is handed in.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace shardswarm {

// Bytes a second while something was owed, averaged over about half a second.
class RateMeter {
 public:
  void busy(Time now) { last_ = now; }  // something is owed from now on
  void add(std::uint64_t bytes, Time now) {
    elapsed_ += now - last_;
    last_ = now;
    bytes_ += bytes;
    if (elapsed_ < kSample) return;
    const double sample =
        static_cast<double>(bytes_) / std::chrono::duration<double>(elapsed_).count();
    rate_ = rate_ == 0 ? sample : 0.7 * rate_ + 0.3 * sample;
    sample_ = sample;
    bytes_ = 0;
    elapsed_ = {};
  }
  double bytes_per_second() const { return rate_; }  // 0: not known yet
  // The same, but when it falls it is known after a tenth of a second.
  double lately() const { return std::min(rate_, sample_); }

 private:
  static constexpr Duration kSample = std::chrono::milliseconds(100);
  Time last_{};
  Duration elapsed_{};  // busy, since the last sample
  std::uint64_t bytes_ = 0;
  double rate_ = 0;
  double sample_ = 0;  // the last
};

}  // namespace shardswarm
