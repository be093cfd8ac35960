#include "base/bytes.h"

#include <gtest/gtest.h>

#include <array>

namespace shardswarm {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST(Bytes, AppendsTheLowestByteFirst) {
  std::vector<std::byte> out;
  append_little_endian(out, std::uint8_t{0xff});
  append_little_endian(out, std::uint16_t{0x0102});
  append_little_endian(out, std::uint32_t{0x80000001});
  append_little_endian(out, std::uint64_t{0x0102030405060708});
  EXPECT_EQ(out, bytes_of({0xff, 2, 1, 1, 0, 0, 0x80, 8, 7, 6, 5, 4, 3, 2, 1}));
}

TEST(Bytes, AppendsTheHighestByteFirst) {
  std::vector<std::byte> out;
  append_big_endian(out, std::uint32_t{0x80000001});
  EXPECT_EQ(out, bytes_of({0x80, 0, 0, 1}));
}

TEST(Bytes, ReadsWhereItIsTold) {
  const auto bytes = bytes_of({0, 1, 2, 3, 4, 5, 6, 7, 0xf8, 0xff});
  EXPECT_EQ(little_endian_at<std::uint16_t>(bytes, 8), 0xfff8);
  EXPECT_EQ(little_endian_at<std::uint64_t>(bytes, 1), 0xf807060504030201);
  EXPECT_EQ(big_endian_at<std::uint64_t>(bytes, 1), 0x01020304050607f8);
}

TEST(Bytes, PutsWhereItIsTold) {
  std::array<std::byte, 6> bytes{};
  put_little_endian(std::span(bytes), 1, std::uint32_t{0x01020304});
  EXPECT_EQ(std::vector(bytes.begin(), bytes.end()), bytes_of({0, 4, 3, 2, 1, 0}));
}

}  // namespace
}  // namespace shardswarm
