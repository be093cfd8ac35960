// Storage engines on real files: engine x block size x buffered or direct, reading and writing.
// The file lies in SHARDSWARM_BENCH_DIR, else in the directory for temporary files.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/limits.h"
#include "storage/io_engine.h"

namespace shardswarm {
namespace {

constexpr std::uint64_t kFileBytes = 256 * limits::kMiB;
constexpr std::size_t kInFlight = 16;  // operations of one benchmark loop at a time

class BenchFile {
 public:
  explicit BenchFile(bool direct) {
    const char* directory = std::getenv("SHARDSWARM_BENCH_DIR");
    const auto folder = directory != nullptr ? std::filesystem::path(directory)
                                             : std::filesystem::temp_directory_path();
    std::string path = (folder / "shardswarm-micro-XXXXXX").string();
    const Fd made(::mkstemp(path.data()));
    const std::vector<std::byte> block(limits::kMiB, std::byte{1});
    for (std::uint64_t at = 0; made && at < kFileBytes; at += block.size()) {
      if (!write_exactly(made.get(), at, block, path)) return;
    }
    (void)::fdatasync(made.get());
    fd_ = Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0)));
    (void)::unlink(path.c_str());
  }
  int get() const { return fd_.get(); }
  bool usable() const { return static_cast<bool>(fd_); }

 private:
  Fd fd_;
};

// Arguments: engine (0 posix, 1 uring), bytes of a block, direct.
template <bool kWrite>
void Storage(benchmark::State& state) {
  const EngineKind kind = state.range(0) == 1 ? EngineKind::kUring : EngineKind::kPosix;
  const auto block = static_cast<std::size_t>(state.range(1));
  const bool direct = state.range(2) == 1;
  const BenchFile file(direct);
  BufferPool pool(kInFlight, 0);
  std::string notice;
  const auto engine = make_io_engine(kind, &pool, notice);
  if (!file.usable()) return state.SkipWithError("no such file can be opened there");
  if (engine->report().name != (kind == EngineKind::kUring ? "uring" : "posix")) {
    return state.SkipWithError(notice.c_str());
  }
  std::vector<PieceBuffer> buffers;
  buffers.reserve(kInFlight);
  for (std::size_t i = 0; i < kInFlight; ++i) buffers.push_back(*pool.take(block));
  std::atomic<bool> failed{false};
  std::uint64_t at = 0;
  for (auto _ : state) {
    std::latch done(kInFlight);
    for (const PieceBuffer& buffer : buffers) {
      const IoDone ended = [&](const Result<void>& result) {
        if (!result) failed = true;
        done.count_down();
      };
      if constexpr (kWrite) {
        engine->write(file.get(), at, buffer.bytes(), ended);
      } else {
        engine->read(file.get(), at, buffer.bytes(), ended);
      }
      at = (at + block) % kFileBytes;
    }
    done.wait();
  }
  if (failed) state.SkipWithError("an operation failed");
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kInFlight * block));
}

void arguments(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"uring", "block", "direct"});
  benchmark->ArgsProduct({{0, 1}, {64 << 10, 256 << 10, 1 << 20}, {0, 1}});
  benchmark->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK(Storage<false>)->Name("StorageRead")->Apply(arguments);
BENCHMARK(Storage<true>)->Name("StorageWrite")->Apply(arguments);

}  // namespace
}  // namespace shardswarm
