// What a decision costs: 100,000 pieces of 1 MiB, 64 peers.
#include <benchmark/benchmark.h>

#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "base/limits.h"
#include "scheduler/download.h"
#include "scheduler/upload.h"

namespace shardswarm {
namespace {

constexpr std::uint32_t kPieces = 100'000;
constexpr std::uint32_t kPeers = 64;
constexpr std::uint32_t kBytes = limits::kPieceBytesMax;
constexpr Duration kPieceTime = std::chrono::milliseconds(1);  // 1 GB/s in all

std::uint32_t piece_bytes(PieceIndex) { return kBytes; }
PeerKey peer_key(std::uint64_t peer) { return PeerKey(peer + 1); }

// One fetch from start to end: each step a peer sends a piece in 8 frames, the piece is stored, and
// some peer announces a random one. After each event the scheduler decides, as the core does.
class Fetch {
 public:
  // Of every 100 pieces, `shared` are held by about half of the peers, the others by peer 0 alone.
  explicit Fetch(std::uint32_t shared)
      : scheduler_(kPieces, piece_bytes, DownloadOptions()), peers_(kPeers) {
    std::vector<std::vector<PieceRun>> held(kPeers);
    for (std::uint32_t piece = 0; piece < kPieces; ++piece) {
      const bool one_holder = random_() % 100 >= shared;
      for (std::uint32_t peer = 0; peer < kPeers; ++peer) {
        const bool holds = one_holder ? peer == 0 : random_() % 2 == 0;
        if (holds) held[peer].push_back({PieceIndex(piece), 1});
      }
    }
    for (std::uint32_t peer = 0; peer < kPeers; ++peer) {
      scheduler_.add_peer(peer_key(peer), now_);
      scheduler_.peer_has(peer_key(peer), held[peer]);
    }
    scheduler_.want(PieceSet::full(kPieces));
  }

  // False: nothing is under way.
  bool run() {
    decide();
    while (!scheduler_.done()) {
      if (!step()) return false;
    }
    return true;
  }

  std::uint64_t decides() const { return decides_; }

 private:
  struct Peer {
    std::deque<PieceIndex> pulled;
    std::deque<PieceIndex> offered;
    PieceSet waiting{kPieces};  // of both, not withdrawn
    std::uint64_t credit = 0;
  };

  void decide() {
    const Decision decision = scheduler_.decide(now_);
    benchmark::DoNotOptimize(scheduler_.next_deadline());
    ++decides_;
    for (const Withdraw& withdraw : decision.withdraw) {
      Peer& peer = peers_[withdraw.peer.value - 1];
      for (const PieceRun& run : withdraw.pieces) peer.waiting.erase(run);
    }
    for (const Ask& ask : decision.ask) {
      Peer& peer = peers_[ask.peer.value - 1];
      std::deque<PieceIndex>& to = ask.any ? peer.offered : peer.pulled;
      for (const PieceRun& run : ask.pieces) {
        peer.waiting.insert(run);
        for (std::uint32_t i = 0; i < run.count; ++i) to.emplace_back(run.first.value + i);
      }
      peer.credit += ask.credit_bytes;
    }
  }

  bool step() {
    for (std::uint32_t tried = 0; tried < kPeers; ++tried) {
      next_peer_ = (next_peer_ + 1) % kPeers;
      if (!send(next_peer_)) continue;
      idle_ = 0;
      return true;
    }
    now_ += std::chrono::milliseconds(100);  // what is late may be asked of others
    decide();
    return ++idle_ < 1000;
  }

  std::optional<PieceIndex> next(Peer& peer) {
    while (!peer.pulled.empty()) {
      const PieceIndex piece = peer.pulled.front();
      peer.pulled.pop_front();
      if (peer.waiting.erase(piece)) return piece;
    }
    while (!peer.offered.empty() && peer.credit >= kBytes) {
      const PieceIndex piece = peer.offered.front();
      peer.offered.pop_front();
      if (!peer.waiting.erase(piece)) continue;
      peer.credit -= kBytes;
      return piece;
    }
    return std::nullopt;
  }

  bool send(std::uint32_t number) {
    const auto next_piece = next(peers_[number]);
    if (!next_piece) return false;
    const PieceIndex piece = *next_piece;
    const PeerKey key = peer_key(number);
    if (!scheduler_.claimed(key, piece, now_)) return true;
    decide();
    for (std::uint32_t sent = 0; sent < kBytes; sent += limits::kShortFrameBytes) {
      now_ += kPieceTime / (kBytes / limits::kShortFrameBytes);
      scheduler_.bytes_arrived(key, piece, limits::kShortFrameBytes, now_);
      decide();
    }
    scheduler_.arrived(key, piece);
    decide();
    scheduler_.verified(piece);
    decide();
    const PieceRun announced{PieceIndex(static_cast<std::uint32_t>(random_() % kPieces)), 1};
    scheduler_.peer_has(peer_key(random_() % kPeers), {&announced, 1});
    decide();
    return true;
  }

