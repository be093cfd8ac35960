#include "node/progress_meter.h"

#include <algorithm>
#include <chrono>

namespace shardswarm {
namespace {

constexpr auto kRateWindow = std::chrono::seconds(3);

double seconds_of(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

FetchProgress ProgressMeter::sample(const ModelStatus& status, bool root_known, Time now) {
  find_phase(status, root_known);
  FetchProgress progress;
  progress.phase = phase_;
  progress.wanted_bytes = status.wanted_bytes;
  progress.present_bytes = status.present_bytes;
  progress.fetched_bytes = status.fetched_bytes;
  progress.peers = status.peers;
  progress.bytes_per_second = rate(status.fetched_bytes, now);
  const bool from_peers = phase_ == FetchPhase::kConnecting || phase_ == FetchPhase::kManifest ||
                          phase_ == FetchPhase::kFetching;
  if (from_peers) {
    progress.stalled_seconds = std::max(0.0, seconds_of(now - status.last_progress));
    progress.gives_up_seconds = std::max(0.0, seconds_of(status.gives_up_at - now));
  }
  if (from_peers && status.waits_until) {
    progress.wait_seconds = std::max(0.0, seconds_of(*status.waits_until - now));
  }
  progress.lacking = status.lacking;
  progress.unreachable = status.unreachable;
  if (status.lost) {
    progress.lost_address = status.lost->address;
    progress.lost_why = status.lost->why;
    progress.lost_seconds = seconds_of(now - status.lost->at);
  }
  return progress;
}

void ProgressMeter::find_phase(const ModelStatus& status, bool root_known) {
  if (phase_ >= FetchPhase::kDone) return;
  if (status.active) {
    const bool all = status.present_bytes == status.wanted_bytes;
    phase_ = all ? FetchPhase::kFinishing : FetchPhase::kFetching;
  } else if (status.learned) {
    phase_ = FetchPhase::kChecking;
  } else {
    phase_ = root_known ? FetchPhase::kManifest : FetchPhase::kConnecting;
  }
}

double ProgressMeter::rate(std::uint64_t fetched_bytes, Time now) {
  samples_.emplace_back(now, fetched_bytes);
  while (samples_.size() > 2 && now - samples_.front().first > kRateWindow) samples_.pop_front();
  const auto& [since, bytes] = samples_.front();
  const double seconds = seconds_of(now - since);
  return seconds > 0 ? static_cast<double>(fetched_bytes - bytes) / seconds : 0;
}

std::vector<FetchEvent> ProgressMeter::peer_events(const std::map<NodeId, PeerTally>& tallies) {
  std::vector<FetchEvent> events;
  for (const auto& [id, tally] : tallies) {
    const bool here = tally.connections > 0;
    if (here && connected_.insert(id).second) {
      events.push_back(
          {.kind = FetchEvent::Kind::kPeerJoined, .peer = id, .address = tally.address});
    } else if (!here && connected_.erase(id) > 0) {
      events.push_back({.kind = FetchEvent::Kind::kPeerLost,
                        .peer = id,
                        .address = tally.address,
                        .reason = tally.lost_why});
    }
  }
  return events;
}

}  // namespace shardswarm
