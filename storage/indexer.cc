#include "storage/indexer.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "piece/digest_lanes.h"
#include "piece/limits.h"
#include "storage/digest_index.h"
#include "storage/file.h"
#include "storage/index_walk.h"
#include "storage/ledger.h"
#include "storage/meta_dir.h"
#include "storage/parallel.h"
#include "storage/read_buffer.h"
#include "storage/sparse.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

// Consecutive pieces are read together: few system calls for many small tensors.
constexpr std::uint64_t kReadBytes = 4 * limits::kMiB;
// Of holes, which are not read, it can be more at once.
constexpr std::uint64_t kHoleBytes = 256 * limits::kMiB;
constexpr std::size_t kZeroLengthsMax = 4096;

struct FileWork {
  WalkedFile file;
  Fd fd;
  FileIdentity identity;
  Blob header;                       // of safetensors
  std::vector<PieceExtent> extents;  // of its pieces
  DataRanges data;
  std::vector<std::byte> piece_list;
  std::vector<std::uint64_t> xxh3;
};

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

Result<void> open_file(FileWork& work) {
  const std::string name = work.file.location.string();
  auto fd = open_for_reading(work.file.location);
  if (!fd) return std::unexpected(fd.error());
  work.fd = std::move(*fd);
  const auto identity = identity_of(work.fd.get(), name);
  if (!identity) return std::unexpected(identity.error());
  work.identity = *identity;
  if (work.identity.size > limits::kFileBytesMax) return fail(Errc::kLimit, name + " is too large");
  return {};
}

void add_extents(FileWork& work, std::uint64_t at, const Tiling& tiling) {
  for (std::uint64_t i = 0; i < tiling.pieces(); ++i) {
    work.extents.push_back({FileIndex(0), at + tiling.piece_offset(i), tiling.piece_bytes(i)});
  }
}

Result<void> read_header(FileWork& work) {
  const std::string name = work.file.location.string();
  const auto named = [&](const Error& error) {
    return fail(error.code, name + ": " + error.message);
  };
  std::array<std::byte, 8> prefix{};
  if (work.identity.size < prefix.size())
    return fail(Errc::kMalformed, name + ": too short for a safetensors file");
  if (auto read = read_exactly(work.fd.get(), 0, prefix, name); !read) return read;
  const auto length = safetensors_header_bytes(prefix);
  if (!length) return named(length.error());
  if (*length > work.identity.size) {
    return fail(Errc::kMalformed, name + ": the file ends within its header");
  }
  auto bytes = std::make_shared<std::vector<std::byte>>(*length);
  if (auto read = read_exactly(work.fd.get(), 0, *bytes, name); !read) return read;
  const auto header = parse_safetensors_header(*bytes);
  if (!header) return named(header.error());
  if (header->header_bytes + header->data_bytes != work.identity.size) {
    return fail(Errc::kMalformed, name + ": the tensors end at " +
                                      std::to_string(header->header_bytes + header->data_bytes) +
                                      ", the file at " + std::to_string(work.identity.size));
  }
  for (const TensorInfo& tensor : header->tensors) {
    add_extents(work, header->header_bytes + tensor.begin, tile_tensor(tensor.dtype, tensor.shape));
  }
  work.header = std::move(bytes);
  return {};
}

