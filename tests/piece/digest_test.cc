// Digests against published vectors: two implementations must agree on them bit for bit (MAN-50).
#include "piece/digest.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

#include "piece/digest_lanes.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::HasSubstr;

// FIPS 180-4 examples and the empty message.
constexpr std::string_view kEmpty =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::string_view kAbc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr std::string_view kTwoBlocks =
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
constexpr std::string_view kTwoBlocksText =
    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
constexpr std::string_view kMillionAs =
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

// The buffer that xxHash's own self-test hashes prefixes of.
Bytes sanity_buffer(std::size_t size) {
  Bytes buffer(size);
  std::uint64_t state = 2654435761U;
  for (std::byte& byte : buffer) {
    byte = static_cast<std::byte>(state >> 56);
    state *= 0x9E3779B185EBCA8DU;
  }
  return buffer;
}

TEST(Sha256, HashesThePublishedVectors) {
  EXPECT_EQ(to_hex(sha256({})), kEmpty);
  EXPECT_EQ(to_hex(sha256(bytes_of("abc"))), kAbc);
  EXPECT_EQ(to_hex(sha256(bytes_of(kTwoBlocksText))), kTwoBlocks);
  EXPECT_EQ(to_hex(sha256(Bytes(1'000'000, std::byte{'a'}))), kMillionAs);
}

// Each length once around the padding's corners beside each other one, and counts from 0 on.
TEST(Sha256, HashesManyAsOneByOne) {
  const Bytes buffer = sanity_buffer(5000);
  const std::vector<std::size_t> sizes = {0, 1,   54,  55,  56,  57,  63,   64,   65,
                                          0, 119, 120, 127, 128, 129, 4096, 4999, 3};
  std::vector<std::span<const std::byte>> messages;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    for (std::size_t j = 0; j < sizes.size(); ++j) {
      messages.push_back(std::span(buffer).subspan(0, sizes[i]));
      messages.push_back(std::span(buffer).last(sizes[j]));
    }
  }
  for (std::size_t count = 0; count <= messages.size(); count += count < 5 ? 1 : 101) {
    const auto some = std::span(messages).first(count);
    std::vector<Digest> digests(count);
    sha256_each(some, digests);
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(digests[i], sha256(some[i])) << i;
  }
  std::vector<Digest> digests(messages.size());
  sha256_each(messages, digests);
  EXPECT_EQ(digests.back(), sha256(messages.back()));
}

