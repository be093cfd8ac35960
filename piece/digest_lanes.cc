#include "piece/digest_lanes.h"

#include <algorithm>
#include <cassert>

#if defined(__x86_64__) && defined(__GNUC__)
#define SHARDSWARM_SHA_NI
#include <cpuid.h>
#include <immintrin.h>

#include <bit>
#include <cstring>
#include <utility>
#endif

namespace shardswarm {
namespace {

// FIPS 180-4, 5.3.3.
constexpr std::array<std::uint32_t, 8> kStart = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

}  // namespace

#ifdef SHARDSWARM_SHA_NI
namespace {

// FIPS 180-4, 4.2.2.
alignas(16) constexpr std::array<std::uint32_t, 64> kRounds = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// A message's state as the instructions want it, and the last 16 words of its schedule.
struct Registers {
  __m128i abef;
  __m128i cdgh;
  __m128i words[4];
};

const __m128i* vector_at(const void* at) { return static_cast<const __m128i*>(at); }

#define SHARDSWARM_SHA_CODE [[gnu::target("sha,sse4.1"), gnu::always_inline]] inline

using State = std::array<std::uint32_t, 8>;

SHARDSWARM_SHA_CODE void load_state(const State& state, Registers& r) {
  const __m128i abcd = _mm_loadu_si128(vector_at(state.data()));
  const __m128i efgh = _mm_loadu_si128(vector_at(state.data() + 4));
  const __m128i cdab = _mm_shuffle_epi32(abcd, 0xb1);
  const __m128i hgfe = _mm_shuffle_epi32(efgh, 0x1b);
  r.abef = _mm_alignr_epi8(cdab, hgfe, 8);
  r.cdgh = _mm_blend_epi16(hgfe, cdab, 0xf0);
}

SHARDSWARM_SHA_CODE void store_state(const Registers& r, State& state) {
  const __m128i feba = _mm_shuffle_epi32(r.abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(r.cdgh, 0xb1);
  auto* into = reinterpret_cast<__m128i*>(state.data());
  _mm_storeu_si128(into, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(into + 1, _mm_alignr_epi8(dchg, feba, 8));
}

// Rounds 4 * kFour to 4 * kFour + 3.
template <std::size_t kFour>
SHARDSWARM_SHA_CODE void four_rounds(Registers& r, const std::byte* block) {
  __m128i& words = r.words[kFour % 4];
  if constexpr (kFour < 4) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    words = _mm_shuffle_epi8(_mm_loadu_si128(vector_at(block + 16 * kFour)), big_endian);
  } else {
    const __m128i last = r.words[(kFour + 3) % 4];
    const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(words, r.words[(kFour + 1) % 4]),
                                      _mm_alignr_epi8(last, r.words[(kFour + 2) % 4], 4));
    words = _mm_sha256msg2_epu32(sum, last);
  }
  const __m128i keyed = _mm_add_epi32(words, _mm_load_si128(vector_at(&kRounds[4 * kFour])));
  r.cdgh = _mm_sha256rnds2_epu32(r.cdgh, r.abef, keyed);
  r.abef = _mm_sha256rnds2_epu32(r.abef, r.cdgh, _mm_shuffle_epi32(keyed, 0x0e));
}

template <std::size_t... kFours>
SHARDSWARM_SHA_CODE void all_rounds(Registers& one, const std::byte* block, Registers& other,
                                    const std::byte* other_block, std::index_sequence<kFours...>) {
  ((four_rounds<kFours>(one, block), four_rounds<kFours>(other, other_block)), ...);
}

template <std::size_t... kFours>
SHARDSWARM_SHA_CODE void all_rounds(Registers& one, const std::byte* block,
                                    std::index_sequence<kFours...>) {
  (four_rounds<kFours>(one, block), ...);
}

SHARDSWARM_SHA_CODE void add_state(Registers& r, const Registers& before) {
  r.abef = _mm_add_epi32(r.abef, before.abef);
  r.cdgh = _mm_add_epi32(r.cdgh, before.cdgh);
}

bool has_sha_ni() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kSha = 1U << 29;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & kSha) != 0;
}

}  // namespace

