// A queue of small events by time; at the same time in the order in which they were added.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/time.h"

namespace shardswarm::sim {

// `Job`: what happens; trivially copyable.
template <class Job>
class EventQueue {
 public:
  struct Event {
    Time at;
    std::uint64_t order;
    Job job;
  };

  void push(Time at, Job job) {
    heap_.push_back({at, next_order_++, job});
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  bool empty() const { return heap_.empty(); }
  const Event& top() const { return heap_.front(); }
  Event pop() {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Event event = heap_.back();
    heap_.pop_back();
    return event;
  }

 private:
  static bool later(const Event& a, const Event& b) {
    return a.at != b.at ? a.at > b.at : a.order > b.order;
  }
  std::vector<Event> heap_;
  std::uint64_t next_order_ = 0;
};

}  // namespace shardswarm::sim
