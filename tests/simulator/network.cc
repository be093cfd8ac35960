#include "simulator/network.h"

#include <array>
#include <cassert>
#include <cmath>

#include "simulator/event_queue.h"

namespace shardswarm::sim {
namespace {

constexpr std::uint32_t kNone = ~std::uint32_t{0};
constexpr std::uint32_t kSmallBytes = 1500;  // a packet
constexpr std::uint32_t kStagesMax = 4;      // uplink, up and down of racks, downlink

enum class What : std::uint8_t { kServed, kReaches, kWindow };

struct Job {
  What what;
  std::uint8_t stage;  // of the flow's path
  std::uint32_t flow;
  std::uint32_t bytes;
};

struct Flow {
  bool open = false;
  std::uint8_t stages = 0;
  std::array<std::uint32_t, kStagesMax> links{};
  std::array<std::uint32_t, kStagesMax> waiting{};  // bytes at each of them, not in service
  std::array<std::uint32_t, kStagesMax> behind{};   // the next flow in that link's queue
  std::uint32_t outstanding = 0;                    // of the window
  std::uint32_t readable = 0;
  std::uint32_t references = 0;  // events and places in queues: only without any it is used again
  Duration latency{};
};

// Flows that wait for a link, linked through Flow::behind.
struct Line {
  std::uint32_t first = kNone;
  std::uint32_t last = kNone;
};

struct Link {
  double seconds_per_byte = 0;
  bool busy = false;
  Line small;  // came with a packet when they had nothing else waiting
  Line bulk;
};

struct Host {
  std::uint32_t up;
  std::uint32_t down;
  Duration latency;
  std::optional<std::uint32_t> rack;
};

struct Rack {
  std::uint32_t up;
  std::uint32_t down;
};

}  // namespace

class Network::Impl {
 public:
  explicit Impl(Options options) : options_(options) {}

  std::uint32_t add_rack(LinkRates rates) {
    racks_.push_back({add_link(rates.up), add_link(rates.down)});
    return static_cast<std::uint32_t>(racks_.size() - 1);
  }

  HostIndex add_host(LinkRates rates, Duration latency, std::optional<std::uint32_t> rack) {
    hosts_.push_back({add_link(rates.up), add_link(rates.down), latency, rack});
    return HostIndex(static_cast<std::uint32_t>(hosts_.size() - 1));
  }

