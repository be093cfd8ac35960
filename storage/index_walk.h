// Which files of a directory belong to its model, and of which kind they are.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "piece/manifest.h"

namespace shardswarm {

struct WalkedFile {
  std::string path;                // as in the manifest
  std::filesystem::path location;  // links not yet followed
  FileKind kind = FileKind::kPlain;
};

// Regular files below `directory` by path bytes, links followed, names that begin with '.' left
// out. Where a `*.safetensors.index.json` stands, the safetensors files in its folder that it does
// not name are kSpareTensors. kMalformed when such an index names a file that is not there.
Result<std::vector<WalkedFile>> walk_model(const std::filesystem::path& directory);

}  // namespace shardswarm
