// io_uring: one ring thread submits in batches and reaps completions. Thread-safe: operations are
// queued under a mutex and the ring thread is woken through an eventfd; completions come on it.
#include <fcntl.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/limits.h"
#include "storage/engines.h"

namespace shardswarm {
namespace {

constexpr unsigned kEntries = 256;
// Registering pins memory, and so takes it, 0.1 s for the pool of a node: each part when it is
// first used. No buffer of the pool lies across two.
constexpr std::size_t kPartBytes = 2 * limits::kMiB;
static_assert(kPartBytes % limits::kBufferBytesLarge == 0);
static_assert(limits::kBufferBytesLarge % limits::kBufferBytesSmall == 0);

// cachestat(2), since Linux 6.5. It is refused for files that we neither own nor may write.
#ifdef SYS_cachestat
constexpr long kCachestat = SYS_cachestat;
#else  // Debian 12's headers
constexpr long kCachestat = 451;
#endif
struct CachestatRange {
  std::uint64_t offset;
  std::uint64_t length;
};
struct Cachestat {  // in pages
  std::uint64_t cached;
  std::uint64_t dirty;
  std::uint64_t writeback;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

bool pages_cached(int fd, std::uint64_t offset, std::uint64_t bytes) {
  if (bytes == 0) return true;
  CachestatRange range{offset, bytes};
  Cachestat found{};
  if (::syscall(kCachestat, static_cast<unsigned>(fd), &range, &found, 0U) != 0) return false;
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return found.cached == (offset + bytes - 1) / page - offset / page + 1;
}

struct Operation {
  enum class Kind : std::uint8_t { kRead, kWrite, kSync, kReadAhead };
  Kind kind{};
  int fd = -1;
  std::uint64_t offset = 0;
  std::byte* data = nullptr;
  std::uint64_t bytes = 0;
  IoDone done;
};

class UringEngine final : public IoEngine {
 public:
  UringEngine() = default;
  UringEngine(const UringEngine&) = delete;
  UringEngine& operator=(const UringEngine&) = delete;

  Result<void> start(BufferPool* pool, std::string& notice) {
    if (const int error = ::io_uring_queue_init(kEntries, &ring_, 0); error < 0) {
      return fail_errno(-error, "io_uring_setup");
    }
    ring_made_ = true;
    wake_ = Fd(::eventfd(0, EFD_CLOEXEC));
    if (!wake_) return fail_errno(errno, "eventfd");
    if (pool != nullptr && !pool->slab().empty()) {
      slab_ = pool->slab();
      parts_.resize((slab_.size() + kPartBytes - 1) / kPartBytes);
      int error = ::io_uring_register_buffers_sparse(&ring_, static_cast<unsigned>(parts_.size()));
      if (error == 0) {
        error = register_part(0);
      } else if (error == -EINVAL) {  // before Linux 5.19
        error = register_all();
      }
      registered_ = error == 0;
      if (error != 0) {
        notice =
            "io_uring without registered buffers (" +
            fail_errno(-error, error == -ENOMEM ? "locked memory" : "the kernel").error().message +
            ")";
      }
    }
    thread_ = std::thread([this] { run(); });
    return {};
  }

  ~UringEngine() override {
    if (thread_.joinable()) {
      {
        const std::scoped_lock lock(mutex_);
        stopping_ = true;
      }
      wake();
      thread_.join();
    }
    if (ring_made_) ::io_uring_queue_exit(&ring_);
  }

  void read(int fd, std::uint64_t offset, std::span<std::byte> into, IoDone done) override {
    post({Operation::Kind::kRead, fd, offset, into.data(), into.size(), std::move(done)});
  }
  void write(int fd, std::uint64_t offset, std::span<const std::byte> from, IoDone done) override {
    // The kernel only reads from it; the submission entry has one pointer for both directions.
    post({Operation::Kind::kWrite, fd, offset, const_cast<std::byte*>(from.data()), from.size(),
          std::move(done)});
  }
  void sync(int fd, IoDone done) override {
    post({Operation::Kind::kSync, fd, 0, nullptr, 0, std::move(done)});
  }
  void read_ahead(int fd, std::uint64_t offset, std::uint64_t bytes, IoDone done) override {
    post({Operation::Kind::kReadAhead, fd, offset, nullptr, bytes, std::move(done)});
  }
  bool is_cached(int fd, std::uint64_t offset, std::uint64_t bytes) const override {
    return pages_cached(fd, offset, bytes);
  }
  EngineReport report() const override {
    return {.name = "uring",
            .registered_buffers = registered_,
            .submissions = submissions_.load(std::memory_order_relaxed),
            .operations = operations_.load(std::memory_order_relaxed)};
  }

