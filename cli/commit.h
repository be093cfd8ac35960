// The commit that the program was built from. The definitions are in commit.cc of the build
// directory, which cmake/commit.cmake writes, so that a new commit compiles that file alone.
#pragma once

namespace shardswarm::cli {

// Twelve hexadecimal digits, followed by "-modified" in a package of a tree with local changes; or
// "unknown", where there is neither a repository nor an archive made from one.
extern const char* const kCommit;

// The day of the commit, "2026-11-30"; empty where the commit is unknown.
extern const char* const kCommitDate;

}  // namespace shardswarm::cli
