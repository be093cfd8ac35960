#include "storage/index_hash.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "base/limits.h"
#include "base/text.h"
#include "piece/digest_lanes.h"
#include "piece/tiling.h"
#include "storage/parallel.h"
#include "storage/read_buffer.h"

namespace shardswarm {
namespace {

// Consecutive pieces are read together: few system calls for many small tensors.
constexpr std::uint64_t kReadBytes = 4 * limits::kMiB;
// Holes are not read, so a job can have more of them.
constexpr std::uint64_t kHoleBytes = 256 * limits::kMiB;
constexpr std::size_t kZeroLengthsMax = 4096;

// Pieces [first, last) of one file, read at once, or all in holes.
struct ReadJob {
  std::size_t file = 0;
  std::size_t first = 0;
  std::size_t last = 0;
  bool hole = false;
};

struct PieceHashes {
  Digest digest;
  std::uint64_t xxh3 = 0;
};

// Hashes of zeros, each length computed once, so that a hole of a terabyte costs no more than
// looking them up. Thread-safe.
class ZeroHashes {
 public:
  PieceHashes of(std::uint32_t length) {
    {
      const std::scoped_lock lock(mutex_);
      if (const auto known = known_.find(length); known != known_.end()) return known->second;
    }
    const auto bytes = std::span(zeros_).first(length);
    const PieceHashes hashes{.digest = sha256(bytes), .xxh3 = xxh3_64(bytes)};
    const std::scoped_lock lock(mutex_);
    if (known_.size() < kZeroLengthsMax) known_.emplace(length, hashes);
    return hashes;
  }

 private:
  const std::vector<std::byte> zeros_ = std::vector<std::byte>(limits::kPieceBytesMax);
  std::mutex mutex_;
  std::map<std::uint32_t, PieceHashes> known_;
};

void add_extents(HashedFile& hashed, std::uint64_t at, const Tiling& tiling) {
  for (std::uint64_t i = 0; i < tiling.pieces(); ++i) {
    hashed.extents.push_back({FileIndex(0), at + tiling.piece_offset(i), tiling.piece_bytes(i)});
  }
}

std::vector<ReadJob> make_jobs(const std::vector<HashedFile>& files) {
  std::vector<ReadJob> jobs;
  for (std::size_t f = 0; f < files.size(); ++f) {
    const auto& extents = files[f].extents;
    const auto in_hole = [&](std::size_t p) {
      return files[f].data.all_hole(extents[p].offset, extents[p].length);
    };
    for (std::size_t first = 0; first < extents.size();) {
      const bool hole = in_hole(first);
      const std::uint64_t end = extents[first].offset + (hole ? kHoleBytes : kReadBytes);
      std::size_t last = first + 1;
      while (last < extents.size() && extents[last].offset + extents[last].length <= end &&
             in_hole(last) == hole) {
        ++last;
      }
      jobs.push_back({f, first, last, hole});
      first = last;
    }
  }
  return jobs;
}

// Hashes every piece on all workers; the first error ends it.
class Hasher {
 public:
  Hasher(std::vector<HashedFile>& files, const HashOptions& options)
      : files_(files), options_(options) {
    for (HashedFile& file : files_) {
      total_ += file.file.identity.size;
      file.piece_list.resize(file.extents.size() * sizeof(Digest));
      file.xxh3.resize(file.extents.size());
    }
  }

  Result<void> run(Workers& workers) {
    const auto jobs = make_jobs(files_);
    parallel_for(workers, jobs.size(), [&](std::size_t i) { hash(jobs[i]); });
    return result_;
  }

 private:
  void hash(const ReadJob& job) {
    if (failed_.load(std::memory_order_relaxed)) return;
    if (options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed)) {
      set_error({Errc::kCancelled, "indexing was interrupted"});
      return;
    }
    HashedFile& file = files_[job.file];
    const std::uint64_t from = file.extents[job.first].offset;
    const PieceExtent& last = file.extents[job.last - 1];
    const std::uint64_t size = last.offset + last.length - from;
    if (job.hole) {
      for (std::size_t p = job.first; p < job.last; ++p) {
        keep(file, p, zeros_.of(file.extents[p].length));
      }
    } else if (const auto hashed = hash_bytes(file, job, from, size); !hashed) {
      set_error(hashed.error());
      return;
    }
    const std::uint64_t done = done_.fetch_add(size) + size;
    if (options_.progress) options_.progress(done, total_);
  }

  // Reads [from, from + size), which the job's pieces fill but for gaps.
  static Result<void> hash_bytes(HashedFile& file, const ReadJob& job, std::uint64_t from,
                                 std::uint64_t size) {
    thread_local ReadBuffer buffer;
    thread_local std::vector<std::span<const std::byte>> pieces;
    thread_local std::vector<Digest> digests;
    const auto bytes = buffer.room(from, size);
    auto read =
        read_exactly(file.file.fd.get(), from, bytes, printable(file.file.location.string()));
    if (!read) return read;
    pieces.clear();
    for (std::size_t p = job.first; p < job.last; ++p) {
      const PieceExtent& extent = file.extents[p];
      pieces.push_back(bytes.subspan(extent.offset - from, extent.length));
    }
    digests.resize(pieces.size());
    sha256_each(pieces, digests);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      keep(file, job.first + i, {.digest = digests[i], .xxh3 = xxh3_64(pieces[i])});
    }
    return {};
  }

  static void keep(HashedFile& file, std::size_t piece, const PieceHashes& hashes) {
    std::ranges::copy(hashes.digest.bytes, file.piece_list.begin() +
                                               static_cast<std::ptrdiff_t>(piece * sizeof(Digest)));
    file.xxh3[piece] = hashes.xxh3;
  }

  void set_error(Error error) {
    const std::scoped_lock lock(mutex_);
    failed_ = true;
    if (result_) result_ = std::unexpected(std::move(error));
  }

  std::vector<HashedFile>& files_;
  const HashOptions& options_;
  ZeroHashes zeros_;
  std::uint64_t total_ = 0;
  std::atomic<std::uint64_t> done_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  Result<void> result_;
};

}  // namespace

HashedFile cut_into_pieces(ModelFile file) {
  HashedFile hashed{.file = std::move(file)};
  const ModelFile& of = hashed.file;
  hashed.data = DataRanges(of.fd.get(), of.identity.size);
  if (!of.header) add_extents(hashed, 0, tile_bytes(of.identity.size));
  for (const TensorInfo& tensor : of.tensors) {
    add_extents(hashed, of.header->size() + tensor.begin, tile_tensor(tensor.dtype, tensor.shape));
  }
  return hashed;
}

Result<void> hash_files(std::vector<HashedFile>& files, const HashOptions& options,
                        Workers& workers) {
  return Hasher(files, options).run(workers);
}

}  // namespace shardswarm
