// What every command works with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/signals.h"
#include "cli/terminal.h"
#include "node/shardswarm.h"

namespace shardswarm::cli {

// Options of every command.
struct Common {
  bool quiet = false;
  int verbose = 0;
};

struct Context {
  Terminal& terminal;
  Signals& signals;
  std::vector<std::string> arguments;  // of the process, without its name
  Common common;
};

// Says what went wrong on stderr and returns the exit code for it.
int report_error(Context& context, const Error& error);

// The same for a command that a signal may have ended: then the signal's code counts.
int report_end(Context& context, const Error& error);

}  // namespace shardswarm::cli
