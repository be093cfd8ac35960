// The cache of the Hugging Face hub given where a checkpoint directory is expected.
//
//   hub/                               what HF_HUB_CACHE names
//     models--org--name/
//       blobs/<hash>                   the bytes of all revisions
//       refs/main                      the commit that the branch stood at
//       snapshots/<commit>/<file>      one revision: links into blobs/
//
// Indexing such a folder as it stands would take every byte twice, and every revision.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"

namespace shardswarm {

struct ModelPlace {
  std::filesystem::path directory;  // the snapshot; the directory itself where it is not of a cache
  std::string note;                 // which snapshot was taken; empty: nothing to say
};

// The checkpoint that `directory` means. Of one repository of a cache (or its `snapshots/`) that is
// the snapshot which refs/main names, else the only one. kUsage, listing what there is, when there
// are several and refs/main names none of them, and for a whole cache; kNotFound when a repository
// has no snapshot. Any other directory is taken as it is; that it exists is not looked at.
Result<ModelPlace> find_model_place(const std::filesystem::path& directory);

}  // namespace shardswarm
