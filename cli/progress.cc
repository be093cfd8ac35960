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

std::string duration_text(double seconds) {
  return seconds < 60 ? fmt::format("{:.0f} s", seconds) : seconds_text(seconds);
}

// Empty if it may be now.
std::string time_until_text(std::string_view before, double seconds) {
  return seconds < 1 ? std::string() : fmt::format("{}{}", before, duration_text(seconds));
}

// Why nothing comes, as far as it is known.
std::string reason_text(const FetchProgress& progress) {
  if (progress.peers > 0 || !progress.lacking.empty()) {
    if (!progress.lacking.empty()) return progress.lacking;
    return fmt::format("nothing came for {:.0f} s", progress.stalled_seconds);
  }
  if (progress.lost_address.empty()) return progress.unreachable;
  return fmt::format("last: {}, lost {:.0f} s ago: {}", progress.lost_address,
                     progress.lost_seconds, progress.lost_why);
}

// Whom or what the fetch waits for, why, and when it gives up.
std::string waiting_text(const FetchProgress& progress) {
  if (progress.wait_seconds > 0) {
    return fmt::format("waiting for the source{}{}",
                       time_until_text(" for another ", progress.wait_seconds),
                       progress.unreachable.empty() ? "" : " (last: " + progress.unreachable + ")");
  }
  const std::string why = reason_text(progress);
  const std::string end = "giving up" + time_until_text(" in ", progress.gives_up_seconds);
  const std::string reasons = why.empty() ? end : why + "; " + end;
  if (progress.peers == 0 && progress.lacking.empty()) {
    return fmt::format("waiting for a peer ({})", reasons);
  }
  return fmt::format("waiting for {} ({})",
                     progress.phase == FetchPhase::kFetching ? "pieces" : "the manifest", reasons);
}

std::string short_waiting_text(const FetchProgress& progress) {
  if (progress.wait_seconds > 0) {
    return "no source yet" + time_until_text(", waiting ", progress.wait_seconds);
  }
  return fmt::format("{}, giving up{}", progress.peers == 0 ? "no peer" : "waiting",
                     time_until_text(" in ", progress.gives_up_seconds));
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
  // Why it ended the next line says: a failure, or the user who interrupted it.
  status.state = progress.phase == FetchPhase::kFailed ? "ended" : phase_name(progress.phase);
  if (progress.wanted_bytes > 0) {
    status.fraction =
        static_cast<double>(progress.present_bytes) / static_cast<double>(progress.wanted_bytes);
    status.amount = fmt::format("{} of {}", bytes_text(progress.present_bytes),
                                bytes_text(progress.wanted_bytes));
  }
  status.peers = fmt::format("{} peer{}", progress.peers, progress.peers == 1 ? "" : "s");
  if (waits(progress)) {
    status.state = waiting_text(progress);
    status.short_state = short_waiting_text(progress);
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
