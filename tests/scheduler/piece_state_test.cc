// What the schedulers keep of each piece stays below the bound that a fetch reports.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdint>

#include "base/limits.h"
#include "scheduler/download.h"
#include "scheduler/upload.h"

namespace shardswarm {
namespace {

std::uint32_t piece_bytes(PieceIndex) { return limits::kPieceBytesMax; }

std::uint64_t allocated_bytes() {
  const auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(PieceState, HoldsItsBoundAtTheSizeOfTheLargestModels) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's allocator does not count";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a sanitizer's allocator does not count";
#endif
#endif
  constexpr std::uint32_t kPieces = 774'000;  // Llama-3.1-405B
  constexpr std::uint64_t kPeers = 64;
  const PieceRun all{PieceIndex(0), kPieces};
  const std::uint64_t before = allocated_bytes();
  DownloadScheduler download(kPieces, piece_bytes, {});
  UploadScheduler upload(kPieces, piece_bytes, {});
  download.want(PieceSet::full(kPieces));
  const std::uint64_t alone = allocated_bytes() - before;
  EXPECT_GT(alone, kPieces);  // it counts
  EXPECT_LE(alone, kPieces * limits::kPieceStateBytes);
  for (std::uint64_t peer = 1; peer <= kPeers; ++peer) {
    download.add_peer(PeerKey(peer), Time{});
    download.peer_has(PeerKey(peer), {&all, 1});
    upload.add_peer(PeerKey(peer), {}, Time{});
    upload.peer_wants(PeerKey(peer), {&all, 1});
  }
  download.decide(Time{});
  const std::uint64_t with_peers = allocated_bytes() - before;
  EXPECT_LE(with_peers,
            kPieces * (limits::kPieceStateBytes + kPeers * limits::kPieceStatePeerBytes));
  RecordProperty("bytes_per_piece", static_cast<int>(alone / kPieces));
  RecordProperty("bytes_per_piece_and_peer_x100",
                 static_cast<int>((with_peers - alone) * 100 / kPeers / kPieces));
}

}  // namespace
}  // namespace shardswarm
