// Checks received pieces against their digests, on workers: two at a time on each.
//
// Two messages are hashed in little more than the time of one (piece/digest_lanes.h). So a second
// worker begins only where two pieces wait, a piece that is done makes room for the next beside
// the other, and where pieces follow each other closely one waits for a second.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>

#include "piece/digest.h"
#include "storage/workers.h"

namespace shardswarm {

// Thread-safe. May go before what it was given is done; `workers` must outlive that.
class Verifier {
 public:
  explicit Verifier(Workers& workers);

  // Calls done(whether the SHA-256 is as expected, then the XXH3-64) on a worker. `bytes` stay
  // valid until then.
  using Done = std::function<void(bool matches, std::uint64_t xxh3)>;
  void check(std::span<const std::byte> bytes, const Digest& expected, Done done);

 private:
  struct Job {
    std::span<const std::byte> bytes;
    Digest expected;
    Done done;
  };
  struct Queue {
    std::mutex mutex;
    std::deque<Job> jobs;
    unsigned busy = 0;                           // hands at it
    unsigned waiting = 0;                        // of them, for a second job: one at most
    std::chrono::steady_clock::time_point came;  // the last job
    bool worth_waiting = false;                  // a further one is likely to come soon
    std::condition_variable more;
  };
  struct Hand;  // the pieces that one worker has under way
  static void run(Workers& workers, const std::shared_ptr<Queue>& queue,
                  const std::shared_ptr<Hand>& hand);

  Workers& workers_;
  std::shared_ptr<Queue> queue_;
};

}  // namespace shardswarm
