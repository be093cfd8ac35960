// What this machine holds: the directories that were indexed, seeded or fetched, one small file
// each in the state directory's catalogue/. Several processes may use it at once.
//
// Threads: functions may be called from any thread; they block.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "piece/digest.h"

namespace shardswarm {

struct CatalogueEntry {
  std::filesystem::path directory;  // canonical
  ModelId model;
  friend bool operator==(const CatalogueEntry&, const CatalogueEntry&) = default;
};

class Catalogue {
 public:
  explicit Catalogue(std::filesystem::path state_directory);

  // Adds a directory, or says that it holds another model now.
  Result<void> add(const std::filesystem::path& directory, const ModelId& model);
  // By directory. Entries whose directory is gone, or holds no longer what it was registered with
  // (its ledger is gone or of another model), are dropped on the way; damaged ones too. What
  // cannot be looked into just now stays.
  Result<std::vector<CatalogueEntry>> entries();
  // Removes the entry, for a directory that was only indexed also its ledger, and the kept manifest
  // of a model that no other entry or ledger holds. Never touches the directory, which may be gone.
  // kNotFound.
  Result<void> forget(const std::filesystem::path& directory);

 private:
  std::filesystem::path state_;
};

}  // namespace shardswarm
