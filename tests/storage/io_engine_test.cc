// Both engines against real files. The posix engine always runs; io_uring where the kernel permits.
#include "storage/io_engine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/limits.h"
#include "storage/engines.h"
#include "tests/storage/checkpoint.h"

namespace shardswarm {
namespace {

using test::Bytes;
using test::noise;

Fd open_new(const std::filesystem::path& path) {
  return Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
}

class IoEngineTest : public testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    std::string notice;
    engine_ = make_io_engine(GetParam(), &pool_, notice);
    if (GetParam() == EngineKind::kUring && engine_->report().name != "uring") {
      GTEST_SKIP() << "no io_uring here: " << notice;
    }
  }

  Result<void> run(const std::function<void(IoDone)>& start) {
    std::promise<Result<void>> promise;
    start([&](Result<void> result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
  }
  Result<void> write(int fd, std::uint64_t at, std::span<const std::byte> from) {
    return run([&](IoDone done) { engine_->write(fd, at, from, std::move(done)); });
  }
  Result<void> read(int fd, std::uint64_t at, std::span<std::byte> into) {
    return run([&](IoDone done) { engine_->read(fd, at, into, std::move(done)); });
  }

  test::TempDir dir_;
  BufferPool pool_{2, 2};
  std::unique_ptr<IoEngine> engine_;
};

TEST_P(IoEngineTest, IsTheOneAskedFor) {
  EXPECT_EQ(engine_->report().name, GetParam() == EngineKind::kUring ? "uring" : "posix");
}

TEST_P(IoEngineTest, WritesSyncsAndReadsPooledAndOtherMemory) {
  const Fd file = open_new(dir_ / "f");
  const Bytes content = noise(300'000, 1);
  auto pooled = pool_.take(content.size());
  ASSERT_TRUE(pooled);
  std::ranges::copy(content, pooled->bytes().begin());
  ASSERT_TRUE(write(file.get(), 4096, pooled->bytes()));
  ASSERT_TRUE(write(file.get(), 1, std::span(content).first(100)));
  ASSERT_TRUE(run([&](IoDone done) { engine_->sync(file.get(), std::move(done)); }));
  ASSERT_TRUE(
      run([&](IoDone done) { engine_->read_ahead(file.get(), 0, 300'000, std::move(done)); }));
  std::ranges::fill(pooled->bytes(), std::byte{0});
  ASSERT_TRUE(read(file.get(), 4096, pooled->bytes()));
  EXPECT_TRUE(std::ranges::equal(pooled->bytes(), content));
  Bytes plain(100);
  ASSERT_TRUE(read(file.get(), 1, plain));
  EXPECT_TRUE(std::ranges::equal(plain, std::span(content).first(100)));
  const EngineReport report = engine_->report();
  EXPECT_EQ(report.operations, 6U);
  if (GetParam() == EngineKind::kUring) {
    EXPECT_GT(report.submissions, 0U);
  } else {
    EXPECT_EQ(report.submissions, 0U);
    EXPECT_FALSE(report.registered_buffers);
  }
}

// Holes are in no cache until they are read.
TEST_P(IoEngineTest, KnowsWhatIsCachedWhereTheSystemTells) {
  const Fd file = open_new(dir_ / "f");
  ASSERT_EQ(::ftruncate(file.get(), 1'000'000), 0);
  EXPECT_FALSE(engine_->is_cached(file.get(), 0, 1'000'000));
  ASSERT_TRUE(write(file.get(), 100'000, noise(100'000, 1)));
  if (GetParam() == EngineKind::kPosix) {
    EXPECT_FALSE(engine_->is_cached(file.get(), 100'000, 100'000));
    return;
  }
  if (::syscall(451, file.get(), nullptr, nullptr, 0) != 0 && errno != EFAULT) {
    GTEST_SKIP() << "no cachestat here: before Linux 6.5, or not permitted";
  }
  EXPECT_TRUE(engine_->is_cached(file.get(), 100'000, 100'000));
  EXPECT_TRUE(engine_->is_cached(file.get(), 199'999, 1));
  EXPECT_TRUE(engine_->is_cached(file.get(), 0, 0));
  EXPECT_FALSE(engine_->is_cached(file.get(), 90'000, 100'000));
  EXPECT_FALSE(engine_->is_cached(file.get(), 190'000, 100'000));
  EXPECT_FALSE(engine_->is_cached(file.get(), 900'000, 1));
  EXPECT_FALSE(engine_->is_cached(-1, 0, 1));
}

// More than is registered at once, all of it under way together.
TEST_P(IoEngineTest, MovesAllBuffersOfALargePool) {
  constexpr std::uint32_t kLarge = 9;
  BufferPool pool(kLarge, 40);
  std::string notice;
  const auto engine = make_io_engine(GetParam(), &pool, notice);
  const Fd file = open_new(dir_ / "f");
  std::vector<PieceBuffer> buffers;
  for (std::uint32_t i = 0; i < kLarge + 40; ++i) {
    const std::size_t size = i < kLarge ? limits::kBufferBytesLarge : limits::kBufferBytesSmall;
    buffers.push_back(*pool.take(size));
    const Bytes content = noise(size, i);
    std::ranges::copy(content, buffers.back().bytes().begin());
  }
  const auto all = [&](const auto& start) {
    std::latch done(static_cast<std::ptrdiff_t>(buffers.size()));
    std::atomic<int> failed{0};
    std::uint64_t at = 3;
    for (const PieceBuffer& buffer : buffers) {
      start(at, buffer.bytes(), [&](const Result<void>& result) {
        if (!result) ++failed;
        done.count_down();
      });
      at += buffer.bytes().size();
    }
    done.wait();
    EXPECT_EQ(failed, 0);
  };
  all([&](std::uint64_t at, std::span<std::byte> bytes, IoDone done) {
    engine->write(file.get(), at, bytes, std::move(done));
  });
  for (const PieceBuffer& buffer : buffers) std::ranges::fill(buffer.bytes(), std::byte{0});
  all([&](std::uint64_t at, std::span<std::byte> bytes, IoDone done) {
    engine->read(file.get(), at, bytes, std::move(done));
  });
  for (std::uint32_t i = 0; i < buffers.size(); ++i) {
    const auto bytes = buffers[i].bytes();
    EXPECT_TRUE(std::ranges::equal(bytes, noise(bytes.size(), i))) << i;
  }
  EXPECT_EQ(engine->report().registered_buffers,
            GetParam() == EngineKind::kUring && notice.empty());
}

TEST_P(IoEngineTest, ReadBeyondTheEndSaysThatTheFileShrank) {
  const Fd file = open_new(dir_ / "f");
  ASSERT_TRUE(write(file.get(), 0, noise(1000, 1)));
  for (const std::uint64_t at : {0U, 999U, 1000U, 5000U}) {
    Bytes into(1001);
    const auto result = read(file.get(), at, into);
    ASSERT_FALSE(result) << at;
    EXPECT_EQ(result.error().code, Errc::kIo);
    EXPECT_NE(result.error().message.find("shrank"), std::string::npos) << result.error().message;
  }
}

TEST_P(IoEngineTest, ErrorsOfTheKernelArrive) {
  Bytes bytes(10);
  EXPECT_FALSE(read(-1, 0, bytes));
  const Fd read_only = open_new(dir_ / "f");
  const Fd reader = *open_for_reading(dir_ / "f");
  const auto result = write(reader.get(), 0, bytes);
  ASSERT_FALSE(result);
  EXPECT_FALSE(run([&](IoDone done) { engine_->sync(-1, std::move(done)); }));
}

TEST_P(IoEngineTest, FullDiskIsNoSpace) {
  const Fd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  if (!full) GTEST_SKIP() << "no /dev/full here";
  const auto result = write(full.get(), 0, noise(10, 1));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kNoSpace);
}

// A pipe-like limit on one transfer: RLIMIT_FSIZE cuts a write short, the rest then fails.
TEST_P(IoEngineTest, ShortWritesAreContinuedUntilTheyFail) {
  struct rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  const Fd file = open_new(dir_ / "f");
  const Bytes content = noise(100'000, 3);
  struct rlimit low = before;
  low.rlim_cur = 65'536;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  const auto result = write(file.get(), 0, content);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kIo);
  struct stat status{};
  ASSERT_EQ(::fstat(file.get(), &status), 0);
  EXPECT_EQ(status.st_size, 65'536);
}

TEST_P(IoEngineTest, ManyOperationsFromSeveralThreadsEachCompleteOnce) {
  constexpr int kThreads = 4;
  constexpr int kWrites = 600;  // more than a ring has entries
  constexpr std::size_t kBytes = 512;
  const Fd file = open_new(dir_ / "f");
  const Bytes content = noise(kThreads * kWrites * kBytes, 2);
  std::vector<std::atomic<int>> done(kThreads * kWrites);
  std::latch all(kThreads * kWrites);
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kWrites; ++i) {
        const auto n = static_cast<std::size_t>(t * kWrites + i);
        engine_->write(file.get(), n * kBytes, std::span(content).subspan(n * kBytes, kBytes),
                       [&, n](const Result<void>& result) {
                         ++done[n];
                         if (!result) ++failed;
                         all.count_down();
                       });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  all.wait();
  EXPECT_EQ(failed, 0);
  for (const auto& count : done) EXPECT_EQ(count, 1);
  EXPECT_TRUE(std::ranges::equal(test::read_file(dir_ / "f"), content));
  if (GetParam() == EngineKind::kUring) {
    EXPECT_LT(engine_->report().submissions, engine_->report().operations * 2);
  }
}

TEST_P(IoEngineTest, DestructorWaitsForWhatIsUnderWay) {
  const Fd file = open_new(dir_ / "f");
  const Bytes content = noise(1 << 20, 4);
  std::atomic<int> done{0};
  for (unsigned i = 0; i < 32; ++i) {
    engine_->write(file.get(), std::uint64_t{i} << 20, content,
                   [&](const Result<void>& result) { done += result ? 1 : 0; });
  }
  engine_.reset();
  EXPECT_EQ(done, 32);
}

// A completion may start the next operation.
TEST_P(IoEngineTest, OperationsMayBeStartedFromCompletions) {
  const Fd file = open_new(dir_ / "f");
  const Bytes content = noise(100, 5);
  std::promise<Result<void>> finished;
  engine_->write(file.get(), 0, content, [&](const Result<void>&) {
    engine_->sync(file.get(), [&](Result<void> result) { finished.set_value(std::move(result)); });
  });
  EXPECT_TRUE(finished.get_future().get());
}

INSTANTIATE_TEST_SUITE_P(Engines, IoEngineTest,
                         testing::Values(EngineKind::kUring, EngineKind::kPosix),
                         [](const auto& param) {
                           return param.param == EngineKind::kUring ? "uring" : "posix";
                         });

TEST(IoEngine, KindsByName) {
  EXPECT_EQ(engine_kind_from_name("uring"), EngineKind::kUring);
  EXPECT_EQ(engine_kind_from_name("posix"), EngineKind::kPosix);
  EXPECT_FALSE(engine_kind_from_name("auto?"));
}

TEST(IoEngine, AutomaticChoiceIsOneThatWorksAndSaysWhyItIsNotIoUring) {
  std::string notice;
  const auto engine = make_io_engine(EngineKind::kAuto, nullptr, notice);
  ASSERT_TRUE(engine);
  std::string asked_for;
  (void)make_io_engine(EngineKind::kUring, nullptr, asked_for);
  const bool built_without = asked_for.find("built without") != std::string::npos;
  EXPECT_TRUE(built_without || engine->report().name == "uring" || !notice.empty());
  EXPECT_FALSE(engine->report().registered_buffers);
}

// Without privileges and with little locked memory the pool cannot be registered: said once, and
// everything works all the same.
TEST(IoEngine, WithoutLockedMemoryBuffersStayUnregistered) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs to change its user id in a child process";
  std::string notice;
  BufferPool pool(2, 0);
  if (make_io_engine(EngineKind::kUring, &pool, notice)->report().name != "uring") {
    GTEST_SKIP() << "no io_uring here: " << notice;
  }
  EXPECT_EXIT(
      {
        const struct rlimit none{};
        if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0 || ::setuid(65534) != 0) ::_exit(3);
        std::string said;
        const auto engine = make_io_engine(EngineKind::kUring, &pool, said);
        const EngineReport report = engine->report();
        ::_exit(!report.registered_buffers && !said.empty() ? 0 : 4);
      },
      testing::ExitedWithCode(0), "");
}

// With locked memory for a part of the pool that part is registered, and all of it works.
TEST(IoEngine, WithLittleLockedMemorySomeBuffersStayUnregistered) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs to change its user id in a child process";
  std::string notice;
  if (make_io_engine(EngineKind::kUring, nullptr, notice)->report().name != "uring") {
    GTEST_SKIP() << "no io_uring here: " << notice;
  }
  test::TempDir dir;
  const Fd file = open_new(dir / "f");
  EXPECT_EXIT(
      {
        struct rlimit some{};
        some.rlim_cur = some.rlim_max = 4 * limits::kMiB;
        if (::setrlimit(RLIMIT_MEMLOCK, &some) != 0 || ::setuid(65534) != 0) ::_exit(3);
        BufferPool pool(8, 0);
        std::string said;
        const auto engine = make_io_engine(EngineKind::kUring, &pool, said);
        std::vector<PieceBuffer> buffers;
        for (int i = 0; i < 8; ++i) buffers.push_back(*pool.take(limits::kBufferBytesLarge));
        std::latch done(8);
        std::atomic<int> failed{0};
        for (std::size_t i = 0; i < buffers.size(); ++i) {
          engine->write(file.get(), i * limits::kBufferBytesLarge, buffers[i].bytes(),
                        [&](const Result<void>& result) {
                          if (!result) ++failed;
                          done.count_down();
                        });
        }
        done.wait();
        ::_exit(failed == 0 && !engine->report().registered_buffers ? 0 : 4);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace shardswarm
