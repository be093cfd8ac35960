// A fetch as its handle and the shell share it. The mutex guards what both touch; the rest belongs
// to the network thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "node/progress_meter.h"
#include "node/shardswarm.h"
#include "swarm/core.h"

namespace shardswarm {

struct FetchState {
  enum class Kind : std::uint8_t { kFetch, kPlan, kLearn };

  // Set before it is shared.
  Ticket ticket;
  FetchOptions options;
  Kind kind = Kind::kFetch;
  std::vector<std::vector<std::string>> nodes;  // where to ask: the addresses of each node
  std::shared_ptr<const Manifest> kept;         // what this machine knows of the model

  // Network thread.
  std::optional<ModelKey> model;
  std::chrono::steady_clock::time_point started;
  ProgressMeter meter;
  Selection parts;             // once the manifest is known, as what follows
  std::string engine_setting;  // see ResolvedSelection
  LeftOutReport left_out;
  struct Opening {
    bool under_way = false;           // a worker is opening the store, or looks at the directory
    std::optional<Error> ended;       // the fetch ended meanwhile
    std::atomic<bool> cancel{false};  // read by that worker
  };
  Opening opening;

  // Any thread, under the mutex.
  mutable std::mutex mutex;
  std::condition_variable changed;
  FetchProgress progress;
  std::optional<Result<FetchReport>> outcome;
  bool leave = false;                        // cancel() was called: linger() ends
  FetchPlan plan;                            // kPlan, with the outcome
  std::shared_ptr<const Manifest> manifest;  // kLearn, with the outcome

  void resolve(Result<FetchReport> result) {
    const std::scoped_lock lock(mutex);
    if (!outcome) outcome = std::move(result);
    changed.notify_all();
  }
  Result<FetchReport> wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return outcome.has_value(); });
    return *outcome;
  }
};

}  // namespace shardswarm
