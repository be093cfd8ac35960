// Paths of a model that a target's file system takes for one name: README.md and readme.md where it
// does not tell upper from lower case (APFS, SMB, ext4 with casefold), two ways to write an accent
// where it normalises, "a" and "a." where it drops dots.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace shardswarm {

// kForeign with both names when two of the paths below `directory` would be one file there, or one
// would be a folder of the other. The file system is asked: the names are made in a folder below
// .shardswarm/ and removed again, which costs nothing where no two of them are alike.
// REQUIRES: `root` is open on the directory, which has its .shardswarm/.
Result<void> check_names(int root, const std::filesystem::path& directory,
                         const std::vector<std::string>& paths);

}  // namespace shardswarm
