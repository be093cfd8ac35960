#include "bench/lan/watch.h"

#include <fmt/format.h>

#include "bench/lan/proc_stats.h"

namespace shardswarm::bench {

Result<Watch> Watch::on(const std::string& address) {
  Watch watch;
  watch.interface_ = interface_of(address);
  if (watch.interface_.empty()) {
    return fail(Errc::kNotFound, fmt::format("no interface of this host has {}", address));
  }
  if (is_loopback(watch.interface_)) {
    watch.sockets_ = std::make_unique<SocketCounters>();
  } else {
    watch.begin_ = interface_counters(watch.interface_);
  }
  return watch;
}

Counters Watch::counters(const std::vector<pid_t>& processes) {
  if (sockets_) return sockets_->update(processes);
  const Counters now = interface_counters(interface_);
  return {.received = now.received - begin_.received, .sent = now.sent - begin_.sent};
}

void Watch::sample(double seconds, const std::vector<pid_t>& processes) {
  samples_.push_back({.seconds = seconds, .counters = counters(processes)});
}

}  // namespace shardswarm::bench