[[gnu::target("sha,sse4.1")]] void Sha256Lanes::compress(Lane& lane, std::size_t blocks) {
  Registers r;
  load_state(lane.state, r);
  for (std::size_t i = 0; i < blocks; ++i, lane.at += kBlockBytes) {
    const Registers before = r;
    all_rounds(r, lane.at, std::make_index_sequence<16>());
    add_state(r, before);
  }
  store_state(r, lane.state);
  lane.blocks -= blocks;
}

[[gnu::target("sha,sse4.1")]] void Sha256Lanes::compress(Lane& one, Lane& other,
                                                         std::size_t blocks) {
  Registers first;
  Registers second;
  load_state(one.state, first);
  load_state(other.state, second);
  for (std::size_t i = 0; i < blocks; ++i) {
    const Registers first_before = first;
    const Registers second_before = second;
    all_rounds(first, one.at + i * kBlockBytes, second, other.at + i * kBlockBytes,
               std::make_index_sequence<16>());
    add_state(first, first_before);
    add_state(second, second_before);
  }
  store_state(first, one.state);
  store_state(second, other.state);
  for (Lane* lane : {&one, &other}) {
    lane->at += blocks * kBlockBytes;
    lane->blocks -= blocks;
  }
}

Digest Sha256Lanes::digest_of(const Lane& lane) {
  Digest digest;
  for (std::size_t i = 0; i < lane.state.size(); ++i) {
    const std::uint32_t word = std::byteswap(lane.state[i]);
    std::memcpy(digest.bytes.data() + 4 * i, &word, sizeof word);
  }
  return digest;
}
#endif

std::size_t sha256_lanes() {
#ifdef SHARDSWARM_SHA_NI
  static const std::size_t lanes = has_sha_ni() ? 2 : 1;
  return lanes;
#else
  return 1;
#endif
}

void Sha256Lanes::begin(std::span<const std::byte> message, std::size_t tag) {
  assert(free() > 0);
  Lane& lane = lanes_[0].busy ? lanes_[1] : lanes_[0];
  ++under_way_;
  lane.busy = true;
  lane.tag = tag;
  lane.message = message;
  lane.at = message.data();
  lane.blocks = message.size() / kBlockBytes;
  lane.state = kStart;
  const auto rest = message.subspan(lane.blocks * kBlockBytes);
  lane.tail.fill(std::byte{0});
  std::ranges::copy(rest, lane.tail.begin());
  lane.tail[rest.size()] = std::byte{0x80};
  lane.tail_blocks = rest.size() + 1 + sizeof(std::uint64_t) > kBlockBytes ? 2 : 1;
  const std::uint64_t bits = std::uint64_t{message.size()} * 8;
  for (std::size_t i = 0; i < sizeof bits; ++i) {
    lane.tail[lane.tail_blocks * kBlockBytes - 1 - i] = static_cast<std::byte>(bits >> (8 * i));
  }
}

std::optional<Sha256Lanes::Done> Sha256Lanes::advance() {
  assert(under_way_ > 0);
  Lane& first = lanes_[0].busy ? lanes_[0] : lanes_[1];
  if (count_ == 1) {
    first.busy = false;
    --under_way_;
    return Done{first.tag, sha256(first.message)};
  }
#ifdef SHARDSWARM_SHA_NI
  for (Lane& lane : lanes_) {
    if (!lane.busy || lane.blocks > 0) continue;
    if (lane.tail_blocks == 0) {
      lane.busy = false;
      --under_way_;
      return Done{lane.tag, digest_of(lane)};
    }
    lane.at = lane.tail.data();
    lane.blocks = std::exchange(lane.tail_blocks, 0);
  }
  constexpr std::size_t kBlocks = 1024;  // 20 to 40 us: then a free lane may take another message
  if (under_way_ == 2) {
    compress(lanes_[0], lanes_[1], std::min({lanes_[0].blocks, lanes_[1].blocks, kBlocks}));
  } else {
    compress(first, std::min(first.blocks, kBlocks));
  }
#endif
  return std::nullopt;
}

void sha256_each(std::span<const std::span<const std::byte>> messages, std::span<Digest> digests) {
  assert(messages.size() == digests.size());
  Sha256Lanes lanes;
  for (std::size_t next = 0; next < messages.size() || lanes.under_way() > 0;) {
    if (lanes.free() > 0 && next < messages.size()) {
      lanes.begin(messages[next], next);
      ++next;
    } else if (const auto done = lanes.advance()) {
      digests[done->tag] = done->digest;
    }
  }
}

}  // namespace shardswarm
