// Digests: SHA-256 names content (OpenSSL EVP), XXH3-64 guards against accidents (ledger only).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace shardswarm {

struct Digest {
  std::array<std::byte, 32> bytes{};
  friend auto operator<=>(const Digest&, const Digest&) = default;
};
static_assert(sizeof(Digest) == 32);

// A model's id: the SHA-256 of its encoded manifest root.
using ModelId = Digest;
// A node's id: the SHA-256 of its public key (DER SubjectPublicKeyInfo), or random in plaintext.
using NodeId = Digest;

Digest sha256(std::span<const std::byte> data);
std::uint64_t xxh3_64(std::span<const std::byte> data);

// 64 lower-case hex digits.
std::string to_hex(const Digest& digest);
// Exactly 64 hex digits of either case; kMalformed otherwise.
Result<Digest> digest_from_hex(std::string_view hex);

// SHA-256 over several spans. Not thread-safe; one per worker, reusable after finish().
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::span<const std::byte> data);
  Digest finish();  // and starts anew

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace shardswarm

template <>
struct std::hash<shardswarm::Digest> {
  std::size_t operator()(const shardswarm::Digest& d) const noexcept {
    std::size_t h = 0;  // a digest's bits are uniform already
    std::memcpy(&h, d.bytes.data(), sizeof h);
    return h;
  }
};
