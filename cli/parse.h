// Arguments of the process, set through the command tables. The only place that knows the parsing
// library: it takes five seconds to compile.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cli/help.h"

namespace shardswarm::cli {

// What to show instead of running a command: the help, the version, the tables. It goes to stdout,
// and the process ends with 0.
struct Shown {
  std::string text;
};

// Sets what the arguments (without the program's name) say through the setters of the tables, and
// returns the command to run; what to show instead; or what is wrong with them (kUsage), with the
// word that was probably meant. `version` is what --version shows.
Result<std::variant<const CommandSpec*, Shown>> parse(const std::vector<std::string>& arguments,
                                                      const CommandLine& line,
                                                      const std::string& version);

}  // namespace shardswarm::cli
