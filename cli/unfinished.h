// Fetches that were begun on this machine and have not ended well, each with the command that goes
// on with it: what `list` tells after an interruption.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace shardswarm::cli {

struct UnfinishedFetch {
  std::string directory;  // absolute
  std::string command;    // what goes on with it, for a shell in any folder
};

// A record of a fetch into one directory, from begin() until end(). It stands in the state
// directory as unfinished/<digest of the directory's path>.json, an object of "version" (1),
// "directory" and "command", and it is locked while the process lives, so that a fetch that runs is
// not taken for an interrupted one. A record that cannot be written is no reason for a fetch to
// fail: nothing is reported then.
class UnfinishedRecord {
 public:
  UnfinishedRecord(const std::filesystem::path& state_directory,
                   const std::filesystem::path& directory);
  ~UnfinishedRecord();
  UnfinishedRecord(const UnfinishedRecord&) = delete;
  UnfinishedRecord& operator=(const UnfinishedRecord&) = delete;

  // Writes the record; only the first call does. `arguments` are the process's. What --key names is
  // left out unless it is a file: it may be a key.
  void begin(const std::vector<std::string>& arguments);
  void end();  // the fetch is complete, or never began

 private:
  std::string directory_;
  std::filesystem::path file_;
  int lock_ = -1;
};

// By directory. Fetches that run, and directories that are gone, are left out.
std::vector<UnfinishedFetch> unfinished_fetches(const std::filesystem::path& state_directory);

// Arguments as one line that a shell takes: each is quoted if it needs to be. Control characters
// and bytes that are not ASCII stand as $'\xe6', as bash, zsh and ksh read them.
std::string shell_line(const std::vector<std::string>& arguments);

}  // namespace shardswarm::cli
