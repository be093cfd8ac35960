#include "simulator/bound.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>

namespace shardswarm::sim {
namespace {

constexpr std::size_t kClassesTriedMax = 12;
constexpr double kNever = std::numeric_limits<double>::infinity();

// What links can carry as time goes: their rates while they are there.
class Capacity {
 public:
  void add(double rate, Duration from, std::optional<Duration> until) {
    change_[from] += rate;
    if (until) change_[*until] -= rate;
  }
  void add(const Capacity& other) {
    for (const auto& [at, by] : other.change_) change_[at] += by;
  }

  // Seconds until `bytes` are carried if nothing moves before `start`; kNever if they never are.
  double seconds(double bytes, Duration start) const {
    double rate = 0;
    double at = to_seconds(start);
    for (const auto& [when, by] : change_) {
      const double next = to_seconds(when);
      if (next > at) {
        if (rate * (next - at) >= bytes) break;
        bytes -= rate * (next - at);
        at = next;
      }
      rate += by;
    }
    if (bytes <= 0) return at;
    return rate > kNoRate ? at + bytes / rate : kNever;
  }

 private:
  // What is left of sums of rates after all links have gone is rounding.
  static constexpr double kNoRate = 1e-3;
  static double to_seconds(Duration time) { return std::chrono::duration<double>(time).count(); }

  std::map<Duration, double> change_;
};

// Nodes that want the same pieces.
struct Kind {
  PieceSet wants;
  Capacity up;                      // of those that serve
  std::vector<std::size_t> takers;  // by number of the node: those that must be done
  std::optional<Duration> joins;    // the first of the takers
  std::optional<Duration> serves;   // the first of all
};

// Pieces that nodes of the same kinds want.
struct Class {
  std::vector<std::size_t> kinds;  // ascending
  double bytes = 0;                // one copy
};

void earlier(std::optional<Duration>& first, Duration time) {
  first = first ? std::min(*first, time) : time;
}

class Bounds {
 public:
  Bounds(const Scenario& scenario, const Wants& wants) : scenario_(scenario), wants_(wants) {
    sort_nodes();
    sort_pieces();
  }

  Bound largest() {
    source();
    downlinks();
    uplinks();
    racks();
    return found_;
  }

 private:
  // Fetchers that must be done.
  bool takes(std::size_t node) const {
    const NodeSpec& spec = scenario_.nodes[node];
    return !spec.seed && !spec.leaves && spec.behaviour == Behaviour::kOrdinary;
  }

  double bytes_of(const PieceSet& pieces) const {
    double bytes = 0;
    pieces.for_each([&](PieceIndex piece) { bytes += wants_.manifest->extent(piece).length; });
    return bytes;
  }

  void sort_nodes() {
    for (std::size_t i = 0; i < scenario_.nodes.size(); ++i) {
      const NodeSpec& node = scenario_.nodes[i];
      if (node.seed) seeds_.add(node.up, node.joins, node.leaves);
      if (node.seed || node.behaviour == Behaviour::kHoards || wants_.pieces[i].empty()) continue;
      auto kind = std::ranges::find(kinds_, wants_.pieces[i], &Kind::wants);
      if (kind == kinds_.end()) kind = kinds_.insert(kind, Kind{.wants = wants_.pieces[i]});
      kind->up.add(node.up, node.joins, node.leaves);
      earlier(kind->serves, node.joins);
      if (!takes(i)) continue;
      kind->takers.push_back(i);
      earlier(kind->joins, node.joins);
    }
  }

  void sort_pieces() {
    std::map<std::vector<std::size_t>, double> bytes;
    for (PieceIndex piece{}; piece.value < wants_.manifest->piece_count(); ++piece) {
      std::vector<std::size_t> kinds;
      bool taken = false;
      for (std::size_t k = 0; k < kinds_.size(); ++k) {
        if (!kinds_[k].wants.contains(piece)) continue;
        kinds.push_back(k);
        taken = taken || !kinds_[k].takers.empty();
      }
      if (taken) bytes[kinds] += wants_.manifest->extent(piece).length;
    }
    for (const auto& [kinds, sum] : bytes) classes_.push_back({.kinds = kinds, .bytes = sum});
  }

  void consider(double seconds, const std::string& which) {
    if (!which_known_ || seconds > seconds_) {
      seconds_ = seconds;
      found_.time = seconds == kNever ? Time::max() : Time(std::llround(seconds * 1e9));
      found_.which = which;
    }
    which_known_ = true;
  }

