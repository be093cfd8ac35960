#include "storage/sparse.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace shardswarm {

DataRanges::DataRanges(int fd, std::uint64_t size) {
  std::uint64_t at = 0;
  while (at < size) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) {
      if (errno != ENXIO) ranges_.emplace_back(at, size);
      break;
    }
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    const std::uint64_t end = hole < 0 ? size : static_cast<std::uint64_t>(hole);
    ranges_.emplace_back(static_cast<std::uint64_t>(data), end);
    at = end;
  }
}

DataRanges::Range DataRanges::before(std::uint64_t offset) const {
  const auto next =
      std::ranges::lower_bound(ranges_, offset, {}, [](const Range& range) { return range.first; });
  return next == ranges_.begin() ? Range{0, 0} : *std::prev(next);
}

bool DataRanges::all_data(std::uint64_t offset, std::uint64_t length) const {
  return before(offset + 1).second >= offset + length;
}

bool DataRanges::all_hole(std::uint64_t offset, std::uint64_t length) const {
  return before(offset + length).second <= offset;
}

}  // namespace shardswarm
