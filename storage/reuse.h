// Pieces of a model that this machine holds already, in directories of the catalogue: other
// revisions, fine-tunes, an earlier or narrower fetch of the same model.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "storage/store.h"

namespace shardswarm {

// A directory with equal pieces. `pieces[i].first` of the wanted model is `pieces[i].second` of
// store->manifest(); digests were compared, bytes were not.
struct ReuseSource {
  std::shared_ptr<Store> store;                           // open for reading, locked shared
  std::vector<std::pair<PieceIndex, PieceIndex>> pieces;  // in the order they lie there
};

struct ReuseQuery {
  std::filesystem::path state_directory;
  std::filesystem::path not_here;  // the directory being fetched into
  // For a moment's copying, hashed again: directories are locked, and files that changed looked
  // into again. Else for serving, as long as it may take: neither.
  bool for_copying = true;
  const std::atomic<bool>* cancel = nullptr;
};

// Where each of the pieces `missing` of `manifest` (of those whose lists it knows) can be had on
// this machine; each is named once. Leaves out directories in use by a writer and what cannot be
// read; pieces of changed files are not named (see Store::open_source), and a directory that is
// gone is dropped from the catalogue. Blocks; not to be called on one of the environment's workers.
// Opening nothing but directories with a match, it costs a few reads per wanted piece and model;
// where a digest index is missing or knows too little it is made first. Sources that give most come
// first. Nothing once `cancel` is set.
std::vector<ReuseSource> find_reusable(const StorageEnvironment& environment,
                                       const ReuseQuery& query, const Manifest& manifest,
                                       const PieceSet& missing);

}  // namespace shardswarm
