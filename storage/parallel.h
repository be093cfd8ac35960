// A loop over workers, for callers that may wait.
#pragma once

#include <atomic>
#include <cstddef>
#include <latch>

#include "storage/workers.h"

namespace shardswarm {

// Runs f(i) for i in [0, n) on the workers and returns when all are done. Not to be called from one
// of these workers. f must be safe to run on several threads.
template <class F>
void parallel_for(Workers& workers, std::size_t n, F&& f) {
  const unsigned lanes = workers.threads();
  std::atomic<std::size_t> next{0};
  std::latch done(lanes);
  for (unsigned lane = 0; lane < lanes; ++lane) {
    workers.post([&] {
      for (std::size_t i = next.fetch_add(1); i < n; i = next.fetch_add(1)) f(i);
      done.count_down();
    });
  }
  done.wait();
}

}  // namespace shardswarm
