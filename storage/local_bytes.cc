#include "storage/local_bytes.h"

#include <string>
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

}  // namespace

LocalBytes count_local_bytes(const StorageEnvironment& environment, const ReuseQuery& query,
                             bool reuse, const Manifest& manifest, const PieceSet& wanted) {
  PieceSet missing = wanted - held_here(environment, query, manifest);
  LocalBytes local{.in_directory = bytes_of_pieces(wanted - missing, manifest)};
  if (!reuse) return local;
  for (const ReuseSource& source : find_reusable(environment, query, manifest, missing)) {
    for (const auto& [piece, there] : source.pieces) {
      local.elsewhere += manifest.extent(piece).length;
    }
  }
  return local;
}

}  // namespace shardswarm