std::vector<ReadJob> make_jobs(const std::vector<FileWork>& files) {
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
  Hasher(std::vector<FileWork>& files, const IndexOptions& options)
      : files_(files), options_(options) {
    for (FileWork& file : files_) {
      total_ += file.identity.size;
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
    FileWork& file = files_[job.file];
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
  static Result<void> hash_bytes(FileWork& file, const ReadJob& job, std::uint64_t from,
                                 std::uint64_t size) {
    thread_local ReadBuffer buffer;
    thread_local std::vector<std::span<const std::byte>> pieces;
    thread_local std::vector<Digest> digests;
    const auto bytes = buffer.room(from, size);
    auto read = read_exactly(file.fd.get(), from, bytes, file.file.location.string());
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

  static void keep(FileWork& file, std::size_t piece, const PieceHashes& hashes) {
    std::ranges::copy(hashes.digest.bytes, file.piece_list.begin() +
                                               static_cast<std::ptrdiff_t>(piece * sizeof(Digest)));
    file.xxh3[piece] = hashes.xxh3;
  }

  void set_error(Error error) {
    const std::scoped_lock lock(mutex_);
    failed_ = true;
    if (result_) result_ = std::unexpected(std::move(error));
  }

  std::vector<FileWork>& files_;
  const IndexOptions& options_;
  ZeroHashes zeros_;
  std::uint64_t total_ = 0;
  std::atomic<std::uint64_t> done_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  Result<void> result_;
};

Result<std::shared_ptr<Manifest>> make_manifest(std::vector<FileWork>& files) {
  ManifestRoot root;
  std::vector<Blob> lists;
  for (FileWork& work : files) {
    const auto list = std::make_shared<const std::vector<std::byte>>(std::move(work.piece_list));
    FileEntry entry{.path = work.file.path, .size = work.identity.size, .kind = work.file.kind};
    if (work.header) {
      entry.header_bytes = work.header->size();
      entry.header_digest = sha256(*work.header);
    }
    if (work.extents.size() > limits::kPiecesMax) {
      return fail(Errc::kLimit, work.file.location.string() + " has too many pieces");
    }
    entry.pieces = static_cast<std::uint32_t>(work.extents.size());
    entry.piece_list_digest = sha256(*list);
    lists.push_back(list);
    root.files.push_back(std::move(entry));
  }
  const auto bytes = encode_root(root);
  if (!bytes) return std::unexpected(bytes.error());
  auto manifest = Manifest::from_root(*bytes);
  if (!manifest) return std::unexpected(manifest.error());
  auto shared = std::make_shared<Manifest>(std::move(*manifest));
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    if (files[i].header) {
      if (auto added = shared->add_header(FileIndex(i), files[i].header); !added) {
        return std::unexpected(added.error());
      }
    }
    if (auto added = shared->add_piece_list(FileIndex(i), lists[i]); !added) {
      return std::unexpected(added.error());
    }
  }
  return shared;
}

// What is known of this directory, if every file still is what it was.
std::shared_ptr<Manifest> unchanged(const fs::path& state, const fs::path& ledger_path,
                                    const std::vector<FileWork>& files) {
  const auto head = Ledger::read_head(ledger_path);
  if (!head) return nullptr;
  auto manifest = load_manifest_from(model_meta_dir(state, head->model));
  if (!manifest || (*manifest)->file_count() != files.size()) return nullptr;
  const auto ledger =
      Ledger::read(ledger_path, (*manifest)->piece_count(), (*manifest)->file_count());
  if (!ledger || !ledger->recorded.complete() || (*manifest)->id() != head->model) return nullptr;
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    const FileEntry& entry = (*manifest)->file(FileIndex(i));
    if (entry.path != files[i].file.path || entry.kind != files[i].file.kind) return nullptr;
    if (ledger->files[i] != files[i].identity) return nullptr;
    if ((*manifest)->needs_header(FileIndex(i)) || (*manifest)->needs_piece_list(FileIndex(i)))
      return nullptr;
  }
  return *manifest;
}

Result<void> remember(const fs::path& state, const fs::path& ledger_path, const Manifest& manifest,
                      const std::vector<FileWork>& files, std::vector<std::string>& warnings) {
  const fs::path meta = model_meta_dir(state, manifest.id());
  if (auto saved = save_manifest(meta, manifest); !saved) return saved;
  std::error_code ec;
  fs::create_directories(ledger_path.parent_path(), ec);
  if (ec) return fail_errno(ec.value(), "cannot make " + ledger_path.parent_path().string());
  auto ledger = Ledger::create(ledger_path, manifest.id(), Layout::kOriginal);
  if (!ledger) return std::unexpected(ledger.error());
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    std::vector<PieceRecord> records;
    records.reserve(files[i].xxh3.size());
    const std::uint32_t first = manifest.first_piece(FileIndex(i)).value;
    for (std::uint32_t p = 0; p < files[i].xxh3.size(); ++p) {
      records.push_back({PieceIndex(first + p), files[i].xxh3[p]});
    }
    auto appended = records.empty() ? Result<void>{} : ledger->append_pieces(records);
    if (appended) appended = ledger->append_file(PlacedIndex(i), files[i].identity);
    if (!appended) return appended;
  }
  // Whoever needs it and does not find it makes it.
  if (const auto made = DigestIndex::write(meta / kDigestIndexName, manifest); !made) {
    warnings.push_back("no digest index was kept: " + made.error().message);
  }
  return {};
}

}  // namespace

Result<IndexReport> index_directory(const IndexOptions& options, Workers& workers) {
  auto walked = walk_model(options.directory);
  if (!walked) return std::unexpected(walked.error());
  const auto ledger_path = directory_ledger(options.state_directory, options.directory);
  if (!ledger_path) return std::unexpected(ledger_path.error());
  std::vector<FileWork> files;
  for (WalkedFile& file : *walked) {
    files.push_back({.file = std::move(file)});
    if (auto opened = open_file(files.back()); !opened) return std::unexpected(opened.error());
  }

  IndexReport report;
  if (auto known = unchanged(options.state_directory, *ledger_path, files)) {
    report.manifest = std::move(known);
    report.reused = true;
  } else {
    for (FileWork& work : files) {
      Result<void> read;
      if (work.file.kind == FileKind::kPlain) {
        add_extents(work, 0, tile_bytes(work.identity.size));
      } else {
        read = read_header(work);
      }
      if (!read) return std::unexpected(read.error());
      work.data = DataRanges(work.fd.get(), work.identity.size);
    }
    if (auto hashed = Hasher(files, options).run(workers); !hashed) {
      return std::unexpected(hashed.error());
    }
    for (const FileWork& work : files) {
      const std::string name = work.file.location.string();
      const auto identity = identity_of(work.fd.get(), name);
      if (!identity || *identity != work.identity) {
        return fail(Errc::kIo, name + " changed while it was being read: index it again");
      }
    }
    auto manifest = make_manifest(files);
    if (!manifest) return std::unexpected(manifest.error());
    if (auto kept =
            remember(options.state_directory, *ledger_path, **manifest, files, report.warnings);
        !kept) {
      return std::unexpected(kept.error());
    }
    report.manifest = std::move(*manifest);
  }
  report.files = files.size();
  report.bytes = report.manifest->total_bytes();
  report.pieces = report.manifest->piece_count();
  for (std::uint32_t i = 0; i < files.size(); ++i) {
    report.tensors += report.manifest->tensors(FileIndex(i)).size();
  }
  return report;
}

}  // namespace shardswarm
