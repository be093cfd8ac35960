// What is to happen at which virtual time, the network's own events excepted.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/time.h"
#include "simulator/event_queue.h"

namespace shardswarm::sim {

enum class What : std::uint8_t {
  kJoin,      // `host` starts
  kLeave,     // it is gone
  kSettle,    // its core settles what came at this time
  kTimer,     // its core asked for this time
  kStored,    // its next piece is written
  kPrepared,  // the next piece that it is to send is ready
  kOpened,    // its store is open
  kShared,    // it has looked for what other models share; value: the model
  kFinished,  // its store is finished
  kDialed,    // it has dialed host `value`
  kEnd,       // end `value` of a connection hears that the other one is closed
};

struct Job {
  What what;
  std::uint32_t host = 0;
  std::uint32_t value = 0;
};

class Agenda {
 public:
  // `turn`: between two turns of a host at least.
  Agenda(std::size_t hosts, Duration turn)
      : turn_(turn), waking_(hosts), next_turn_(hosts, Time{}) {}

  Time now{};
  void at(Time time, Job job) { queue_.push(time, job); }
  void after(Duration delay, Job job) { at(now + delay, job); }
  // Lets the host settle once all that happens at this time has happened, and its turn has come.
  void wake(std::uint32_t host) {
    if (waking_[host] != 0) return;
    waking_[host] = 1;
    at(std::max(now, next_turn_[host]), {What::kSettle, host});
  }
  const EventQueue<Job>& queue() const { return queue_; }
  // The next job, whose time it becomes.
  Job pop() {
    const auto event = queue_.pop();
    now = event.at;
    if (event.job.what == What::kSettle) {
      waking_[event.job.host] = 0;
      next_turn_[event.job.host] = now + turn_;
    }
    return event.job;
  }

 private:
  EventQueue<Job> queue_;
  Duration turn_;
  std::vector<std::uint8_t> waking_;
  std::vector<Time> next_turn_;
};

}  // namespace shardswarm::sim
