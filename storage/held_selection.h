// What a fetched directory holds, as something that can be fetched.
#pragma once

#include <filesystem>

#include "piece/manifest.h"
#include "piece/selection.h"

namespace shardswarm {

struct HeldSelection {
  ModelId model;
  Selection selection;
};

// A selection of `directory` that brings nothing which the directory does not hold already, with
// every plain file that was fetched into it. A fetch of it brings what is damaged or lost: of
// tensors that other steps brought, too (Store::wanted). kNotFound when nothing was fetched into
// the directory; kUsage when its first fetch was never completed, or when it holds nothing but
// slices of tensors: then the fetch that brought them must be run again.
Result<HeldSelection> held_selection(const std::filesystem::path& directory);

}  // namespace shardswarm
