#include "cli/progress.h"

#include <fmt/format.h>

#include "cli/format.h"

namespace shardswarm::cli {
namespace {

// Shorter pauses are usual: a slow disk, a peer that serves others first.
constexpr double kQuietSeconds = 3;

bool waits(const FetchProgress& progress) {
  const bool asks = progress.phase == FetchPhase::kFetching ||
                    progress.phase == FetchPhase::kManifest ||
                    progress.phase == FetchPhase::kConnecting;
  if (!asks) return false;
  return progress.peers == 0 ? progress.stalled_seconds >= 1
                             : progress.stalled_seconds >= kQuietSeconds;
}

// Whom or what the fetch waits for, why, and when it gives up.
std::string waiting_text(const FetchProgress& progress) {
  std::string why;
  if (progress.peers > 0) {
    why = fmt::format("nothing came for {:.0f} s", progress.stalled_seconds);
  } else if (!progress.lost_address.empty()) {
    why = fmt::format("last: {}, lost {:.0f} s ago: {}", progress.lost_address,
                      progress.lost_seconds, progress.lost_why);
  } else {
    why = progress.unreachable;
  }
  const std::string end = fmt::format("giving up in {:.0f} s", progress.gives_up_seconds);
  const std::string reasons = why.empty() ? end : why + "; " + end;
  if (progress.peers == 0) return fmt::format("waiting for a peer ({})", reasons);
  return fmt::format("waiting for {} ({})",
                     progress.phase == FetchPhase::kFetching ? "pieces" : "the manifest", reasons);
}

}  // namespace

std::string_view phase_name(FetchPhase phase) {
  switch (phase) {
    case FetchPhase::kConnecting:
      return "connecting";
    case FetchPhase::kManifest:
      return "manifest";
    case FetchPhase::kChecking:
      return "checking";
    case FetchPhase::kFetching:
      return "fetching";
    case FetchPhase::kFinishing:
      return "finishing";
    case FetchPhase::kDone:
      return "done";
    case FetchPhase::kFailed:
      return "failed";
  }
  return "?";
}

double seconds_left(const FetchProgress& progress) {
  if (progress.wanted_bytes == 0 || progress.bytes_per_second <= 0 || waits(progress)) return -1;
  return static_cast<double>(progress.wanted_bytes - progress.present_bytes) /
         progress.bytes_per_second;
}

Status fetch_status(const FetchProgress& progress) {
  Status status;
  status.state = phase_name(progress.phase);
  if (progress.wanted_bytes > 0) {
    status.fraction =
        static_cast<double>(progress.present_bytes) / static_cast<double>(progress.wanted_bytes);
    status.amount = fmt::format("{} of {}", bytes_text(progress.present_bytes),
                                bytes_text(progress.wanted_bytes));
  }
  status.peers = fmt::format("{} peer{}", progress.peers, progress.peers == 1 ? "" : "s");
  if (waits(progress)) {
    status.state = waiting_text(progress);
    status.short_state =
        fmt::format("{}, giving up in {:.0f} s", progress.peers == 0 ? "no peer" : "waiting",
                    progress.gives_up_seconds);
    return status;
  }
  if (progress.phase == FetchPhase::kFetching) {
    status.rate = short_rate_text(progress.bytes_per_second);
    status.time_left = time_left_text(seconds_left(progress));
  }
  return status;
}

Status index_status(std::uint64_t done_bytes, std::uint64_t total_bytes, double seconds) {
  Status status;
  status.state = "hashing";
  status.fraction =
      total_bytes == 0 ? 1 : static_cast<double>(done_bytes) / static_cast<double>(total_bytes);
  status.amount = fmt::format("{} of {}", bytes_text(done_bytes), bytes_text(total_bytes));
  if (seconds > 0 && done_bytes > 0) {
    const double rate = static_cast<double>(done_bytes) / seconds;
    status.rate = short_rate_text(rate);
    status.time_left = time_left_text(static_cast<double>(total_bytes - done_bytes) / rate);
  }
  return status;
}

}  // namespace shardswarm::cli