// Messages that begin while another is at any of its steps, or alone, and those longer than a step.
TEST(Sha256, LanesTakeMessagesAsTheyCome) {
  const Bytes buffer = sanity_buffer(300'000);
  std::vector<std::span<const std::byte>> messages;
  for (std::size_t i = 0; i < 40; ++i) {
    messages.push_back(std::span(buffer).first(i * i * i % 7 * 41'111 + 61 * i));
  }
  // Steps between one's beginning and the next one's; the last alone.
  for (std::size_t steps = 0; steps < 7; ++steps) {
    const std::size_t count = steps < 6 ? sha256_lanes() : 1;
    Sha256Lanes lanes(count);
    std::vector<bool> done(messages.size());
    const auto advance = [&] {
      const auto found = lanes.advance();
      if (!found) return;
      EXPECT_FALSE(done.at(found->tag)) << found->tag;
      done.at(found->tag) = true;
      EXPECT_EQ(found->digest, sha256(messages[found->tag])) << found->tag;
    };
    for (std::size_t i = 0; i < messages.size(); ++i) {
      while (lanes.free() == 0) advance();
      lanes.begin(messages[i], i);
      for (std::size_t n = 0; n < steps && lanes.under_way() > 0; ++n) advance();
    }
    while (lanes.under_way() > 0) advance();
    EXPECT_EQ(lanes.free(), count);
    EXPECT_EQ(std::ranges::count(done, true), std::ssize(messages));
  }
}

TEST(Sha256, HashesSeveralSpansAsOne) {
  Sha256 hash;
  const Bytes text = bytes_of(kTwoBlocksText);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    hash.update(std::span(text).first(cut));
    hash.update({});
    hash.update(std::span(text).subspan(cut));
    EXPECT_EQ(to_hex(hash.finish()), kTwoBlocks) << cut;
  }
}

TEST(Sha256, StartsAnewAfterFinish) {
  Sha256 hash;
  hash.update(bytes_of("abc"));
  EXPECT_EQ(to_hex(hash.finish()), kAbc);
  EXPECT_EQ(to_hex(hash.finish()), kEmpty);
  hash.update(bytes_of("abc"));
  Sha256 moved = std::move(hash);
  EXPECT_EQ(to_hex(moved.finish()), kAbc);
}

TEST(Xxh3, HashesThePublishedVectors) {
  // One per internal path: up to 16, 128, 240 bytes, one block of stripes, several.
  const struct {
    std::size_t size;
    std::uint64_t hash;
  } rows[] = {
      {0, 0x2D06800538D394C2},    {1, 0xC44BDFF4074EECDB},    {6, 0x27B56A84CD2D7325},
      {12, 0xA713DAF0DFBB77E7},   {24, 0xA3FE70BF9D3510EB},   {48, 0x397DA259ECBA1F11},
      {80, 0xBCDEFBBB2C47C90A},   {195, 0xCD94217EE362EC3A},  {403, 0xCDEB804D65C6DEA4},
      {512, 0x617E49599013CB6B},  {2048, 0xDD59E2C3A5F038E0}, {2240, 0x6E73A90539CF2948},
      {2367, 0xCB37AEB9E5D361ED},
  };
  for (const auto& row : rows) EXPECT_EQ(xxh3_64(sanity_buffer(row.size)), row.hash) << row.size;
}

TEST(DigestHex, IsPrintedInLowerCaseAndReadInEither) {
  Digest digest;
  for (std::size_t i = 0; i < 32; ++i) digest.bytes[i] = static_cast<std::byte>(0xf8 + 7 * i);
  const std::string hex = to_hex(digest);
  EXPECT_EQ(hex, "f8ff060d141b222930373e454c535a61686f767d848b9299a0a7aeb5bcc3cad1");
  std::string upper = hex;
  for (char& c : upper) c = (c >= 'a' && c <= 'f') ? static_cast<char>(c - 'a' + 'A') : c;
  EXPECT_EQ(must(digest_from_hex(hex)), digest);
  EXPECT_EQ(must(digest_from_hex(upper)), digest);
}

TEST(DigestHex, OfAnotherLengthIsRefused) {
  const std::string hex(kAbc);
  for (const std::string& bad : {std::string(), hex.substr(1), hex + "0", hex + hex}) {
    const auto digest = digest_from_hex(bad);
    ASSERT_FALSE(digest) << bad;
    EXPECT_EQ(digest.error().code, Errc::kMalformed);
    EXPECT_THAT(digest.error().message, HasSubstr("not " + std::to_string(bad.size())));
  }
}

TEST(DigestHex, WithAnyOtherCharacterIsRefused) {
  // Neighbours of the valid ranges, the usual prefixes, and a byte above 127.
  for (const char c : {'/', ':', '@', 'G', '`', 'g', ' ', 'x', '-', '+', '\0', '\xc3'}) {
    for (const std::size_t at : {0U, 1U, 31U, 62U, 63U}) {
      std::string hex(kAbc);
      hex[at] = c;
      const auto digest = digest_from_hex(hex);
      ASSERT_FALSE(digest) << static_cast<int>(c) << " at " << at;
      EXPECT_EQ(digest.error().code, Errc::kMalformed);
    }
  }
}

TEST(Digest, OrdersByItsBytesAsUnsignedNumbers) {
  Digest low;
  Digest high;
  low.bytes[31] = std::byte{0xff};
  high.bytes[0] = std::byte{0x80};
  EXPECT_LT(low, high);
  EXPECT_EQ((std::unordered_set<Digest>{low, high, low}.size()), 2U);
}

}  // namespace
}  // namespace shardswarm::test
