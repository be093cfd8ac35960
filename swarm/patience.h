// How long a fetch goes on without getting on. Not thread-safe. Time is handed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/limits.h"
#include "base/time.h"

namespace shardswarm {

class Patience {
 public:
  Patience() = default;
  // The fetch ends after `stall_timeout` without progress; while no peer was reached, not before
  // `wait` is over.
  Patience(Duration stall_timeout, Duration wait, Time now)
      : stall_timeout_(stall_timeout),
        last_progress_(now),
        started_(now),
        wait_until_(now + wait) {}

  void progress(Time now) { last_progress_ = now; }
  // Drops that keep a fetch from counting as stalled are no progress: of a manifest's blobs so many
  // bytes are, or the end of one. Under the lowest upload limit, half of it for blobs, that comes
  // to each of 30 peers in a minute.
  void blob_bytes(std::uint64_t bytes, bool last, Time now) {
    blob_bytes_uncounted_ += bytes;
    if (!last && blob_bytes_uncounted_ < 16 * limits::kKiB) return;
    blob_bytes_uncounted_ = 0;
    progress(now);
  }
  // A peer had the model.
  void peer_had_it() { reached_ = true; }
  bool reached() const { return reached_; }
  // A peer answered. The source that was waited for has all the time that it would have had at the
  // start.
  void greeted(Time now) {
    if (waits(now)) progress(now);
  }
  // A source that may not be up yet is waited for.
  bool waits(Time now) const { return !reached_ && now < wait_until_; }
  // To be called while a source is waited for: the clock stands meanwhile.
  void hold(Time now) {
    last_progress_ = std::max(last_progress_, std::min(now, wait_until_ - stall_timeout_));
  }
  // A peer is full: its room is waited for as long as a stall may last.
  void wait_for_room(Time now) { patient_until_ = now + stall_timeout_; }

  // Whether no peer has had the model, and nobody else could be asked, for a time.
  bool nobody_for(Duration time, bool nobody, Time now) {
    if (!nobody) {
      nobody_since_.reset();
      return false;
    }
    if (!nobody_since_) nobody_since_ = now;
    return now >= *nobody_since_ + time;
  }
  std::optional<Time> nobody_since() const { return nobody_since_; }

  Time stalled_at() const { return std::max(last_progress_ + stall_timeout_, patient_until_); }
  Time last_progress() const { return last_progress_; }
  Time started() const { return started_; }
  Time wait_until() const { return wait_until_; }
  Duration stall_timeout() const { return stall_timeout_; }

 private:
  Duration stall_timeout_{};
  Time last_progress_{};
  Time started_{};
  Time wait_until_{};
  std::uint64_t blob_bytes_uncounted_ = 0;
  Time patient_until_{};
  std::optional<Time> nobody_since_;
  bool reached_ = false;
};

}  // namespace shardswarm
