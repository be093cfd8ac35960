// The help, made of the command tables, at most 80 columns wide.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace shardswarm::cli {

// All that the program takes.
struct CommandLine {
  std::vector<CommandGroup> groups;
  std::vector<OptionSpec> globals;  // of every command
  std::vector<Example> examples;    // of the overview

  const CommandSpec* find(std::string_view name) const;  // null if there is none
  std::vector<std::string> names() const;                // of all commands: "fetch", "key new"
};

// What the program is, its commands, examples.
std::string overview_text(const CommandLine& line);

// Usage, arguments, options by group, examples. Rare options only with `all`.
std::string command_text(const CommandLine& line, const CommandSpec& command, bool all);

// The tables as one JSON object, for what makes man pages and completions of them:
// {"globals":[OPTION…],"commands":[{"name","summary","text","positionals","options","examples"}…]},
// an OPTION being {"names":["-q","--quiet"],"value","text","group","rare","repeatable","choices"}.
std::string tables_json(const CommandLine& line);

}  // namespace shardswarm::cli
