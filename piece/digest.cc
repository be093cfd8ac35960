#include "piece/digest.h"

#include <openssl/evp.h>
// With it the library takes AVX2 or AVX-512 where the processor has them: 40 GB/s instead of 18.
#ifdef SHARDSWARM_XXH_DISPATCH
#include <immintrin.h>
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#include <cassert>

namespace shardswarm {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

#ifdef SHARDSWARM_XXH_DISPATCH
// The library leaves their upper halves in use, and then whatever uses the lower ones alone is
// slowed down: SHA-256 to 40 % of its speed.
[[gnu::target("avx")]] void leave_wide_registers() { _mm256_zeroupper(); }
#endif

}  // namespace

Digest sha256(std::span<const std::byte> data) {
  Digest digest;
  [[maybe_unused]] const int ok =
      ::EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(digest.bytes.data()),
                   nullptr, ::EVP_sha256(), nullptr);
  assert(ok == 1);
  return digest;
}

std::uint64_t xxh3_64(std::span<const std::byte> data) {
  const std::uint64_t hash = XXH3_64bits(data.data(), data.size());
#ifdef SHARDSWARM_XXH_DISPATCH
  static const bool wide = __builtin_cpu_supports("avx");
  if (wide) leave_wide_registers();
#endif
  return hash;
}

std::string to_hex(const Digest& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(64);
  for (const std::byte byte : digest.bytes) {
    const auto value = std::to_integer<unsigned>(byte);
    text += kDigits[value >> 4];
    text += kDigits[value & 15];
  }
  return text;
}

Result<Digest> digest_from_hex(std::string_view hex) {
  Digest digest;
  if (hex.size() != 2 * digest.bytes.size()) {
    return fail(Errc::kMalformed, "a digest has 64 hex digits, not " + std::to_string(hex.size()));
  }
  for (std::size_t i = 0; i < digest.bytes.size(); ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return fail(Errc::kMalformed, "a digest has hex digits only");
    digest.bytes[i] = static_cast<std::byte>(high * 16 + low);
  }
  return digest;
}

struct Sha256::Context {
  EVP_MD_CTX* handle = ::EVP_MD_CTX_new();
  Context() { ::EVP_DigestInit_ex(handle, ::EVP_sha256(), nullptr); }
  ~Context() { ::EVP_MD_CTX_free(handle); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::span<const std::byte> data) {
  ::EVP_DigestUpdate(context_->handle, data.data(), data.size());
}

Digest Sha256::finish() {
  Digest digest;
  ::EVP_DigestFinal_ex(context_->handle, reinterpret_cast<unsigned char*>(digest.bytes.data()),
                       nullptr);
  ::EVP_DigestInit_ex(context_->handle, ::EVP_sha256(), nullptr);
  return digest;
}

}  // namespace shardswarm
