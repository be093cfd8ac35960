// pread and pwrite on a few workers. Thread-safe; completions come on the workers.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "base/file.h"
#include "storage/engines.h"
#include "storage/workers.h"

namespace shardswarm {
namespace {

// One may wait for the disk's sync while another writes.
constexpr unsigned kThreads = 3;

class PosixEngine final : public IoEngine {
 public:
  void read(int fd, std::uint64_t offset, std::span<std::byte> into, IoDone done) override {
    run([=, done = std::move(done)] { done(read_exactly(fd, offset, into, "the file")); });
  }
  void write(int fd, std::uint64_t offset, std::span<const std::byte> from, IoDone done) override {
    run([=, done = std::move(done)] { done(write_exactly(fd, offset, from, "the file")); });
  }
  void sync(int fd, IoDone done) override {
    run([fd, done = std::move(done)] {
#ifdef __APPLE__
      const int result = ::fsync(fd);
#else
      const int result = ::fdatasync(fd);
#endif
      done(result == 0 ? Result<void>{} : fail_errno(errno, "cannot sync"));
    });
  }
  void read_ahead(int fd, std::uint64_t offset, std::uint64_t bytes, IoDone done) override {
    run([=, done = std::move(done)] {
#ifdef POSIX_FADV_WILLNEED
      ::posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(bytes),
                      POSIX_FADV_WILLNEED);
#else
      (void)fd, (void)offset, (void)bytes;
#endif
      done({});
    });
  }
  EngineReport report() const override {
    return {.name = "posix", .operations = operations_.load(std::memory_order_relaxed)};
  }

 private:
  void run(std::function<void()> job) {
    operations_.fetch_add(1, std::memory_order_relaxed);
    workers_.post(std::move(job));
  }

  std::atomic<std::uint64_t> operations_{0};
  Workers workers_{kThreads};
};

}  // namespace

std::unique_ptr<IoEngine> make_posix_engine() { return std::make_unique<PosixEngine>(); }

}  // namespace shardswarm