  FlowIndex open(HostIndex from, HostIndex to) {
    std::uint32_t index = 0;
    if (free_.empty()) {
      index = static_cast<std::uint32_t>(flows_.size());
      flows_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    const Host& source = hosts_[from.value];
    const Host& target = hosts_[to.value];
    Flow flow;
    flow.open = true;
    flow.latency = source.latency + target.latency;
    flow.links[flow.stages++] = source.up;
    if (source.rack != target.rack) {
      if (source.rack) flow.links[flow.stages++] = racks_[*source.rack].up;
      if (target.rack) flow.links[flow.stages++] = racks_[*target.rack].down;
    }
    flow.links[flow.stages++] = target.down;
    flows_[index] = flow;
    return FlowIndex(index);
  }

  void close(FlowIndex index) {
    Flow& flow = flows_[index.value];
    assert(flow.open);
    flow.open = false;
    flow.waiting = {};
    if (flow.references == 0) free_.push_back(index.value);
  }

  std::uint32_t room(FlowIndex index) const {
    return options_.window_bytes - flows_[index.value].outstanding;
  }
  std::uint32_t readable(FlowIndex index) const { return flows_[index.value].readable; }

  void send(FlowIndex index, std::uint32_t bytes, Time now) {
    Flow& flow = flows_[index.value];
    assert(flow.open && bytes <= room(index));
    if (bytes == 0) return;
    flow.outstanding += bytes;
    wait_at(index.value, 0, bytes, now);
  }

  void read(FlowIndex index, std::uint32_t bytes, Time now) {
    Flow& flow = flows_[index.value];
    assert(flow.open && bytes <= flow.readable);
    if (bytes == 0) return;
    flow.readable -= bytes;
    push(now + flow.latency, {What::kWindow, 0, index.value, bytes});
  }

  std::optional<Time> next() const {
    if (events_.empty()) return std::nullopt;
    return events_.top().at;
  }

  void advance(std::vector<Change>& changes) {
    const auto event = events_.pop();
    const Job job = event.job;
    ++handled_;
    Flow& flow = flows_[job.flow];
    switch (job.what) {
      case What::kServed:
        serve_next(flow.links[job.stage], event.at);
        if (flow.open) served(job, event.at, changes);
        break;
      case What::kReaches:
        if (flow.open) wait_at(job.flow, job.stage, job.bytes, event.at);
        break;
      case What::kWindow:
        if (!flow.open) break;
        flow.outstanding -= job.bytes;
        changes.push_back({FlowIndex(job.flow), false});
        break;
    }
    release(job.flow);
  }

  std::uint64_t events() const { return handled_; }

 private:
  std::uint32_t add_link(double rate) {
    assert(rate > 0);
    Link link;
    link.seconds_per_byte = 1 / rate;
    links_.push_back(link);
    return static_cast<std::uint32_t>(links_.size() - 1);
  }

  void push(Time at, Job job) {
    ++flows_[job.flow].references;
    events_.push(at, job);
  }

  void release(std::uint32_t index) {
    Flow& flow = flows_[index];
    if (--flow.references == 0 && !flow.open) free_.push_back(index);
  }

  // The place of the flow's stage in a queue.
  void enqueue(Line& line, std::uint32_t index, std::uint32_t stage) {
    Flow& flow = flows_[index];
    flow.behind[stage] = kNone;
    ++flow.references;
    if (line.first == kNone) {
      line.first = index;
    } else {
      Flow& last = flows_[line.last];
      last.behind[stage_at(last, flow.links[stage])] = index;
    }
    line.last = index;
  }

  // No link is twice on a path.
  static std::uint32_t stage_at(const Flow& flow, std::uint32_t link) {
    std::uint32_t stage = 0;
    while (flow.links[stage] != link) ++stage;
    return stage;
  }

  void wait_at(std::uint32_t index, std::uint32_t stage, std::uint32_t bytes, Time now) {
    Flow& flow = flows_[index];
    const std::uint32_t link_index = flow.links[stage];
    Link& link = links_[link_index];
    const bool queued = flow.waiting[stage] > 0;
    flow.waiting[stage] += bytes;
    if (!queued) enqueue(bytes <= kSmallBytes ? link.small : link.bulk, index, stage);
    if (!link.busy) serve_next(link_index, now);
  }

  void serve_next(std::uint32_t link_index, Time now) {
    Link& link = links_[link_index];
    link.busy = false;
    while (!link.busy) {
      const bool small = link.small.first != kNone;
      Line& line = small ? link.small : link.bulk;
      const std::uint32_t index = line.first;
      if (index == kNone) return;
      Flow& flow = flows_[index];
      const std::uint32_t stage = stage_at(flow, link_index);
      line.first = flow.behind[stage];
      const std::uint32_t bytes =
          std::min(flow.waiting[stage], small ? kSmallBytes : options_.quantum_bytes);
      if (bytes > 0) {  // else it was closed
        link.busy = true;
        flow.waiting[stage] -= bytes;
        if (flow.waiting[stage] > 0) enqueue(link.bulk, index, stage);
        push(now + time_of(link, bytes),
             {What::kServed, static_cast<std::uint8_t>(stage), index, bytes});
      }
      release(index);
    }
  }

  static Duration time_of(const Link& link, std::uint32_t bytes) {
    return Duration(std::llround(bytes * link.seconds_per_byte * 1e9));
  }

  void served(const Job& job, Time now, std::vector<Change>& changes) {
    Flow& flow = flows_[job.flow];
    const auto next = static_cast<std::uint8_t>(job.stage + 1);
    if (next == flow.stages) {
      flow.readable += job.bytes;
      changes.push_back({FlowIndex(job.flow), true});
    } else if (next + 1 == flow.stages) {
      push(now + flow.latency, {What::kReaches, next, job.flow, job.bytes});
    } else {
      wait_at(job.flow, next, job.bytes, now);
    }
  }

  Options options_;
  std::vector<Link> links_;
  std::vector<Rack> racks_;
  std::vector<Host> hosts_;
  std::vector<Flow> flows_;
  std::vector<std::uint32_t> free_;
  EventQueue<Job> events_;
  std::uint64_t handled_ = 0;
};

Network::Network(Options options) : impl_(std::make_unique<Impl>(options)) {}
Network::~Network() = default;

std::uint32_t Network::add_rack(LinkRates rates) { return impl_->add_rack(rates); }
HostIndex Network::add_host(LinkRates rates, Duration latency, std::optional<std::uint32_t> rack) {
  return impl_->add_host(rates, latency, rack);
}
FlowIndex Network::open(HostIndex from, HostIndex to) { return impl_->open(from, to); }
void Network::close(FlowIndex flow) { impl_->close(flow); }
std::uint32_t Network::room(FlowIndex flow) const { return impl_->room(flow); }
void Network::send(FlowIndex flow, std::uint32_t bytes, Time now) { impl_->send(flow, bytes, now); }
std::uint32_t Network::readable(FlowIndex flow) const { return impl_->readable(flow); }
void Network::read(FlowIndex flow, std::uint32_t bytes, Time now) { impl_->read(flow, bytes, now); }
std::optional<Time> Network::next() const { return impl_->next(); }
void Network::advance(std::vector<Change>& changes) { impl_->advance(changes); }
std::uint64_t Network::events() const { return impl_->events(); }

}  // namespace shardswarm::sim
