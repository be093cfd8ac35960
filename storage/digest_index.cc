#include "storage/digest_index.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <limits>

#include "base/bytes.h"
#include "base/limits.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexMagic = "SSDIGIX1";
constexpr std::size_t kIndexHeadBytes = 56;  // magic, model, count, reserved, checksum
constexpr std::size_t kCheckedBytes = kIndexHeadBytes - 8;
constexpr std::size_t kIndexRecordBytes = 12;
constexpr std::uint32_t kBlockRecords = 16 * limits::kKiB / kIndexRecordBytes;
constexpr std::size_t kWriteBytes = 256 * limits::kKiB;

// The temporary file, ours alone: two that write into one would make a third thing of it.
Result<Fd> open_temporary(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!fd) return fail_errno(errno, "cannot write " + path.string());
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(errno, "cannot lock " + path.string());
    return fail(Errc::kBusy, path.string() + " is being written by another shardswarm");
  }
  // Who held the lock before us may have renamed it meanwhile: then it is no temporary file.
  struct stat opened{};
  struct stat named{};
  if (::fstat(fd.get(), &opened) != 0 || ::lstat(path.c_str(), &named) != 0 ||
      opened.st_ino != named.st_ino || opened.st_dev != named.st_dev) {
    return fail(Errc::kBusy, path.string() + " was just written by another shardswarm");
  }
  if (::ftruncate(fd.get(), 0) != 0) return fail_errno(errno, "cannot write " + path.string());
  return fd;
}

}  // namespace

std::vector<DigestIndex::Record> DigestIndex::sorted_records(const Manifest& manifest) {
  std::vector<Record> records;
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const Blob list = manifest.piece_list_blob(FileIndex(i));
    if (!list) continue;
    const std::uint32_t first = manifest.first_piece(FileIndex(i)).value;
    for (std::uint32_t p = 0; p < manifest.file(FileIndex(i)).pieces; ++p) {
      records.push_back({big_endian_at<std::uint64_t>(*list, p * sizeof(Digest)), first + p});
    }
  }
  std::ranges::sort(records, [](const Record& a, const Record& b) {
    return a.prefix != b.prefix ? a.prefix < b.prefix : a.piece < b.piece;
  });
  return records;
}

Result<void> DigestIndex::write_records(int fd, const ModelId& model,
                                        const std::vector<Record>& records,
                                        const std::string& name) {
  std::vector<std::byte> out;
  out.reserve(kWriteBytes + kIndexRecordBytes);
  for (const char c : kIndexMagic) out.push_back(static_cast<std::byte>(c));
  out.insert(out.end(), model.bytes.begin(), model.bytes.end());
  append_little_endian(out, static_cast<std::uint32_t>(records.size()));
  append_little_endian(out, std::uint32_t{0});
  append_little_endian(out, xxh3_64(out));
  std::uint64_t at = 0;
  const auto flush = [&] {
    auto written = write_exactly(fd, at, out, name);
    at += out.size();
    out.clear();
    return written;
  };
  for (const Record& record : records) {
    append_big_endian(out, record.prefix);
    append_little_endian(out, record.piece);
    if (out.size() < kWriteBytes) continue;
    if (auto written = flush(); !written) return written;
  }
  if (auto written = flush(); !written) return written;
  if (::fsync(fd) != 0) return fail_errno(errno, "cannot sync " + name);
  return {};
}

Result<void> DigestIndex::write(const fs::path& file, const Manifest& manifest) {
  fs::path temporary = file;
  temporary += ".new";
  const auto fd = open_temporary(temporary);
  if (!fd) return std::unexpected(fd.error());
  auto written =
      write_records(fd->get(), manifest.id(), sorted_records(manifest), temporary.string());
  if (written && ::rename(temporary.c_str(), file.c_str()) != 0) {
    written = fail_errno(errno, "cannot rename " + temporary.string());
  }
  if (!written) {
    (void)::unlink(temporary.c_str());  // half an index only takes space
    return written;
  }
  return sync_directory(file.parent_path());
}