  // (a) One copy of everything leaves the seeds, once somebody is there who serves or needs it.
  void source() {
    double bytes = 0;
    std::optional<Duration> start;
    for (const Class& each : classes_) {
      bytes += each.bytes;
      for (const std::size_t k : each.kinds) earlier(start, *kinds_[k].serves);
    }
    if (start) consider(seeds_.seconds(bytes, *start), "source uplink");
  }

  // (b)
  void downlinks() {
    for (const Kind& kind : kinds_) {
      const double bytes = bytes_of(kind.wants);
      for (const std::size_t i : kind.takers) {
        const NodeSpec& node = scenario_.nodes[i];
        Capacity down;
        down.add(node.down, node.joins, {});
        consider(down.seconds(bytes, node.joins), "downlink of " + node.name);
      }
    }
  }

  // (c)
  void uplinks() {
    const std::size_t count = classes_.size();
    if (count <= kClassesTriedMax) {
      for (std::uint32_t set = (1U << count) - 1; set != 0; --set) {
        std::vector<std::size_t> classes;
        for (std::size_t c = 0; c < count; ++c) {
          if ((set >> c & 1) != 0) classes.push_back(c);
        }
        uplinks_for(classes);
      }
      return;
    }
    std::vector<std::size_t> all(count);
    for (std::size_t c = 0; c < count; ++c) all[c] = c;
    uplinks_for(all);
    for (const std::size_t c : all) uplinks_for({c});
  }

  void uplinks_for(const std::vector<std::size_t>& classes) {
    Capacity up = seeds_;
    std::optional<Duration> start;
    double bytes = 0;
    std::vector<bool> seen(kinds_.size());
    for (const std::size_t c : classes) {
      for (const std::size_t k : classes_[c].kinds) {
        const Kind& kind = kinds_[k];
        bytes += classes_[c].bytes * static_cast<double>(kind.takers.size());
        if (kind.joins) earlier(start, *kind.joins);
        if (!seen[k]) up.add(kind.up);
        seen[k] = true;
      }
    }
    consider(up.seconds(bytes, *start), name_of(classes, seen));
  }

  // A few of the nodes that want any of it.
  std::string name_of(const std::vector<std::size_t>& classes, const std::vector<bool>& kinds) {
    if (classes.size() == classes_.size()) return "uplinks of all";
    std::size_t count = 0;
    std::string names;
    for (std::size_t k = 0; k < kinds.size(); ++k) {
      if (!kinds[k]) continue;
      for (const std::size_t i : kinds_[k].takers) {
        if (++count <= 4) names += (names.empty() ? "" : ", ") + scenario_.nodes[i].name;
      }
    }
    if (count > 4) names += " and " + std::to_string(count - 4) + " more";
    const std::string share = classes.size() == 1 ? "what only " : "all that ";
    return "uplinks for " + share + names + " want";
  }

  // (d)
  void racks() {
    for (const RackSpec& rack : scenario_.racks) {
      PieceSet in(wants_.manifest->piece_count());
      PieceSet out = in;
      std::optional<Duration> in_start;
      std::optional<Duration> out_start;
      bool seed_inside = false;
      bool seed_outside = false;
      for (std::size_t i = 0; i < scenario_.nodes.size(); ++i) {
        const NodeSpec& node = scenario_.nodes[i];
        const bool inside = node.rack == rack.name;
        if (node.seed) (inside ? seed_inside : seed_outside) = true;
        if (node.seed || node.behaviour == Behaviour::kHoards) continue;
        earlier(inside ? in_start : out_start, node.joins);
        if (takes(i)) (inside ? in : out) |= wants_.pieces[i];
      }
      if (!seed_inside && !in.empty()) {
        link(rack.down, bytes_of(in), *in_start, "downlink of rack " + rack.name);
      }
      if (!seed_outside && !out.empty()) {
        link(rack.up, bytes_of(out), *out_start, "uplink of rack " + rack.name);
      }
    }
  }

  void link(double rate, double bytes, Duration start, const std::string& which) {
    Capacity capacity;
    capacity.add(rate, start, {});
    consider(capacity.seconds(bytes, start), which);
  }

  const Scenario& scenario_;
  const Wants& wants_;
  Capacity seeds_;
  std::vector<Kind> kinds_;
  std::vector<Class> classes_;
  Bound found_;
  double seconds_ = 0;
  bool which_known_ = false;
};

}  // namespace

Bound lower_bound(const Scenario& scenario, const Wants& wants) {
  return Bounds(scenario, wants).largest();
}

}  // namespace shardswarm::sim
