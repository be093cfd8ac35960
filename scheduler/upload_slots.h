// How many peers a node sends to at once. Not thread-safe; time is handed in.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/time.h"

namespace shardswarm {

// As few as fill the uplink: among few a piece is whole sooner, and only a whole piece can be
// passed on. With 63 peers served at once 1 MiB takes half a second at 1 Gbit/s, with 6 it takes 50
// ms. Found by trying: from time to time a quarter more, kept if that sends more, else a quarter
// less, kept if that sends as much.
class UploadSlots {
 public:
  static constexpr std::size_t kMin = 6;

  std::size_t count() const { return count_; }

  // `bytes` of payload were taken by the transport. `wanted`: more peers wait than have slots, so
  // that the rate says something about the number of slots.
  void sent(std::uint64_t bytes, bool wanted, Time now) {
    if (!wanted) started_.reset();
    if (!started_) {
      started_ = now;
      bytes_ = 0;
      return;
    }
    bytes_ += bytes;
    if (now - *started_ < kEpoch) return;
    judge(static_cast<double>(bytes_) / std::chrono::duration<double>(now - *started_).count());
    started_ = now;
    bytes_ = 0;
  }

 private:
  enum class Trial : std::uint8_t { kNone, kMore, kFewer };
  static constexpr Duration kEpoch = std::chrono::milliseconds(200);
  static constexpr int kRest = 5;  // epochs between trials

  static std::size_t step(std::size_t count) { return std::max<std::size_t>(count / 4, 1); }

  void judge(double rate) {
    switch (trial_) {
      case Trial::kMore: {
        // Half of what as many more slots would bring if each had its own bottleneck.
        const double grown = static_cast<double>(count_) / static_cast<double>(before_);
        if (rate <= usual_ * (1 + (grown - 1) / 2)) break;  // at a standstill, too
        usual_ = rate;
        try_more();
        return;
      }
      case Trial::kFewer:
        if (rate < usual_ * 0.98) break;
        usual_ = rate;
        try_fewer();
        return;
      case Trial::kNone:
        usual_ = rested_ == 0 ? rate : std::max(usual_, rate);
        if (++rested_ < kRest) return;
        if (std::exchange(more_next_, !more_next_)) {
          try_more();
        } else {
          try_fewer();
        }
        return;
    }
    count_ = before_;
    trial_ = Trial::kNone;
    rested_ = 0;
  }
  void try_more() {
    before_ = count_;
    count_ += step(count_);
    trial_ = Trial::kMore;
  }
  void try_fewer() {
    trial_ = Trial::kNone;
    rested_ = 0;
    if (count_ == kMin) return;
    before_ = count_;
    count_ = std::max(count_ - step(count_), kMin);
    trial_ = Trial::kFewer;
  }

  std::size_t count_ = kMin;
  std::size_t before_ = kMin;  // the trial
  Trial trial_ = Trial::kNone;
  bool more_next_ = true;
  int rested_ = 0;
  double usual_ = 0;  // bytes a second without trial
  std::optional<Time> started_;
  std::uint64_t bytes_ = 0;
};

}  // namespace shardswarm
