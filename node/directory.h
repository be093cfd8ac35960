// The public API for directories on this machine, without the network: index, verify, look inside,
// tell what is here.
//
// Threads: each function blocks, uses all cores through workers of its own where it hashes, and may
// be called from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "piece/outline.h"
#include "piece/selection.h"
#include "piece/selection_text.h"
#include "storage/held_parts.h"
#include "storage/held_selection.h"
#include "storage/indexer.h"
#include "storage/store.h"

namespace shardswarm {

// Hashes a directory and keeps its manifest in the state directory; nothing is hashed again if
// nothing changed. Registers it in the catalogue; that it could not is one of the warnings. Errors
// name the file (see storage/indexer.h).
Result<IndexReport> index_directory(const IndexOptions& options);

// Re-checks every present piece; what is wrong stands in the report (see storage/store.h).
Result<VerifyReport> verify_directory(const std::filesystem::path& directory,
                                      const std::filesystem::path& state_directory, bool full);

// Takes tensors away from a fetched directory and frees their space. kNotFound when nothing was
// fetched into it, kUsage when the selection does not fit or the layout has whole files.
Result<void> drop_from_directory(const std::filesystem::path& directory,
                                 const Selection& selection);

// Changes the layout of a fetched directory (see storage/convert.h).
Result<void> convert_directory(const std::filesystem::path& directory, Layout layout,
                               const std::atomic<bool>* cancel = nullptr);

// The manifest that `place` stands for: an indexed or fetched directory, a file `root` of a kept
// manifest (its blobs beside it), or an id that the state directory knows. kNotFound says how to
// come by one.
Result<std::shared_ptr<const Manifest>> find_manifest(const std::filesystem::path& place,
                                                      const std::filesystem::path& state_directory);

// A directory of the catalogue: indexed, seeded or fetched on this machine.
struct HeldDirectory {
  std::filesystem::path directory;  // canonical
  ModelId model;
  Layout layout = Layout::kOriginal;
  std::uint64_t present_bytes = 0;  // of pieces that are recorded; headers do not count
  std::uint64_t total_bytes = 0;
  bool complete = false;  // every piece is recorded
  bool changed = false;   // a file is gone or not as it was recorded, or the record is damaged
  // What the fetches that were completed brought. Nothing for a directory that is complete, and
  // where it is not known: no fetch into the directory was completed yet.
  std::optional<HeldParts> parts;
};
// By directory. Quick: no file of a model is read, so what changed in content alone is not seen.
Result<std::vector<HeldDirectory>> list_directories(const std::filesystem::path& state_directory);
// One directory, also one that is not in the catalogue. kNotFound when nothing is known of it.
Result<HeldDirectory> look_at_directory(const std::filesystem::path& directory,
                                        const std::filesystem::path& state_directory);

// Takes a directory out of the catalogue, with what only the state directory keeps of it. The
// directory itself is not touched, and may be gone. kNotFound.
Result<void> forget_directory(const std::filesystem::path& directory,
                              const std::filesystem::path& state_directory);

}  // namespace shardswarm
