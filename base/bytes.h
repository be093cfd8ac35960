// Whole numbers as bytes, in a fixed order whatever the processor's is.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace shardswarm {

// The number whose bytes begin at bytes[at], the lowest first. REQUIRES: all of them are there.
template <std::unsigned_integral T>
constexpr T little_endian_at(std::span<const std::byte> bytes, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | std::to_integer<T>(bytes[at + i]) << (8 * i));
  }
  return value;
}

// The same with the highest byte first: such numbers are ordered as their bytes are.
template <std::unsigned_integral T>
constexpr T big_endian_at(std::span<const std::byte> bytes, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | std::to_integer<T>(bytes[at + i]) << (8 * (sizeof(T) - 1 - i)));
  }
  return value;
}

// Puts a number at bytes[at] and behind, the lowest byte first. REQUIRES: there is room for it.
template <std::unsigned_integral T>
constexpr void put_little_endian(std::span<std::byte> bytes, std::size_t at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

// Puts a number to the end, the lowest byte first.
template <std::unsigned_integral T>
constexpr void append_little_endian(std::vector<std::byte>& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
}

// The same with the highest byte first.
template <std::unsigned_integral T>
constexpr void append_big_endian(std::vector<std::byte>& out, T value) {
  for (std::size_t i = sizeof(T); i-- > 0;) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

}  // namespace shardswarm