Result<DigestIndex> DigestIndex::open(const fs::path& file, const ModelId& model) {
  DigestIndex index;
  index.name_ = file.string();
  auto fd = open_for_reading(file);
  if (!fd) return std::unexpected(fd.error());
  const auto bad = [&] {
    return fail(Errc::kMalformed, index.name_ + " is damaged, or of another model");
  };
  const auto identity = identity_of(fd->get(), index.name_);
  if (!identity) return std::unexpected(identity.error());
  std::array<std::byte, kIndexHeadBytes> head{};
  if (identity->size < head.size()) return bad();
  if (auto read = read_exactly(fd->get(), 0, head, index.name_); !read) {
    return std::unexpected(read.error());
  }
  const auto bytes = std::span<const std::byte>(head);
  if (!std::ranges::equal(bytes.first(kIndexMagic.size()), std::as_bytes(std::span(kIndexMagic)))) {
    return bad();
  }
  if (little_endian_at<std::uint64_t>(bytes, kCheckedBytes) != xxh3_64(bytes.first(kCheckedBytes)))
    return bad();
  if (!std::ranges::equal(bytes.subspan(8, sizeof(Digest)), model.bytes)) return bad();
  const std::uint64_t count = little_endian_at<std::uint32_t>(bytes, 40);
  if (count > limits::kPiecesMax || identity->size != kIndexHeadBytes + count * kIndexRecordBytes) {
    return bad();
  }
  index.pieces_ = static_cast<std::uint32_t>(count);
  index.fd_ = std::move(*fd);
  return index;
}

DigestIndex DigestIndex::in_memory(const Manifest& manifest) {
  DigestIndex index;
  index.block_ = sorted_records(manifest);
  index.pieces_ = static_cast<std::uint32_t>(index.block_.size());
  return index;
}

Result<void> DigestIndex::read_block(std::uint32_t first) {
  const std::uint32_t count = std::min(kBlockRecords, pieces_ - first);
  std::vector<std::byte> bytes(std::size_t{count} * kIndexRecordBytes);
  block_.clear();
  const std::uint64_t at = kIndexHeadBytes + std::uint64_t{first} * kIndexRecordBytes;
  if (auto read = read_exactly(fd_.get(), at, bytes, name_); !read) return read;
  block_first_ = first;
  for (std::size_t i = 0; i < bytes.size(); i += kIndexRecordBytes) {
    block_.push_back(
        {big_endian_at<std::uint64_t>(bytes, i), little_endian_at<std::uint32_t>(bytes, i + 8)});
  }
  return {};
}

// The place of the first record that is not below `prefix`. Interpolates between what is known on
// both sides; after a few tries every other one halves, so that no distribution takes more than
// twice the steps of a binary search. Ends on unsorted records too: each step narrows the range.
Result<std::uint32_t> DigestIndex::lower_bound(std::uint64_t prefix, Floor low) {
  constexpr unsigned kInterpolated = 3;
  std::uint32_t high = pieces_;
  std::uint64_t high_value = std::numeric_limits<std::uint64_t>::max();
  for (unsigned probe = 0;; ++probe) {
    if (!block_.empty()) {
      const auto end = block_first_ + static_cast<std::uint32_t>(block_.size());
      if (block_.back().prefix < prefix) {
        if (end >= low.at) low = {end, block_.back().prefix};
      } else if (block_.front().prefix >= prefix) {
        if (block_first_ <= high) {
          high = block_first_;
          high_value = block_.front().prefix;
        }
      } else {
        const auto found = std::ranges::lower_bound(block_, prefix, {}, &Record::prefix);
        return block_first_ + static_cast<std::uint32_t>(found - block_.begin());
      }
    }
    if (low.at >= high) return low.at;
    const std::uint32_t width = high - low.at;
    double share = 0.5;
    if ((probe < kInterpolated || probe % 2 == 0) && high_value > low.value) {
      share = static_cast<double>(prefix - std::min(prefix, low.value)) /
              static_cast<double>(high_value - low.value);
    }
    const auto step = static_cast<std::uint64_t>(share * width);
    const auto guess = static_cast<std::uint32_t>(std::min<std::uint64_t>(step, width - 1));
    const std::uint32_t first = low.at + guess - std::min(guess, kBlockRecords / 2);
    if (auto read = read_block(first); !read) return std::unexpected(read.error());
  }
}

Result<std::vector<DigestMatch>> DigestIndex::find(std::span<const Digest> sorted) {
  std::vector<DigestMatch> matches;
  Floor low;
  for (std::size_t at = 0; at < sorted.size(); ++at) {
    const auto prefix = big_endian_at<std::uint64_t>(sorted[at].bytes, 0);
    const auto first = lower_bound(prefix, low);
    if (!first) return std::unexpected(first.error());
    low = {*first, prefix};
    for (std::uint32_t i = *first; i < pieces_ && i - *first < kEqualMax; ++i) {
      if (i < block_first_ || i - block_first_ >= block_.size()) {
        if (auto read = read_block(i); !read) return std::unexpected(read.error());
      }
      const Record& record = block_[i - block_first_];
      if (record.prefix != prefix) break;
      matches.push_back({at, PieceIndex(record.piece)});
    }
  }
  return matches;
}

}  // namespace shardswarm
