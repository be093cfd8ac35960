// A disk that loses what was not synced: writes are kept in memory and reach the file when it is
// synced, as a page cache does; crash() drops the rest. Writes and syncs can be made to fail.
// Thread-safe, as every engine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/file.h"
#include "storage/io_engine.h"
#include "tests/storage/checkpoint.h"

namespace shardswarm::test {

class FaultEngine final : public IoEngine {
 public:
  explicit FaultEngine(std::unique_ptr<IoEngine> under) : under_(std::move(under)) {}

  // What was not synced is gone, and nothing works any more. Bytes dropped.
  std::uint64_t crash() {
    const std::scoped_lock lock(mutex_);
    crashed_ = true;
    std::uint64_t dropped = 0;
    for (const auto& [fd, writes] : pending_) {
      for (const auto& [offset, bytes] : writes) dropped += bytes.size();
    }
    pending_.clear();
    return dropped;
  }
  // The next `count` operations of a kind answer with this error.
  void fail_writes(unsigned count, Errc code) {
    const std::scoped_lock lock(mutex_);
    failing_writes_ = count;
    code_ = code;
  }
  void fail_syncs(unsigned count, Errc code) {
    const std::scoped_lock lock(mutex_);
    failing_syncs_ = count;
    code_ = code;
  }

  void read(int fd, std::uint64_t offset, std::span<std::byte> into, IoDone done) override {
    under_->read(fd, offset, into, std::move(done));
  }
  void write(int fd, std::uint64_t offset, std::span<const std::byte> from, IoDone done) override {
    Result<void> result;
    {
      const std::scoped_lock lock(mutex_);
      if (crashed_) {
        result = fail(Errc::kIo, "crashed");
      } else if (failing_writes_ > 0) {
        --failing_writes_;
        result = fail(code_, "planted");
      } else {
        pending_[fd].emplace_back(offset, Bytes(from.begin(), from.end()));
      }
    }
    done(result);
  }
  void sync(int fd, IoDone done) override {
    Result<void> result;
    {
      const std::scoped_lock lock(mutex_);
      if (crashed_) {
        result = fail(Errc::kIo, "crashed");
      } else if (failing_syncs_ > 0) {
        --failing_syncs_;
        // As Linux does: the pages count as clean, a later sync does not see them any more.
        pending_[fd].clear();
        result = fail(code_, "planted");
      } else {
        for (const auto& [offset, bytes] : pending_[fd]) {
          if (result) result = write_exactly(fd, offset, bytes, "file under test");
        }
        pending_[fd].clear();
      }
    }
    done(result);
  }
  void read_ahead(int fd, std::uint64_t offset, std::uint64_t bytes, IoDone done) override {
    under_->read_ahead(fd, offset, bytes, std::move(done));
  }
  bool is_cached(int fd, std::uint64_t offset, std::uint64_t bytes) const override {
    return under_->is_cached(fd, offset, bytes);
  }
  EngineReport report() const override { return under_->report(); }

 private:
  std::unique_ptr<IoEngine> under_;
  std::mutex mutex_;
  std::map<int, std::vector<std::pair<std::uint64_t, Bytes>>> pending_;
  bool crashed_ = false;
  unsigned failing_writes_ = 0;
  unsigned failing_syncs_ = 0;
  Errc code_ = Errc::kIo;
};

}  // namespace shardswarm::test
