// Compressed blobs: back as they were, and frames that are no such thing.
#include "wire/blob_codec.h"

#include <gmock/gmock.h>

#include <string>

#include "base/limits.h"
#include "tests/wire/zstd_frame.h"

namespace shardswarm {
namespace {

using test::zstd_frame_of_zeros;
using ::testing::HasSubstr;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kMost = limits::kCompressedBlobBytesMax;

// As a safetensors header goes on and on.
Bytes header_of(std::size_t tensors) {
  std::string json;
  for (std::size_t i = 0; i < tensors; ++i) {
    json += "\"model.layers.7.mlp.experts." + std::to_string(i) +
            ".up_proj.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[2048,7168],\"data_offsets\":[" +
            std::to_string(i * 14'680'064) + "," + std::to_string((i + 1) * 14'680'064) + "]},";
  }
  const auto bytes = std::as_bytes(std::span(json));
  return {bytes.begin(), bytes.end()};
}

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

Errc refusal(std::span<const std::byte> frame, std::uint64_t most = kMost) {
  const auto content = decompress_blob(frame, most);
  return content ? Errc::kInternal : content.error().code;
}

TEST(BlobCodec, AHeaderIsATenthAndComesBack) {  // WIRE-45
  for (const std::size_t tensors : {10U, 600U, 60'000U}) {
    const Bytes header = header_of(tensors);
    const auto frame = compress_blob(header);
    ASSERT_TRUE(frame);
    if (tensors > 10) {
      EXPECT_LT(frame->size() * 8, header.size());
    }
    EXPECT_EQ(decompress_blob(*frame, header.size()).value(), header);
    EXPECT_EQ(decompress_blob(*frame, kMost).value(), header);
  }
}

TEST(BlobCodec, WhatWouldNotBeShorterIsLeftAsItIs) {  // WIRE-45
  EXPECT_FALSE(compress_blob({}));
  EXPECT_FALSE(compress_blob(bytes_of({1})));
  Bytes noise(10'000);
  std::uint32_t state = 1;
  for (std::byte& byte : noise) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24);
  }
  EXPECT_FALSE(compress_blob(noise));
}

TEST(BlobCodec, NothingAboveSixteenMiB) {  // WIRE-46
  EXPECT_TRUE(compress_blob(Bytes(kMost)));
  EXPECT_FALSE(compress_blob(Bytes(kMost + 1)));
  EXPECT_EQ(decompress_blob(zstd_frame_of_zeros(kMost), UINT64_MAX).value(), Bytes(kMost));
  EXPECT_EQ(refusal(zstd_frame_of_zeros(kMost + 1), UINT64_MAX), Errc::kLimit);
}

TEST(BlobCodec, WhatUnfoldsBeyondTheLimitIsRefused) {  // WIRE-47
  const Bytes bomb = zstd_frame_of_zeros(limits::kGiB);
  EXPECT_LT(bomb.size(), 64 * limits::kKiB);
  const auto content = decompress_blob(bomb, 1000);
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().code, Errc::kLimit);
  EXPECT_THAT(content.error().message, HasSubstr("more than 1000 bytes"));
  EXPECT_EQ(refusal(bomb), Errc::kLimit);
  const Bytes header = header_of(600);
  EXPECT_EQ(refusal(*compress_blob(header), header.size() - 1), Errc::kLimit);
  EXPECT_EQ(refusal(*compress_blob(header), 0), Errc::kLimit);
}

// Its header says 2^60 bytes, or a window of 128 MiB: neither is taken from memory.
TEST(BlobCodec, StatedLengthsAreNotBelieved) {  // WIRE-47
  Bytes frame = bytes_of({0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10});
  const Bytes block = bytes_of({0x0b, 0, 0, 0x61});  // the last: one byte, once
  frame.insert(frame.end(), block.begin(), block.end());
  EXPECT_EQ(refusal(frame), Errc::kLimit);
  EXPECT_EQ(refusal(zstd_frame_of_zeros(1000, 27)), Errc::kLimit);
  EXPECT_EQ(decompress_blob(zstd_frame_of_zeros(1000, 24), 1000).value(), Bytes(1000));
}

TEST(BlobCodec, DamageIsRefused) {  // WIRE-47
  const Bytes header = header_of(600);
  const Bytes frame = *compress_blob(header);
  for (std::size_t n = 0; n < frame.size(); n += 1 + n / 10) {
    EXPECT_EQ(refusal(std::span(frame).first(n)), Errc::kMalformed) << n;
  }
  EXPECT_EQ(refusal(std::span(frame).first(frame.size() - 1)), Errc::kMalformed);
  Bytes more = frame;
  more.push_back(std::byte{0});
  EXPECT_EQ(refusal(more), Errc::kMalformed);
  Bytes twice = frame;
  twice.insert(twice.end(), frame.begin(), frame.end());
  EXPECT_EQ(refusal(twice), Errc::kMalformed);
  // Changed bytes make other content or an error, and nothing worse.
  for (std::size_t at = 0; at < frame.size(); ++at) {
    Bytes changed = frame;
    changed[at] ^= std::byte{0x55};
    (void)decompress_blob(changed, header.size());
  }
}

TEST(BlobCodec, OtherFramesAreRefused) {  // WIRE-47
  // Skippable, as an empty one and before another; the format of version 0.7; gzip.
  Bytes skipped = bytes_of({0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7});
  EXPECT_EQ(refusal(skipped), Errc::kMalformed);
  const Bytes frame = *compress_blob(header_of(600));
  skipped.insert(skipped.end(), frame.begin(), frame.end());
  EXPECT_EQ(refusal(skipped), Errc::kMalformed);
  EXPECT_EQ(refusal(bytes_of({0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0})), Errc::kMalformed);
  EXPECT_EQ(refusal(bytes_of({0x1f, 0x8b, 8, 0, 0, 0, 0, 0})), Errc::kMalformed);
  EXPECT_EQ(refusal(zstd_frame_of_zeros(0)), Errc::kMalformed);
}

}  // namespace
}  // namespace shardswarm
