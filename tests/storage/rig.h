// What a store needs around it, with the test's thread as the owner's.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/limits.h"
#include "storage/io_engine.h"
#include "storage/store.h"
#include "storage/workers.h"
#include "tests/storage/checkpoint.h"

namespace shardswarm::test {

// The owner's queue. post() is thread-safe; the rest belongs to the test's thread.
class Owner {
 public:
  void post(std::function<void()> job) {
    {
      const std::scoped_lock lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    ready_.notify_one();
  }
  // Runs jobs until `done` holds; waits for more where there are none.
  template <class Done>
  void run_until(Done&& done) {
    while (!done()) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex_);
        ready_.wait(lock, [this] { return !jobs_.empty(); });
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }
  // Drops what is queued, with the buffers and stores that it holds.
  void clear() {
    std::deque<std::function<void()>> jobs;
    const std::scoped_lock lock(mutex_);
    jobs.swap(jobs_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
};

// Members in an order such that nothing under way outlives what it uses.
struct Rig {
  BufferPool pool{8, 16};
  Owner owner;
  std::string notice;
  std::unique_ptr<IoEngine> engine;
  std::unique_ptr<Workers> workers = std::make_unique<Workers>(2);

  explicit Rig(EngineKind kind = EngineKind::kAuto) : engine(make_io_engine(kind, &pool, notice)) {}
  explicit Rig(std::unique_ptr<IoEngine> of_test) : engine(std::move(of_test)) {}
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;
  ~Rig() {
    workers.reset();
    engine.reset();
    owner.clear();
  }

  StorageEnvironment environment() {
    return {*engine, *workers, [this](std::function<void()> job) { owner.post(std::move(job)); }};
  }

  PieceBuffer buffer(std::span<const std::byte> bytes) {
    std::optional<PieceBuffer> taken;
    // Buffers come back when completions ran on the owner's thread.
    owner.run_until([&] { return (taken = pool.take(bytes.size())).has_value(); });
    std::ranges::copy(bytes, taken->bytes().begin());
    return std::move(*taken);
  }

  // Puts one piece and waits for the answer.
  Result<void> put(Store& store, PieceIndex piece, std::span<const std::byte> bytes) {
    std::optional<Result<void>> answer;
    store.put(piece, buffer(bytes), [&](Result<void> result) { answer = std::move(result); });
    owner.run_until([&] { return answer.has_value(); });
    return *answer;
  }

  // Puts what `wanted` holds and the store does not; the bytes put.
  std::uint64_t put_missing(Store& store, const PieceSet& wanted, const Files& files) {
    std::uint64_t bytes = 0;
    std::size_t open = 0;
    (wanted - store.have()).for_each([&](PieceIndex piece) {
      const auto content = piece_of(files, store.manifest(), piece);
      bytes += content.size();
      ++open;
      store.put(piece, buffer(content), [&open](const Result<void>& result) {
        EXPECT_TRUE(result) << result.error().message;
        --open;
      });
    });
    owner.run_until([&] { return open == 0; });
    return bytes;
  }

  Result<void> finish(Store& store) {
    std::optional<Result<void>> answer;
    store.finish([&](Result<void> result) { answer = std::move(result); });
    owner.run_until([&] { return answer.has_value(); });
    return *answer;
  }

  Result<FileRange> prepare_range(Store& store, PieceIndex piece) {
    std::optional<Result<FileRange>> answer;
    store.prepare_range(piece, [&](Result<FileRange> result) { answer = std::move(result); });
    owner.run_until([&] { return answer.has_value(); });
    return *answer;
  }

  // Empty when it cannot be read.
  Bytes read_piece(Store& store, PieceIndex piece) {
    std::optional<Result<PieceBuffer>> answer;
    auto room = pool.take(store.manifest().extent(piece).length);
    EXPECT_TRUE(room);
    store.read_piece(piece, std::move(*room),
                     [&](Result<PieceBuffer> result) { answer = std::move(result); });
    owner.run_until([&] { return answer.has_value(); });
    if (!*answer) return {};
    return {(*answer)->bytes().begin(), (*answer)->bytes().end()};
  }

  // A directory fetched whole or in part, closed again.
  void fetch(const std::filesystem::path& directory,
             const std::shared_ptr<const Manifest>& manifest, const ResolvedSelection& selection,
             const Files& files) {
    Store::TargetOptions options{.directory = directory};
    if (!std::filesystem::exists(directory / ".shardswarm")) {
      options.layout = selection.everything ? Layout::kOriginal : Layout::kMirror;
    }
    auto store = Store::open_target(environment(), options, manifest, selection);
    ASSERT_TRUE(store) << store.error().message;
    put_missing(**store, selection.pieces, files);
    const auto finished = finish(**store);
    ASSERT_TRUE(finished) << finished.error().message;
  }
};

inline bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::ranges::equal(a, b);
}

// Every file of `files` is in `directory`, byte for byte.
inline void expect_tree(const std::filesystem::path& directory, const Files& files) {
  for (const auto& [path, bytes] : files) {
    ASSERT_TRUE(std::filesystem::exists(directory / path)) << path;
    EXPECT_TRUE(same(read_file(directory / path), bytes)) << path;
  }
}

}  // namespace shardswarm::test
