// Files with holes.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "tests/storage/checkpoint.h"

namespace shardswarm::test {

// The content of `bytes`, with a hole for every unit that is all zeros.
inline void write_sparse(const std::filesystem::path& path, const Bytes& bytes,
                         std::size_t unit = 4096) {
  std::filesystem::create_directories(path.parent_path());
  const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes.size())) != 0) {
    throw std::runtime_error("cannot make " + path.string());
  }
  for (std::size_t at = 0; at < bytes.size(); at += unit) {
    const auto part = std::span(bytes).subspan(at, std::min(unit, bytes.size() - at));
    if (std::ranges::all_of(part, [](std::byte b) { return b == std::byte{0}; })) continue;
    must(write_exactly(fd.get(), at, part, path.string()));
  }
}

// Whether the file system below `directory` has holes at all.
inline bool has_holes(const std::filesystem::path& directory) {
  const auto path = directory / "probe";
  write_sparse(path, Bytes(1 << 20));
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const bool hole = ::lseek(fd.get(), 0, SEEK_HOLE) == 0;
  std::filesystem::remove(path);
  return hole;
}

}  // namespace shardswarm::test
