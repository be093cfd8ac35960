#include "cli/parse.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>

#include "cli/suggest.h"

namespace shardswarm::cli {
namespace {

using Parsed = Result<std::variant<const CommandSpec*, Shown>>;

std::unexpected<Error> usage(std::string message, const CommandSpec* command) {
  const std::string help =
      command == nullptr ? "shardswarm --help" : "shardswarm " + command->name + " --help";
  return fail(Errc::kUsage, std::move(message) + " (see `" + help + "`)");
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
      for (const std::string& choice : option.choices)
        known += (known.empty() ? "" : ", ") + choice;
      return fail(Errc::kUsage, "'" + std::string(part) + "' is not one of " + known +
                                    did_you_mean(part, option.choices));
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
  } else if (option.repeatable || option.list) {
    app.add_option_function<std::vector<std::string>>(
           option.names,
           [&option](const std::vector<std::string>& values) {
             for (const std::string& value : values) set_or_throw(option, value);
           })
        ->expected(1)
        ->take_all();
  } else {
    app.add_option_function<std::string>(
        option.names, [&option](const std::string& value) { set_or_throw(option, value); });
  }
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
  for (const OptionSpec& option : command.options) {
    for (const std::string& other : option.conflicts) {
      app.get_option(std::string(option.name()))->excludes(app.get_option(other));
    }
  }
}

std::vector<std::string> option_names(const CommandLine& line, const CommandSpec& command) {
  std::vector<std::string> names = {"--help", "--help-all"};
  for (const auto* options : {&command.options, &line.globals}) {
    for (const OptionSpec& option : *options) names.emplace_back(option.name());
  }
  return names;
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

std::unexpected<Error> unknown_command(const Named& named, const CommandLine& line) {
  const std::vector<std::string> names = line.names();
  std::string of_it;
  for (const std::string& name : names) {
    if (name.starts_with(named.words + " ")) of_it += (of_it.empty() ? "" : ", ") + name;
  }
  if (named.words.empty()) return usage("say what to do: name a command", nullptr);
  if (!of_it.empty()) return usage("say which: " + of_it, nullptr);
  return usage("there is no command '" + named.words + "'" + did_you_mean(named.words, names),
               nullptr);
}

// What is wrong, in our words: the library's do not say what was meant.
std::unexpected<Error> explain(const CLI::ParseError& error, const CLI::App& app,
                               const CommandLine& line, const CommandSpec& command) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::vector<std::string> extras = app.remaining();
    const std::string word = extras.empty() ? std::string() : extras.front();
    if (!word.starts_with('-')) {
      return usage(command.name + " does not take '" + word + "': one argument too many", &command);
    }
    const std::string option = word.substr(0, word.find('='));
    return usage(command.name + " does not know the option '" + option + "'" +
                     did_you_mean(option, option_names(line, command)),
                 &command);
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    for (const PositionalSpec& positional : command.positionals) {
      if (!positional.required || app.count(positional.name) > 0) continue;
      return usage(command.name + " needs " + positional.name + ": " + positional.text, &command);
    }
  }
  return usage(error.what(), &command);
}

}  // namespace

Parsed parse(std::vector<std::string> arguments, const CommandLine& line,
             const std::string& version) {
  // What stands behind "--" is no option of ours.
  const auto options_end = std::ranges::find(arguments, "--");
  const auto asks = [&](std::string_view flag) {
    return std::find(arguments.begin(), options_end, flag) != options_end;
  };
  std::vector<std::string> words;
  std::copy_if(arguments.begin(), options_end, std::back_inserter(words),
               [](const std::string& word) { return !word.starts_with('-'); });
  const bool help_command = !words.empty() && words.front() == "help";
  if (help_command) words.erase(words.begin());
  const Named named = find_command(words, line);
  const bool help = help_command || asks("-h") || asks("--help") || asks("--help-all");
  if (named.command == nullptr) {
    if (asks("--version")) return Shown{version + "\n"};
    if (asks("--tables")) return Shown{tables_json(line) + "\n"};
    if (help && words.empty()) return Shown{overview_text(line)};
    return unknown_command(named, line);
  }
  const CommandSpec& command = *named.command;
  if (help) return Shown{command_text(line, command, asks("--help-all"))};

  // Without the words of its name.
  for (std::size_t i = 0; i < named.used; ++i) {
    arguments.erase(std::ranges::find(arguments, words[i]));
  }
  CLI::App app("", "shardswarm " + command.name);
  app.set_help_flag();
  for (const OptionSpec& option : line.globals) add_option(app, option);
  add_command(app, command);
  std::ranges::reverse(arguments);  // as the library wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    return explain(error, app, line, command);
  }
  return &command;
}

}  // namespace shardswarm::cli
