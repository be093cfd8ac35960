// The disk behind one interface: `uring` (one ring thread, batched submissions, registered buffers
// where the memory-lock limit allows) and `posix` (pread/pwrite workers).
//
// Thread-safe: operations may be started on any thread; each completion is called once, on a thread
// of the engine, and must be short (post elsewhere). Short reads and writes are continued inside;
// a read that meets the end of the file fails with kIo ("shrank"). Buffers and descriptors must
// stay valid until the completion. The destructor waits for everything under way.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/buffer_pool.h"
#include "base/error.h"

namespace shardswarm {

using IoDone = std::function<void(Result<void>)>;

struct EngineReport {
  std::string name;                 // "uring" or "posix"
  bool registered_buffers = false;  // uring: what of the pool was used is registered
  std::uint64_t submissions = 0;    // uring: io_uring_enter calls that submitted; posix: 0
  std::uint64_t operations = 0;     // reads, writes, syncs, read-aheads
};

class IoEngine {
 public:
  virtual ~IoEngine() = default;
  virtual void read(int fd, std::uint64_t offset, std::span<std::byte> into, IoDone done) = 0;
  virtual void write(int fd, std::uint64_t offset, std::span<const std::byte> from,
                     IoDone done) = 0;
  virtual void sync(int fd, IoDone done) = 0;  // fdatasync
  // Asks the kernel to have these bytes in its page cache soon, so that sendfile does not wait.
  virtual void read_ahead(int fd, std::uint64_t offset, std::uint64_t bytes, IoDone done) = 0;
  // Whether these bytes are in the page cache now, or on their way into it: then nothing is gained
  // by read_ahead. False as well where the system does not tell.
  virtual bool is_cached(int, std::uint64_t, std::uint64_t) const { return false; }
  virtual EngineReport report() const = 0;
};

enum class EngineKind : std::uint8_t { kAuto, kUring, kPosix };
std::optional<EngineKind> engine_kind_from_name(std::string_view name);  // "uring", "posix"

// kAuto tries uring, then posix. kUring falls back to posix too when the kernel forbids io_uring
// or it was not built in; `notice` then says so in one line (also when no buffers can be
// registered), else it stays empty. `pool` may be null (nothing to register); it must outlive the
// engine.
std::unique_ptr<IoEngine> make_io_engine(EngineKind kind, BufferPool* pool, std::string& notice);

}  // namespace shardswarm
