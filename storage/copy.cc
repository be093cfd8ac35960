#include "storage/copy.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

#include "base/file.h"
#include "base/limits.h"

namespace shardswarm {
namespace {

#ifdef __linux__
// The kernel refuses what does not begin and end at a block of the file system; 4096 is the
// smallest that any of those which can share has.
bool share_blocks(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                  std::uint64_t bytes) {
  constexpr std::uint64_t kBlock = 4096;
  if ((from_offset | to_offset | bytes) % kBlock != 0) return false;
  const file_clone_range range{
      .src_fd = from, .src_offset = from_offset, .src_length = bytes, .dest_offset = to_offset};
  return ::ioctl(to, FICLONERANGE, &range) == 0;
}

// How much the kernel copied; it may be less than all, or nothing.
std::uint64_t copy_in_kernel(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                             std::uint64_t bytes) {
  auto in = static_cast<off64_t>(from_offset);
  auto out = static_cast<off64_t>(to_offset);
  std::uint64_t done = 0;
  while (done < bytes) {
    const ssize_t n = ::copy_file_range(from, &in, to, &out, bytes - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::uint64_t>(n);
  }
  return done;
}
#endif

}  // namespace

Result<void> copy_bytes(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                        std::uint64_t bytes, const std::string& name) {
#ifdef __linux__
  if (share_blocks(from, from_offset, to, to_offset, bytes)) return {};
  const std::uint64_t copied = copy_in_kernel(from, from_offset, to, to_offset, bytes);
  from_offset += copied;
  to_offset += copied;
  bytes -= copied;
#endif
  std::vector<std::byte> buffer(std::min(bytes, limits::kMiB));
  while (bytes > 0) {
    const auto block = std::span(buffer).first(std::min<std::uint64_t>(bytes, buffer.size()));
    if (auto read = read_exactly(from, from_offset, block, name); !read) return read;
    if (auto written = write_exactly(to, to_offset, block, name); !written) return written;
    from_offset += block.size();
    to_offset += block.size();
    bytes -= block.size();
  }
  return {};
}

}  // namespace shardswarm
