// What an agent samples while a run is on: what the link has carried, and its processes' memory.
// One thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "bench/lan/rates.h"
#include "bench/lan/sockets.h"

namespace shardswarm::bench {

class Watch {
 public:
  // The interface that has `address`; on loopback the sockets of the processes. kNotFound if none
  // has it.
  static Result<Watch> on(const std::string& address);

  // Since the watch began.
  Counters counters(const std::vector<pid_t>& processes);
  void sample(double seconds, const std::vector<pid_t>& processes);
  const std::vector<CounterSample>& samples() const { return samples_; }

 private:
  std::string interface_;
  Counters begin_;
  std::unique_ptr<SocketCounters> sockets_;  // on loopback
  std::vector<CounterSample> samples_;
};

}  // namespace shardswarm::bench
