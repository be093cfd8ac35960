// Fetches that were begun on this machine and have not ended well, each with the command that goes
// on with it: what `list` tells after an interruption, a power loss included.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "piece/error.h"

namespace shardswarm::cli {

struct UnfinishedFetch {
  std::string directory;  // absolute
  std::string command;    // what goes on with it, quoted for a shell
};

// Kept in the state directory as unfinished/<digest of the directory's path>.json: an object of
// "schema" (1), "directory" and "command". A record that cannot be written or read is no reason for
// a fetch to fail, so the calls report no errors: the fetch goes on by the same command without it.
class UnfinishedFetches {
 public:
  explicit UnfinishedFetches(const std::filesystem::path& state_directory);

  void add(const std::filesystem::path& directory, const std::vector<std::string>& arguments) const;
  void remove(const std::filesystem::path& directory) const;
  // By directory. Directories that are gone are left out.
  std::vector<UnfinishedFetch> all() const;

 private:
  std::filesystem::path file_of(const std::filesystem::path& directory) const;

  std::filesystem::path folder_;
};

// Arguments as one line that a shell takes: each is quoted if it needs to be.
std::string shell_line(const std::vector<std::string>& arguments);

}  // namespace shardswarm::cli
