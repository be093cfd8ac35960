#include "cli/parse.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>

#include "base/text.h"
#include "cli/suggest.h"
#include "identity/cluster_key.h"

namespace shardswarm::cli {
namespace {

using Parsed = Result<std::variant<const CommandSpec*, Shown>>;

std::unexpected<Error> usage(std::string message, const CommandSpec* command) {
  const std::string help =
      command == nullptr ? "shardswarm --help" : "shardswarm " + command->name + " --help";
  return fail(Errc::kUsage, std::move(message) + " (see `" + help + "`)");
}

// Words of the command line as a message shows them: quoted, never too long, and no key. Whoever
// forgets the word before a key would else find it in a terminal's scrollback or in a log.
std::string shown(std::string_view word) {
  constexpr std::size_t kMost = 60;
  if (holds_key(word)) return "(a key, not shown)";
  if (word.size() <= kMost) return "'" + std::string(word) + "'";
  return "'" + std::string(word.substr(0, kMost)) + "...'";
}

// Calls `set` for the value, or for each of its parts where it is a list.
Result<void> set_value(const OptionSpec& option, const std::string& value) {
  std::string_view rest = value;
  while (true) {
    const std::size_t comma = option.list ? rest.find(',') : std::string_view::npos;
    const std::string_view part = rest.substr(0, comma);
    if (!option.choices.empty() &&
        std::ranges::find(option.choices, part) == option.choices.end()) {
      std::string known;
      for (const std::string& choice : option.choices) {
        known += (known.empty() ? "" : ", ") + choice;
      }
      return fail(Errc::kUsage,
                  shown(part) + " is not one of " + known + did_you_mean(part, option.choices));
    }
    if (auto set = option.set(part); !set) return set;
    if (comma == std::string_view::npos) return {};
    rest.remove_prefix(comma + 1);
  }
}

void set_or_throw(const OptionSpec& option, const std::string& value) {
  if (const auto set = set_value(option, value); !set) {
    throw CLI::ValidationError(std::string(option.name()), set.error().message);
  }
}

void add_option(CLI::App& app, const OptionSpec& option) {
  if (option.is_flag()) {
    app.add_flag_function(option.names, [&option](std::int64_t times) {
      for (; times > 0; --times) set_or_throw(option, {});
    });
    return;
  }
  app.add_option_function<std::vector<std::string>>(
         option.names,
         [&option](const std::vector<std::string>& values) {
           if (values.size() > 1 && !option.repeatable && !option.list) {
             throw CLI::ValidationError(std::string(option.name()), "is given twice");
           }
           for (const std::string& value : values) set_or_throw(option, value);
         })
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
}

void add_command(CLI::App& app, const CommandSpec& command) {
  for (const PositionalSpec& positional : command.positionals) {
    auto* added = app.add_option_function<std::string>(
        positional.name, [&positional](const std::string& value) {
          if (const auto set = positional.set(value); !set) {
            throw CLI::ValidationError(positional.name, set.error().message);
          }
        });
    if (positional.required) added->required();
  }
  for (const OptionSpec& option : command.options) add_option(app, option);
}

// Options of a command, those of every command among them.
std::vector<const OptionSpec*> options_of(const CommandLine& line, const CommandSpec* command) {
  std::vector<const OptionSpec*> options;
  options.reserve(line.globals.size() + (command == nullptr ? 0 : command->options.size()));
  for (const OptionSpec& option : line.globals) options.push_back(&option);
  if (command == nullptr) return options;
  for (const OptionSpec& option : command->options) options.push_back(&option);
  return options;
}

const OptionSpec* find_option(const CommandLine& line, const CommandSpec* command,
                              std::string_view name) {
  for (const OptionSpec* option : options_of(line, command)) {
    if (option->name() == name || option->names.starts_with(std::string(name) + ",")) {
      return option;
    }
  }
  return nullptr;
}

std::vector<std::string> option_names(const CommandLine& line, const CommandSpec* command) {
  std::vector<std::string> names = {"--help", "--help-all", "--version"};
  for (const OptionSpec* option : options_of(line, command)) names.emplace_back(option->name());
  return names;
}

// "--name=value" as two arguments, so that an empty value, and one that begins with '-', are values
// too. A flag takes none.
Result<std::vector<std::string>> split_values(const std::vector<std::string>& arguments,
                                              const CommandLine& line, const CommandSpec& command) {
  std::vector<std::string> split;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      split.insert(split.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i),
                   arguments.end());
      break;
    }
    const std::size_t equals = argument.find('=');
    const OptionSpec* option = argument.starts_with("--")
                                   ? find_option(line, &command, argument.substr(0, equals))
                                   : nullptr;
    if (option == nullptr || equals == std::string::npos) {
      split.push_back(argument);
      // Its value is no option, whatever it looks like.
      if (option != nullptr && !option->is_flag() && i + 1 < arguments.size()) {
        split.push_back(arguments[++i]);
      }
      continue;
    }
    if (option->is_flag()) return usage(argument.substr(0, equals) + " takes no value", &command);
    split.push_back(argument.substr(0, equals));
    split.push_back(argument.substr(equals + 1));
  }
  return split;
}

