// Every limit of the project, in one place, with the relations between them asserted.
// Nothing received is believed before it was compared with one of these.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shardswarm::limits {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

// --- piece: what is moved ---
inline constexpr std::uint64_t kPieceBytesMax = kMiB;
inline constexpr std::uint32_t kPiecesMax = 1U << 24;              // a model: 16 TiB in full pieces
inline constexpr std::uint64_t kHeaderJsonBytesMax = 100'000'000;  // the reference reader's limit
inline constexpr std::uint64_t kHeaderBytesMax = 8 + kHeaderJsonBytesMax;
inline constexpr std::uint32_t kTensorsMax = 1U
                                             << 20;  // in one file; DeepSeek-V3 has 91,991 in all
inline constexpr std::size_t kTensorNameBytesMax = 4096;
inline constexpr std::size_t kTensorRankMax = 64;
inline constexpr std::size_t kPathBytesMax = 1024;
inline constexpr std::uint32_t kFilesMax = 1U << 16;
inline constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 53;  // exact in a JSON number
inline constexpr std::uint64_t kRootBytesMax = 16 * kMiB;
// Other files than tensors come with a selection up to this size.
inline constexpr std::uint64_t kSmallFileBytesMax = 64 * kMiB;

// --- wire: how peers talk ---
inline constexpr std::uint32_t kFrameHeaderBytes = 16;
inline constexpr std::uint32_t kDataBytesMax = kMiB;  // in a DATA frame: a whole piece
// In a BLOB frame, and of what is sent in DATA frames but on fast links: so that control gets
// through.
inline constexpr std::uint32_t kShortFrameBytes = 128 * kKiB;
inline constexpr std::uint32_t kControlBytesMax = 256 * kKiB;  // body of a control frame
inline constexpr std::uint32_t kModelsPerConnectionMax = 1024;
inline constexpr std::uint32_t kBlobRequestsPerPeerMax = 64;
// Longer blobs are not compressed: that would hold up the thread that moves everybody's bytes.
inline constexpr std::uint64_t kCompressedBlobBytesMax = 16 * kMiB;
inline constexpr std::uint32_t kPeerAddressesMax = 256;  // in one PEERS message
inline constexpr std::size_t kAddressBytesMax = 256;     // "host:port"
inline constexpr std::size_t kSiteBytesMax = 64;
inline constexpr std::uint32_t kClaimPiecesMax = 1024;       // in one CLAIM
inline constexpr std::size_t kReasonBytesMax = 1024;         // text of CLOSE and REJECT
inline constexpr std::size_t kSendQueueBytesMax = 8 * kMiB;  // control bytes queued to one peer
inline constexpr std::uint64_t kCreditBytesMax = kGiB;       // what one peer may have asked for

// HAVE, LOST and WANT cost their receiver time for each piece they name, however short the frames:
// 16 million pieces are a run of 10 bytes. So a peer may name so many times the pieces of a model
// on a connection at once, and all of them once more every so many seconds. A fetch comes to 5, and
// so does each widening: OPEN, two WANTs, and HAVE of each piece, twice where it crossed the
// introduction. At the refill rate 100 such peers take a few per cent of a processor.
inline constexpr std::uint32_t kNamedTimesMax = 32;
inline constexpr std::uint32_t kNamedRefillSeconds = 30;
inline constexpr std::uint32_t kNamedPiecesMin = 4096;  // a smaller model counts as so large

// --- scheduler: who sends what next ---
inline constexpr std::uint64_t kWindowBytesMin = 2 * 256 * kKiB;
inline constexpr std::uint64_t kWindowBytesMax = 16 * kMiB;
// Neighbours in a large swarm: random graphs of this degree have a diameter of 3 at 1,000 nodes and
// stay connected when most nodes go. 64 nodes are a full mesh: with 40 of 63 neighbours each the
// uplinks are busy for 92 % of the time instead of 98 %. Up to half as many more dialers are taken,
// and beyond these there is room for visitors, who are told of others.
inline constexpr std::uint32_t kDegree = 64;
inline constexpr std::uint32_t kNeighboursMax = kDegree + kDegree / 2;
inline constexpr std::uint32_t kConnectionsMax = 200;

// --- storage: where bytes live ---
inline constexpr std::uint64_t kBufferBytesLarge = kPieceBytesMax;
inline constexpr std::uint64_t kBufferBytesSmall = 64 * kKiB;
inline constexpr std::uint32_t kBuffersLarge = 40;
inline constexpr std::uint32_t kBuffersSmall = 256;
// What is kept of a model's pieces while it is fetched or served: schedulers, ledger, sets. So much
// of each, and so much more for each connected peer.
inline constexpr std::uint64_t kPieceStateBytes = 64;
inline constexpr std::uint64_t kPieceStatePeerBytes = 4;
// Payload received but not yet durable; a crash costs at most this much again.
inline constexpr std::uint64_t kUndurableBytesMax = 48 * kMiB;
inline constexpr std::uint64_t kSyncBytes = 16 * kMiB;  // written since the last sync: start one

static_assert(kDataBytesMax <= kPieceBytesMax);
static_assert(kPieceBytesMax % kShortFrameBytes == 0);
static_assert(kBufferBytesLarge >= kPieceBytesMax);
static_assert(kBufferBytesSmall < kBufferBytesLarge);
static_assert(kSyncBytes * 2 <= kUndurableBytesMax);
static_assert(kWindowBytesMin <= kWindowBytesMax);
static_assert(kWindowBytesMax <= kCreditBytesMax);
static_assert(kBuffersLarge * kBufferBytesLarge + kBuffersSmall * kBufferBytesSmall <= 64 * kMiB,
              "the memory target is 128 MiB in all");
static_assert(kNeighboursMax * 2 <= kConnectionsMax, "visitors and dials need room");
static_assert(kNeighboursMax <= kPeerAddressesMax, "one PEERS tells of all neighbours");
static_assert(kFilesMax <= kPiecesMax);

}  // namespace shardswarm::limits
