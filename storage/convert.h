// Changing the layout of a fetched directory, without the network. Blocks. What stands here may be
// called on any thread; other processes are kept out by the locks of the directory.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "base/file.h"
#include "storage/blocking.h"
#include "storage/holding.h"

namespace shardswarm {

// Makes the directory anew in the other layout below `.shardswarm/convert/` (sharing blocks where
// the file system can, else a copy: so much space is needed), every piece hashed, then puts it in
// place of the old one. Interrupted before that it goes on where it was when it is run again;
// interrupted after, whoever opens the directory next completes it. Blocks.
// kNotFound when nothing was fetched into the directory, kUsage when it has the layout already or
// lacks pieces that the other one needs, kForeign when something that we did not put there has a
// name that the other one needs, kBusy when it is being fetched into, served or converted.
Result<void> convert_directory(BlockingStorage& storage, const std::filesystem::path& directory,
                               Layout layout, const std::atomic<bool>* cancel = nullptr);

// Its two halves: between them nothing is locked.
struct StagedConversion {
  std::shared_ptr<const Manifest> manifest;
  Layout layout = Layout::kOriginal;
  Holding holding;            // of the directory when it was staged
  FileIdentity ledger;        // the same
  std::set<std::string> old;  // paths of the files that the directory has from us
};
Result<StagedConversion> stage_conversion(BlockingStorage& storage,
                                          const std::filesystem::path& directory, Layout layout,
                                          const std::atomic<bool>* cancel);
// kBusy when the directory is in use, or it or what was staged is not as it was.
Result<void> place_conversion(const std::filesystem::path& directory,
                              const StagedConversion& staged);

// Completes a conversion whose result was ready when it was interrupted. kMalformed, and nothing is
// touched, when the marker is damaged or not of this directory's model; kForeign when it or what
// was staged is a link.
// REQUIRES: the directory is locked exclusively.
Result<void> complete_conversion(const std::filesystem::path& directory);
bool conversion_is_due(const std::filesystem::path& directory);

}  // namespace shardswarm
