// Exit codes, as the table in docs/commands.md promises them.
#pragma once

#include "node/shardswarm.h"

namespace shardswarm::cli {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNoPeer = 3;
inline constexpr int kExitWrong = 4;
inline constexpr int kExitNoSpace = 5;
inline constexpr int kExitBusy = 6;
inline constexpr int kExitRefused = 7;

constexpr int exit_code(Errc code) {
  switch (code) {
    case Errc::kUsage:
      return kExitUsage;
    case Errc::kUnreachable:
    case Errc::kStalled:
    case Errc::kVersion:
      return kExitNoPeer;
    case Errc::kCorrupt:
      return kExitWrong;
    case Errc::kNoSpace:
      return kExitNoSpace;
    case Errc::kBusy:
    case Errc::kForeign:
      return kExitBusy;
    case Errc::kRefused:
      return kExitRefused;
    default:
      return kExitFailed;
  }
}

}  // namespace shardswarm::cli
