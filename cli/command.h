// A command of the program as a table: its arguments, their help, and what runs it. Parsing
// (cli/parse.cc), the help (cli/help.cc), the man pages and the shells' completions all read these
// tables, so that an option is written down once.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace shardswarm::cli {

struct Context;

// Takes the value of an option or a positional argument. For a flag the value is empty. An error is
// kUsage; its message is shown behind the option's name.
using Setter = std::function<Result<void>(std::string_view value)>;

struct OptionSpec {
  std::string names;  // "-q,--quiet": short and long, the name in messages last
  std::string value;  // what stands for the value in the help: "RATE"; empty: a flag
  std::string text;   // one sentence for the help, without a final dot
  std::string group;  // the heading it stands under in the help
  Setter set;
  bool rare = false;                   // only --help-all shows it
  bool repeatable = false;             // may be given several times; `set` is called for each
  bool list = false;                   // "a,b" counts as two values
  std::vector<std::string> choices;    // the valid values; empty: `set` decides
  std::vector<std::string> conflicts;  // long names of options that may not be given beside it

  bool is_flag() const { return value.empty(); }
  std::string_view name() const;  // the last of `names`
};

struct PositionalSpec {
  std::string name;  // "TICKET"
  std::string text;
  bool required = true;
  Setter set;
  bool path = false;  // a directory or file: shells complete it
};

struct Example {
  std::string command;
  std::string text;  // what it does
};

struct CommandSpec {
  std::string name;     // "fetch", or "key new"
  std::string summary;  // one line for the list of commands
  std::string text;     // further paragraphs for its own help; may be empty
  std::vector<PositionalSpec> positionals;
  std::vector<OptionSpec> options;
  std::vector<Example> examples;
  // Runs when all arguments are set; the exit code of the process.
  std::function<int(Context&)> run;
};

// The commands under a heading of the overview.
struct CommandGroup {
  std::string heading;
  std::vector<CommandSpec> commands;
};

// --- setters ---

Setter into(std::string& target);
Setter into(std::optional<std::string>& target);
Setter into(bool& target);                    // for a flag: makes it true
Setter into(std::vector<std::string>& list);  // appends
Setter count(int& target);                    // for a flag: adds one

}  // namespace shardswarm::cli
