#include "base/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <new>
#include <utility>

#include "base/limits.h"

namespace shardswarm {

PieceBuffer::PieceBuffer(PieceBuffer&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

PieceBuffer& PieceBuffer::operator=(PieceBuffer&& other) noexcept {
  if (this != &other) {
    reset();
    pool_ = std::exchange(other.pool_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

PieceBuffer::~PieceBuffer() { reset(); }

void PieceBuffer::reset() {
  if (data_ == nullptr) return;
  pool_->give_back(data_);
  data_ = nullptr;
  size_ = 0;
}

BufferPool::BufferPool(std::uint32_t large, std::uint32_t small)
    : slab_bytes_(large * limits::kBufferBytesLarge + small * limits::kBufferBytesSmall),
      large_bytes_(large * limits::kBufferBytesLarge) {
  if (slab_bytes_ == 0) return;
  // Anonymous and untouched: pages cost memory only once a buffer was used.
  void* mapping =
      ::mmap(nullptr, slab_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  slab_ = static_cast<std::byte*>(mapping);
#ifdef MADV_HUGEPAGE
  // In 4 KiB pages a buffer's first use takes 256 faults. Advice only.
  (void)::madvise(mapping, slab_bytes_, MADV_HUGEPAGE);
#endif
  // Taken from the back: the first buffers are used again and again, the last ones under load only.
  for (std::uint32_t i = large; i-- > 0;) {
    free_large_.push_back(slab_ + i * limits::kBufferBytesLarge);
  }
  for (std::uint32_t i = small; i-- > 0;) {
    free_small_.push_back(slab_ + large_bytes_ + i * limits::kBufferBytesSmall);
  }
}

BufferPool::~BufferPool() {
  assert(taken_ == 0);
  if (slab_ != nullptr) ::munmap(slab_, slab_bytes_);
}

std::optional<PieceBuffer> BufferPool::take(std::size_t bytes) {
  assert(bytes > 0 && bytes <= limits::kBufferBytesLarge);
  const std::scoped_lock lock(mutex_);
  const bool small = bytes <= limits::kBufferBytesSmall && !free_small_.empty();
  auto& free = small ? free_small_ : free_large_;
  if (free.empty()) {
    starved_ = true;
    return std::nullopt;
  }
  PieceBuffer buffer;
  buffer.pool_ = this;
  buffer.data_ = free.back();
  buffer.size_ = bytes;
  free.pop_back();
  ++taken_;
  taken_bytes_ += capacity(buffer.data_);
  peak_bytes_ = std::max(peak_bytes_, taken_bytes_);
  return buffer;
}

void BufferPool::give_back(std::byte* data) {
  std::function<void()> callback;
  {
    const std::scoped_lock lock(mutex_);
    (data < slab_ + large_bytes_ ? free_large_ : free_small_).push_back(data);
    --taken_;
    taken_bytes_ -= capacity(data);
    if (std::exchange(starved_, false)) callback = on_release_;
  }
  if (callback) callback();
}

void BufferPool::on_release(std::function<void()> callback) {
  const std::scoped_lock lock(mutex_);
  on_release_ = std::move(callback);
}

std::span<std::byte> BufferPool::slab() const { return {slab_, slab_bytes_}; }

std::size_t BufferPool::taken() const {
  const std::scoped_lock lock(mutex_);
  return taken_;
}

std::size_t BufferPool::peak_bytes() const {
  const std::scoped_lock lock(mutex_);
  return peak_bytes_;
}

std::size_t BufferPool::capacity(const std::byte* data) const {
  return data < slab_ + large_bytes_ ? limits::kBufferBytesLarge : limits::kBufferBytesSmall;
}

}  // namespace shardswarm