// Whether a flag is among the arguments, and not the value of an option or behind "--".
bool has_flag(const std::vector<std::string>& arguments, const CommandLine& line,
              const CommandSpec* command, std::string_view flag) {
  for (std::size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    if (arguments[i] == flag) return true;
    const OptionSpec* option = find_option(line, command, arguments[i]);
    if (option != nullptr && !option->is_flag()) ++i;
  }
  return false;
}

// The command that the first words name, and how many words these are.
struct Named {
  const CommandSpec* command = nullptr;
  std::string words;  // as far as they were looked at
  std::size_t used = 0;
};
Named find_command(const std::vector<std::string>& words, const CommandLine& line) {
  Named named;
  for (const std::string& word : words) {
    named.words += (named.words.empty() ? "" : " ") + word;
    ++named.used;
    named.command = line.find(named.words);
    if (named.command != nullptr) return named;
    const auto names = line.names();
    const bool begins = std::ranges::any_of(
        names, [&](const std::string& name) { return name.starts_with(named.words + " "); });
    if (!begins) return named;
  }
  return named;
}

std::unexpected<Error> unknown_command(const Named& named, const CommandLine& line,
                                       const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments.front().starts_with('-')) {
    const std::string option = arguments.front().substr(0, arguments.front().find('='));
    if (find_option(line, nullptr, option) == nullptr) {
      const std::string meant = did_you_mean(option, option_names(line, nullptr));
      return usage("there is no option " + shown(option) + " without a command" +
                       (meant.empty() ? ": options stand behind the command" : meant),
                   nullptr);
    }
  }
  const std::vector<std::string> names = line.names();
  std::string of_it;
  for (const std::string& name : names) {
    if (name.starts_with(named.words + " ")) of_it += (of_it.empty() ? "" : ", ") + name;
  }
  if (named.words.empty()) return usage("say what to do: name a command", nullptr);
  if (!of_it.empty()) return usage("say which: " + of_it, nullptr);
  return usage("there is no command " + shown(named.words) + did_you_mean(named.words, names),
               nullptr);
}

// Options that may not stand beside each other.
Result<void> check_conflicts(const CLI::App& app, const CommandSpec& command) {
  for (const OptionSpec& option : command.options) {
    if (app.count(std::string(option.name())) == 0) continue;
    for (const std::string& other : option.conflicts) {
      if (app.count(other) == 0) continue;
      return usage(std::string(option.name()) + " and " + other + " do not go together", &command);
    }
  }
  return {};
}

// What is wrong, in our words: the library's do not say what was meant.
std::unexpected<Error> explain(const CLI::ParseError& error, const CLI::App& app,
                               const CommandLine& line, const CommandSpec& command,
                               const std::string& last) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::vector<std::string> extras = app.remaining();
    const std::string word = extras.empty() ? std::string() : extras.front();
    if (!word.starts_with('-')) {
      return usage(command.name + " does not take " + shown(word) + ": one argument too many",
                   &command);
    }
    const std::string option = word.substr(0, word.find('='));
    return usage(command.name + " does not know the option " + shown(option) +
                     did_you_mean(option, option_names(line, &command)),
                 &command);
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const OptionSpec* option = find_option(line, &command, last);
    if (option != nullptr) return usage(last + " needs a value: " + option->value, &command);
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    for (const PositionalSpec& positional : command.positionals) {
      if (!positional.required || app.count(positional.name) > 0) continue;
      std::string text = positional.text;  // of the help, where it begins a sentence
      if (text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
      return usage(command.name + " needs " + positional.name + ": " + text, &command);
    }
  }
  return usage(error.what(), &command);
}

}  // namespace

Parsed parse(const std::vector<std::string>& arguments, const CommandLine& line,
             const std::string& version) {
  std::vector<std::string> words;
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (!argument.starts_with('-')) words.push_back(argument);
  }
  const bool help_command = !words.empty() && words.front() == "help";
  if (help_command) words.erase(words.begin());
  const Named named = find_command(words, line);
  const auto asks = [&](std::string_view flag) {
    return has_flag(arguments, line, named.command, flag);
  };
  if (asks("--version")) return Shown{version + "\n"};
  const bool help = help_command || asks("-h") || asks("--help") || asks("--help-all");
  if (named.command == nullptr) {
    if (asks("--tables")) return Shown{tables_json(line) + "\n"};
    if (help && words.empty()) return Shown{overview_text(line)};
    return unknown_command(named, line, arguments);
  }
  const CommandSpec& command = *named.command;
  if (help) return Shown{command_text(line, command, asks("--help-all"))};

  std::vector<std::string> rest = arguments;
  for (std::size_t i = 0; i < named.used; ++i) rest.erase(std::ranges::find(rest, words[i]));
  auto split = split_values(rest, line, command);
  if (!split) return std::unexpected(split.error());
  CLI::App app("", "shardswarm " + command.name);
  app.set_help_flag();
  for (const OptionSpec& option : line.globals) add_option(app, option);
  add_command(app, command);
  const std::string last = split->empty() ? std::string() : split->back();
  std::ranges::reverse(*split);  // as the library wants them
  try {
    app.parse(std::move(*split));
  } catch (const CLI::ParseError& error) {
    return explain(error, app, line, command, last);
  }
  if (auto good = check_conflicts(app, command); !good) return std::unexpected(good.error());
  return &command;
}

}  // namespace shardswarm::cli
