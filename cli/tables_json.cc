#include "cli/help.h"
#include "cli/json.h"

namespace shardswarm::cli {
namespace {

Json names_json(const OptionSpec& option) {
  const std::size_t comma = option.names.find(',');
  if (comma == std::string::npos) return Json::array({option.names});
  return Json::array({option.names.substr(0, comma), option.names.substr(comma + 1)});
}

Json options_json(const std::vector<OptionSpec>& options) {
  Json list = Json::array();
  for (const OptionSpec& option : options) {
    list.push_back({{"names", names_json(option)},
                    {"value", option.value},
                    {"text", option.text},
                    {"group", option.group},
                    {"rare", option.rare},
                    {"repeatable", option.repeatable || option.list},
                    {"choices", option.choices}});
  }
  return list;
}

Json command_json(const CommandSpec& command) {
  Json positionals = Json::array();
  for (const PositionalSpec& positional : command.positionals) {
    positionals.push_back({{"name", positional.name},
                           {"text", positional.text},
                           {"required", positional.required},
                           {"path", positional.path}});
  }
  Json examples = Json::array();
  for (const Example& example : command.examples) {
    examples.push_back({{"command", example.command}, {"text", example.text}});
  }
  return {{"name", command.name},
          {"summary", command.summary},
          {"text", command.text},
          {"positionals", std::move(positionals)},
          {"options", options_json(command.options)},
          {"examples", std::move(examples)}};
}

}  // namespace

std::string tables_json(const CommandLine& line) {
  Json commands = Json::array();
  for (const CommandGroup& group : line.groups) {
    for (const CommandSpec& command : group.commands) commands.push_back(command_json(command));
  }
  return Json{{"globals", options_json(line.globals)}, {"commands", std::move(commands)}}.dump();
}

}  // namespace shardswarm::cli
