#include "storage/local_bytes.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "storage/meta_dir.h"

namespace shardswarm {
namespace {

std::uint64_t bytes_of_pieces(const PieceSet& pieces, const Manifest& manifest) {
  std::uint64_t bytes = 0;
  pieces.for_each([&](PieceIndex piece) { bytes += manifest.extent(piece).length; });
  return bytes;
}

PieceSet held_here(const StorageEnvironment& environment, const ReuseQuery& query,
                   const Manifest& manifest) {
  PieceSet none(manifest.piece_count());
  std::error_code ec;
  if (!std::filesystem::exists(query.not_here / kMetaDirName / "root", ec)) return none;
  std::vector<std::string> warnings;  // the fetch itself will say
  const auto store = Store::open_source(environment,
                                        {.directory = query.not_here,
                                         .state_directory = query.state_directory,
                                         .recheck = false,
                                         .lock = false,
                                         .cancel = query.cancel},
                                        warnings);
  if (!store || (*store)->manifest().id() != manifest.id()) return none;
  return (*store)->have();
}

// Of the files that an interrupted fetch left: it allocated them before anything came.
std::uint64_t allocated_bytes(const std::filesystem::path& directory) {
  constexpr std::uint64_t kUnitBytes = 512;  // of st_blocks
  std::uint64_t bytes = 0;
  std::error_code ec;
  std::filesystem::directory_iterator at(directory / kMetaDirName / "incoming", ec);
  for (; !ec && at != std::filesystem::directory_iterator(); at.increment(ec)) {
    struct stat status{};
    if (::lstat(at->path().c_str(), &status) != 0) continue;
    bytes += static_cast<std::uint64_t>(status.st_blocks) * kUnitBytes;
  }
  return bytes;
}

// Of the file system that the directory is on, or would be made on.
std::optional<std::uint64_t> free_bytes(const std::filesystem::path& directory) {
  std::error_code ec;
  std::filesystem::path place = std::filesystem::absolute(directory, ec);
  while (!ec && !std::filesystem::exists(place, ec) && place.has_relative_path()) {
    place = place.parent_path();
    ec.clear();
  }
  struct statvfs space{};
  if (::statvfs(place.c_str(), &space) != 0) return std::nullopt;
  return std::uint64_t{space.f_bavail} * space.f_frsize;
}

}  // namespace

LocalBytes count_local_bytes(const StorageEnvironment& environment, const ReuseQuery& query,
                             bool reuse, const Manifest& manifest, const PieceSet& wanted) {
  PieceSet here = held_here(environment, query, manifest);
  PieceSet missing = wanted - here;
  LocalBytes local{.pieces = std::move(here),
                   .in_directory = bytes_of_pieces(wanted - missing, manifest),
                   .free = free_bytes(query.not_here)};
  const std::uint64_t to_come = bytes_of_pieces(missing, manifest);
  local.needed = to_come - std::min(to_come, allocated_bytes(query.not_here)) + kSpaceReserve;
  if (!reuse) return local;
  for (const ReuseSource& source : find_reusable(environment, query, manifest, missing)) {
    for (const auto& [piece, there] : source.pieces) {
      local.elsewhere += manifest.extent(piece).length;
    }
  }
  return local;
}

}  // namespace shardswarm
