// A download scheduler with what a test wants to know of its decisions.
#pragma once

#include <chrono>
#include <map>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "scheduler/download.h"

namespace shardswarm::test {

using namespace std::chrono_literals;

inline constexpr std::uint32_t kPieces = 400;
inline constexpr std::uint32_t kBytes = 256 * 1024;
inline constexpr std::uint64_t kWindowUnmeasured =
    4 * limits::kWindowBytesMin;  // 8 of these pieces
inline constexpr PeerKey kAnn(1), kBob(2), kCid(3);

inline PieceRun run(std::uint32_t first, std::uint32_t count = 1) {
  return {PieceIndex(first), count};
}

inline PieceSet set_of(PieceRun pieces) {
  PieceSet set(kPieces);
  set.insert(pieces);
  return set;
}

struct Downloader {
  explicit Downloader(
      PieceRun wanted = run(0, kPieces), std::uint64_t seed = 1,
      PieceBytes bytes = [](PieceIndex) { return kBytes; })
      : Downloader(wanted, options(seed), std::move(bytes)) {}
  Downloader(
      PieceRun wanted, DownloadOptions options,
      PieceBytes bytes = [](PieceIndex) { return kBytes; })
      : scheduler(kPieces, std::move(bytes), std::move(options)) {
    scheduler.want(set_of(wanted));
  }
  static DownloadOptions options(std::uint64_t seed) {
    DownloadOptions options;
    options.seed = seed;
    return options;
  }

  void add(PeerKey peer, PieceRun pieces, Time now = 0s) {
    scheduler.add_peer(peer, now);
    has(peer, pieces);
  }
  void has(PeerKey peer, PieceRun pieces) { scheduler.peer_has(peer, {&pieces, 1}); }
  void reject(PeerKey peer, PieceRun pieces, Time now) {
    scheduler.rejected(peer, {&pieces, 1}, now);
  }
  bool claimed(PeerKey peer, std::uint32_t piece, Time now) {
    return scheduler.claimed(peer, PieceIndex(piece), now);
  }
  // The whole piece comes, is right and is ours.
  void deliver(PeerKey peer, std::uint32_t piece, Time now) {
    scheduler.begins(peer, PieceIndex(piece), now);
    scheduler.bytes_arrived(peer, PieceIndex(piece), kBytes, now);
    scheduler.arrived(peer, PieceIndex(piece));
    scheduler.verified(PieceIndex(piece));
  }
  // Decides, and keeps who is asked for what.
  Decision decide(Time now) {
    Decision decision = scheduler.decide(now);
    for (const Withdraw& withdraw : decision.withdraw) asked[withdraw.peer] -= set(withdraw.pieces);
    for (const Ask& ask : decision.ask) asked[ask.peer] |= set(ask.pieces);
    return decision;
  }

  struct Sets : std::map<PeerKey, PieceSet> {
    PieceSet& operator[](PeerKey peer) { return try_emplace(peer, kPieces).first->second; }
  };
  static PieceSet set(const std::vector<PieceRun>& runs) {
    PieceSet pieces(kPieces);
    for (const PieceRun& r : runs) pieces.insert(r);
    return pieces;
  }

  DownloadScheduler scheduler;
  Sets asked;
};

inline std::uint64_t credit_of(const Decision& decision, PeerKey peer) {
  std::uint64_t credit = 0;
  for (const Ask& ask : decision.ask) credit += ask.peer == peer ? ask.credit_bytes : 0;
  return credit;
}

inline std::uint64_t later_credit(Downloader& down, PeerKey peer, Time now) {
  std::uint64_t credit = 0;
  for (; now < 20s; now += 100ms) credit += credit_of(down.decide(now), peer);
  return credit;
}

}  // namespace shardswarm::test
