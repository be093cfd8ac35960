# Run as a script by the build: writes OUTPUT, the source file that defines what cli/commit.h declares.
#   cmake -DSOURCE=… -DOUTPUT=… [-DCOMMIT="HEX DATE"] -P commit.cmake
# The commit is COMMIT if that is not empty, else that of the repository whose root SOURCE is, else
# what `git archive` wrote into commit.txt, else "unknown".
string(REGEX MATCH "^([0-9a-f]+(-modified)?) ?(.*)$" _ "${COMMIT}")
set(commit "${CMAKE_MATCH_1}")
set(date "${CMAKE_MATCH_3}")

# A repository further up is somebody else's: the tree was unpacked into it.
if(NOT commit AND EXISTS "${SOURCE}/.git")
  execute_process(COMMAND git -C "${SOURCE}" log -1 --abbrev=12 --format=%h\ %cs
                  OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(head MATCHES "^([0-9a-f]+) ([-0-9]+)$")
    set(commit "${CMAKE_MATCH_1}")
    set(date "${CMAKE_MATCH_2}")
  endif()
endif()
if(NOT commit)
  file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/commit.txt" archived)
  if(archived MATCHES "^([0-9a-f]+) ([-0-9]+)$")
    string(SUBSTRING "${CMAKE_MATCH_1}" 0 12 commit)
    set(date "${CMAKE_MATCH_2}")
  else()
    set(commit unknown)
    set(date "")
  endif()
endif()

# Left alone when nothing changes, as after a checkout of the same commit: nothing is linked again.
file(CONFIGURE OUTPUT "${OUTPUT}" @ONLY CONTENT [[
#include "cli/commit.h"

namespace shardswarm::cli {
const char* const kCommit = "@commit@";
const char* const kCommitDate = "@date@";
}  // namespace shardswarm::cli
]])
