// The controller's event loop, run from inside whoever waits for something. One thread.
#pragma once

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <chrono>
#include <functional>

#include "base/error.h"
#include "bench/lan/process.h"

namespace shardswarm::bench {

// Seconds of this host's monotonic clock.
double monotonic_seconds();

class Loop {
 public:
  Loop();

  // Handles events until `done`; kStalled with `what` when that took too long, kCancelled after
  // SIGINT or SIGTERM.
  Result<void> wait(const std::function<bool()>& done, std::chrono::duration<double> patience,
                    std::string_view what);
  // The same, also after a signal: for cleaning up. False if it took too long.
  bool wait_anyway(const std::function<bool()>& done, std::chrono::duration<double> patience);

  // Runs a command of this machine to its good end, with `input` on its stdin; its stdout.
  // kInternal with its last words otherwise.
  Result<std::string> run(const Command& command, std::string input = {});

  asio::io_context& io() { return io_; }
  Processes& processes() { return processes_; }
  bool interrupted() const { return interrupted_; }

 private:
  asio::io_context io_;
  asio::signal_set signals_;
  Processes processes_;
  bool interrupted_ = false;
};

}  // namespace shardswarm::bench
