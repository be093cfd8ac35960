// Which files of a directory belong to its model. What they are is decided in file_kinds.h.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace shardswarm {

struct WalkedFile {
  std::string path;                // as in the manifest
  std::filesystem::path location;  // links not yet followed
};

// Something of the directory that cannot be read, and so is not part of the model.
struct UnreadFile {
  std::string path;   // as it would be in the manifest
  std::string cause;  // "is a link to nothing"
};

struct Walk {
  std::vector<WalkedFile> files;  // by path bytes
  std::vector<UnreadFile> unread;
};

// Regular files below `directory`, links followed, names that begin with '.' passed over. Links to
// nothing, links that lead back to a folder above them, sockets, pipes, devices, folders that may
// not be listed and what lies too deep are left out. kNotFound when there is no directory or no
// file in it, or when it is a file; kLimit for more files than a model has.
Result<Walk> walk_model(const std::filesystem::path& directory);

}  // namespace shardswarm