 private:
  void post(Operation operation) {
    operations_.fetch_add(1, std::memory_order_relaxed);
    bool first = false;
    {
      const std::scoped_lock lock(mutex_);
      first = queue_.empty();
      queue_.push_back(std::move(operation));
    }
    // One wake-up for all that is queued until the ring thread looks.
    if (first) wake();
  }

  void wake() {
    const std::uint64_t one = 1;
    while (::write(wake_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
  }

  void run() {
    arm_wake();
    bool stopping = false;
    while (!stopping || under_way_ > 0 || !backlog_.empty()) {
      {
        const std::scoped_lock lock(mutex_);
        while (!queue_.empty()) {
          backlog_.push_back(std::make_unique<Operation>(std::move(queue_.front())));
          queue_.pop_front();
        }
        stopping = stopping_;
      }
      while (!backlog_.empty() && prepare(*backlog_.front())) {
        (void)backlog_.front().release();  // the ring holds it until its completion
        backlog_.pop_front();
        ++under_way_;
      }
      if (stopping && under_way_ == 0 && backlog_.empty()) break;
      const int submitted = ::io_uring_submit_and_wait(&ring_, 1);
      if (submitted > 0) submissions_.fetch_add(1, std::memory_order_relaxed);
      reap();
    }
  }

  // The eventfd read that ends a wait when something was queued.
  bool arm_wake() {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return false;
    ::io_uring_prep_read(sqe, wake_.get(), &wake_value_, sizeof wake_value_, 0);
    ::io_uring_sqe_set_data(sqe, nullptr);
    return true;
  }

  iovec range_of(std::size_t part) const {
    const auto from = slab_.subspan(part * kPartBytes);
    return {from.data(), std::min(kPartBytes, from.size())};
  }

  int register_part(std::size_t part) {
    const iovec range = range_of(part);
    const int done = ::io_uring_register_buffers_update_tag(&ring_, static_cast<unsigned>(part),
                                                            &range, nullptr, 1);
    if (done < 0) return done;
    parts_[part] = true;
    return 0;
  }

  int register_all() {
    std::vector<iovec> ranges;
    ranges.reserve(parts_.size());
    for (std::size_t part = 0; part < parts_.size(); ++part) ranges.push_back(range_of(part));
    const int error =
        ::io_uring_register_buffers(&ring_, ranges.data(), static_cast<unsigned>(ranges.size()));
    if (error == 0) parts_.assign(parts_.size(), true);
    return error;
  }

  // The registered part of the pool that the operation's memory lies in, if it does.
  std::optional<int> part_of(const Operation& operation) {
    if (operation.bytes == 0 || operation.data < slab_.data() ||
        operation.data + operation.bytes > slab_.data() + slab_.size()) {
      return std::nullopt;
    }
    const auto from = static_cast<std::size_t>(operation.data - slab_.data());
    const std::size_t part = from / kPartBytes;
    if ((from + operation.bytes - 1) / kPartBytes != part) return std::nullopt;
    // When the limit of locked memory is reached, what is registered goes on being used.
    if (!parts_[part] && registered_) registered_ = register_part(part) == 0;
    return parts_[part] ? std::optional(static_cast<int>(part)) : std::nullopt;
  }

  // False when the submission queue is full. One entry is always left to arm the wake-up.
  bool prepare(Operation& operation) {
    if (::io_uring_sq_space_left(&ring_) <= 1 || under_way_ >= kEntries) return false;
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    const auto length = static_cast<unsigned>(std::min(operation.bytes, limits::kGiB));
    switch (operation.kind) {
      case Operation::Kind::kRead:
        if (const auto part = part_of(operation)) {
          ::io_uring_prep_read_fixed(sqe, operation.fd, operation.data, length, operation.offset,
                                     *part);
        } else {
          ::io_uring_prep_read(sqe, operation.fd, operation.data, length, operation.offset);
        }
        break;
      case Operation::Kind::kWrite:
        if (const auto part = part_of(operation)) {
          ::io_uring_prep_write_fixed(sqe, operation.fd, operation.data, length, operation.offset,
                                      *part);
        } else {
          ::io_uring_prep_write(sqe, operation.fd, operation.data, length, operation.offset);
        }
        break;
      case Operation::Kind::kSync:
        ::io_uring_prep_fsync(sqe, operation.fd, IORING_FSYNC_DATASYNC);
        break;
      case Operation::Kind::kReadAhead:
        ::io_uring_prep_fadvise(sqe, operation.fd, operation.offset, static_cast<off_t>(length),
                                POSIX_FADV_WILLNEED);
        break;
    }
    ::io_uring_sqe_set_data(sqe, &operation);
    return true;
  }

  void reap() {
    std::array<io_uring_cqe*, 64> batch{};
    while (const unsigned n = ::io_uring_peek_batch_cqe(&ring_, batch.data(),
                                                        static_cast<unsigned>(batch.size()))) {
      for (unsigned i = 0; i < n; ++i) {
        auto* operation = static_cast<Operation*>(::io_uring_cqe_get_data(batch[i]));
        if (operation == nullptr) {
          arm_wake();
        } else {
          --under_way_;
          complete(std::unique_ptr<Operation>(operation), batch[i]->res);
        }
      }
      ::io_uring_cq_advance(&ring_, n);
    }
  }

  static std::string_view failure_of(Operation::Kind kind) {
    switch (kind) {
      case Operation::Kind::kRead:
        return "cannot read";
      case Operation::Kind::kWrite:
        return "cannot write";
      default:
        return "cannot sync";
    }
  }

  void complete(std::unique_ptr<Operation> operation, int result) {
    using Kind = Operation::Kind;
    if (result == -EINTR || result == -EAGAIN) {
      backlog_.push_back(std::move(operation));
      return;
    }
    const bool moves = operation->kind == Kind::kRead || operation->kind == Kind::kWrite;
    // Read-ahead is advice: not every file system takes it.
    if (result < 0 && operation->kind != Kind::kReadAhead) {
      operation->done(fail_errno(-result, failure_of(operation->kind)));
    } else if (moves && static_cast<std::uint64_t>(result) < operation->bytes) {
      if (result == 0) {
        operation->done(
            fail(Errc::kIo, "the file shrank: it ends at " + std::to_string(operation->offset)));
        return;
      }
      operation->offset += static_cast<std::uint64_t>(result);
      operation->data += result;
      operation->bytes -= static_cast<std::uint64_t>(result);
      backlog_.push_back(std::move(operation));
    } else {
      operation->done({});
    }
  }

  io_uring ring_{};
  bool ring_made_ = false;
  std::atomic<bool> registered_{false};  // all parts that were to be
  Fd wake_;
  std::span<std::byte> slab_;
  std::vector<bool> parts_;  // of the slab: registered; once started, the ring thread's
  std::atomic<std::uint64_t> submissions_{0};
  std::atomic<std::uint64_t> operations_{0};

  std::mutex mutex_;
  std::deque<Operation> queue_;
  bool stopping_ = false;

  // Ring thread only.
  std::deque<std::unique_ptr<Operation>> backlog_;
  std::uint64_t wake_value_ = 0;
  unsigned under_way_ = 0;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<IoEngine>> make_uring_engine(BufferPool* pool, std::string& notice) {
  auto engine = std::make_unique<UringEngine>();
  if (auto started = engine->start(pool, notice); !started) {
    return std::unexpected(started.error());
  }
  return engine;
}

}  // namespace shardswarm
