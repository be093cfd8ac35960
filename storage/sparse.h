// Where files have data, and where they have holes: ranges that were never written, take no space
// and read as zeros.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace shardswarm {

// As it was at one moment, with two system calls for each range of data. A value; const access from
// several threads is fine.
class DataRanges {
 public:
  DataRanges() = default;
  // Of the first `size` bytes. A file system without holes says that data is everywhere.
  DataRanges(int fd, std::uint64_t size);

  // REQUIRES of both: length >= 1.
  bool all_data(std::uint64_t offset, std::uint64_t length) const;
  bool all_hole(std::uint64_t offset, std::uint64_t length) const;

 private:
  using Range = std::pair<std::uint64_t, std::uint64_t>;  // begin, end
  // The last range that begins before `offset`; its end is 0 if there is none.
  Range before(std::uint64_t offset) const;

  std::vector<Range> ranges_;  // ascending, disjoint
};

}  // namespace shardswarm