  DownloadScheduler scheduler_;
  std::vector<Peer> peers_;
  std::mt19937_64 random_{1};
  Time now_ = std::chrono::seconds(1);
  std::uint32_t next_peer_ = 0;
  std::uint32_t idle_ = 0;
  std::uint64_t decides_ = 0;
};

void per(benchmark::State& state, const char* what, std::uint64_t count) {
  state.counters[what] = benchmark::Counter(
      static_cast<double>(count), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// The argument: how many of 100 pieces have several holders.
void Download(benchmark::State& state) {
  std::uint64_t pieces = 0;
  std::uint64_t decides = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto fetch = std::make_unique<Fetch>(static_cast<std::uint32_t>(state.range(0)));
    state.ResumeTiming();
    if (!fetch->run()) {
      state.SkipWithError("the fetch stands still");
      return;
    }
    pieces += kPieces;
    decides += fetch->decides();
    state.PauseTiming();
    fetch.reset();
    state.ResumeTiming();
  }
  per(state, "s_per_piece", pieces);
  per(state, "s_per_decide", decides);
}
BENCHMARK(Download)->Arg(100)->Arg(0)->Arg(50)->Unit(benchmark::kMillisecond);

// A node that holds everything, and peers that begin with nothing and are connected to each other.
class Service {
 public:
  explicit Service(bool offers) : offers_(offers), scheduler_(kPieces, piece_bytes, {}) {
    const PieceRun all{PieceIndex(0), kPieces};
    scheduler_.have({&all, 1});
    std::vector<NodeId> ids(kPeers);
    for (std::uint32_t peer = 0; peer < kPeers; ++peer) ids[peer].bytes[0] = std::byte(peer);
    for (std::uint32_t peer = 0; peer < kPeers; ++peer) {
      scheduler_.add_peer(peer_key(peer), ids[peer], now_);
      scheduler_.peer_connected_to(peer_key(peer), ids);
      scheduler_.peer_wants(peer_key(peer), {&all, 1});
      if (offers_) scheduler_.asked(peer_key(peer), {&all, 1}, limits::kWindowBytesMax, true);
    }
  }

  // Each peer in turn asks for more and is sent a piece, which another then announces.
  bool step() {
    const std::uint64_t number = turn_++ % kPeers;
    const PeerKey peer = peer_key(number);
    now_ += kPieceTime;
    if (offers_) {
      scheduler_.asked(peer, {}, kBytes, true);
    } else {
      const PieceRun run{PieceIndex(static_cast<std::uint32_t>(random_() % kPieces)), 1};
      scheduler_.asked(peer, {&run, 1}, 0, false);
    }
    if (const auto due = scheduler_.next_deadline(); due && *due <= now_) scheduler_.expire(now_);
    const auto piece = scheduler_.choose(peer, UploadScheduler::Copy::kAny, now_);
    if (!piece) return false;
    scheduler_.sent(peer, *piece, kBytes, now_);
    const PieceRun announced{*piece, 1};
    const std::uint64_t other = (number + 1 + random_() % (kPeers - 1)) % kPeers;
    scheduler_.peer_has(peer_key(other), {&announced, 1}, now_);
    return true;
  }

 private:
  bool offers_;
  UploadScheduler scheduler_;
  std::mt19937_64 random_{1};
  Time now_ = std::chrono::seconds(1);
  std::uint64_t turn_ = 0;
};

// 300,000 choices: 100,000 first copies, then further ones. The argument: whether the peers offer.
void Upload(benchmark::State& state) {
  constexpr std::uint32_t kSteps = 3 * kPieces;
  std::uint64_t chosen = 0;
  std::uint64_t turns = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto service = std::make_unique<Service>(state.range(0) != 0);
    state.ResumeTiming();
    for (std::uint32_t i = 0; i < kSteps; ++i) chosen += service->step() ? 1U : 0U;
    turns += kSteps;
    state.PauseTiming();
    service.reset();
    state.ResumeTiming();
  }
  per(state, "s_per_choose", turns);
  state.counters["found"] = static_cast<double>(chosen) / static_cast<double>(turns);
}
BENCHMARK(Upload)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace shardswarm
