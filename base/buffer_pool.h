// A bounded pool of aligned buffers for pieces on their way: received into, hashed, written from.
// Thread-safe: take() on the network thread, release on any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"

namespace shardswarm {

class BufferPool;

// One buffer, given back to its pool when destroyed. Move-only. The pool must outlive it.
class PieceBuffer {
 public:
  PieceBuffer() = default;
  PieceBuffer(PieceBuffer&& other) noexcept;
  PieceBuffer& operator=(PieceBuffer&& other) noexcept;
  ~PieceBuffer();

  // Exactly the bytes asked for; 4096-aligned, capacity a multiple of 4096.
  std::span<std::byte> bytes() const { return {data_, size_}; }
  explicit operator bool() const { return data_ != nullptr; }
  void reset();

 private:
  friend class BufferPool;
  BufferPool* pool_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// `large` buffers of 1 MiB and `small` ones of 64 KiB in one anonymous mapping (so that an engine
// can register parts of it). Small requests take a small buffer, else a large one.
class BufferPool {
 public:
  BufferPool(std::uint32_t large, std::uint32_t small);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // Nothing when all that fit are taken: stop reading until `on_release` was called.
  // REQUIRES: 0 < bytes <= kBufferBytesLarge.
  std::optional<PieceBuffer> take(std::size_t bytes);
  // Called (on the releasing thread, no lock held) when a buffer comes back after a take() failed.
  void on_release(std::function<void()> callback);

  std::span<std::byte> slab() const;  // the whole mapping
  std::size_t taken() const;
  std::size_t peak_bytes() const;  // of the buffers that were taken at the same time, at most

 private:
  friend class PieceBuffer;
  void give_back(std::byte* data);
  std::size_t capacity(const std::byte* data) const;

  std::byte* slab_ = nullptr;
  std::size_t slab_bytes_ = 0;
  std::size_t large_bytes_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::byte*> free_large_;
  std::vector<std::byte*> free_small_;
  std::size_t taken_ = 0;
  std::size_t taken_bytes_ = 0;
  std::size_t peak_bytes_ = 0;
  bool starved_ = false;
  std::function<void()> on_release_;
};

}  // namespace shardswarm
