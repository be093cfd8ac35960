// A thread's room for what it reads from files to hash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace shardswarm {

// Grows, never shrinks. Not thread-safe.
class ReadBuffer {
 public:
  // Room for the `size` bytes at `offset` of a file, good until the next call. It lies within its
  // page of memory as these bytes do within their page of the file: a copy from the page cache to
  // an address a few bytes further within its page takes up to 2.5 times as long, for the processor
  // takes the stores for ones to what it is about to load (docs/data-path.md).
  std::span<std::byte> room(std::uint64_t offset, std::size_t size) {
    if (bytes_.size() < size + 2 * kPageBytes) bytes_.resize(size + 2 * kPageBytes);
    const auto at = reinterpret_cast<std::uintptr_t>(bytes_.data());
    const std::size_t skip = static_cast<std::size_t>(offset - at) % kPageBytes;
    return std::span(bytes_).subspan(skip, size);
  }

 private:
  static constexpr std::size_t kPageBytes = 4096;
  std::vector<std::byte> bytes_;
};

}  // namespace shardswarm
