#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardswarm::cli {
namespace {

constexpr std::size_t kColumns = 80;
constexpr std::size_t kTextColumn = 28;  // where the text of an option begins

constexpr std::string_view kAbout =
    "Brings LLM checkpoints to the machines that run them: from all peers at once, and only the "
    "tensors that each machine needs.";

// `text` broken at spaces to lines of at most `width`; a longer word stands alone.
std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  std::string line;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      lines.push_back(std::move(line));
      line.clear();
    }
    line += (line.empty() ? "" : " ") + std::string(word);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (!line.empty()) lines.push_back(std::move(line));
  return lines;
}

void add_paragraph(std::string& to, std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    for (const std::string& line : wrapped(text.substr(0, end), kColumns)) to += line + "\n";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// "  -q, --quiet            Only errors", the text wrapped beside the names.
void add_row(std::string& to, const std::string& names, std::string_view text) {
  const auto lines = wrapped(text, kColumns - kTextColumn);
  std::string row = "  " + names;
  std::size_t next = 0;
  if (row.size() + 2 <= kTextColumn && !lines.empty()) {
    row += std::string(kTextColumn - row.size(), ' ') + lines[next++];
  }
  to += row + "\n";
  for (; next < lines.size(); ++next) to += std::string(kTextColumn, ' ') + lines[next] + "\n";
}

std::string names_text(const OptionSpec& option) {
  std::string text = option.names;
  const std::size_t comma = text.find(',');
  if (comma != std::string::npos) {
    text.insert(comma + 1, " ");
  } else if (text.starts_with("--")) {
    text = "    " + text;
  }
  return option.is_flag() ? text : text + " " + option.value;
}

void add_options(std::string& to, const std::vector<OptionSpec>& options, bool all) {
  std::vector<std::string> groups;
  for (const OptionSpec& option : options) {
    const bool shown = all || !option.rare;
    if (shown && std::ranges::find(groups, option.group) == groups.end()) {
      groups.push_back(option.group);
    }
  }
  for (const std::string& group : groups) {
    to += "\n" + group + ":\n";
    for (const OptionSpec& option : options) {
      if (option.group != group || (option.rare && !all)) continue;
      std::string text = option.text;
      const bool told = !option.choices.empty() && text.contains(option.choices.front());
      if (!option.choices.empty() && !told) {
        text += fmt::format(": {}", fmt::join(option.choices, ", "));
      }
      if (option.list) {
        text += " (a,b or repeated)";
      } else if (option.repeatable) {
        text += " (repeatable)";
      }
      add_row(to, names_text(option), text);
    }
  }
}

void add_examples(std::string& to, const std::vector<Example>& examples) {
  if (examples.empty()) return;
  to += "\nExamples:\n";
  for (const Example& example : examples) {
    for (const std::string& line : wrapped(example.text, kColumns - 4)) to += "  # " + line + "\n";
    to += "  " + example.command + "\n";
  }
}

std::string usage_text(const CommandSpec& command) {
  std::string text = "Usage: shardswarm " + command.name;
  for (const PositionalSpec& positional : command.positionals) {
    text += positional.required ? " " + positional.name : " [" + positional.name + "]";
  }
  return command.options.empty() ? text : text + " [options]";
}

}  // namespace

const CommandSpec* CommandLine::find(std::string_view name) const {
  for (const CommandGroup& group : groups) {
    const auto found = std::ranges::find(group.commands, name, &CommandSpec::name);
    if (found != group.commands.end()) return &*found;
  }
  return nullptr;
}

std::vector<std::string> CommandLine::names() const {
  std::vector<std::string> all;
  for (const CommandGroup& group : groups) {
    for (const CommandSpec& command : group.commands) all.push_back(command.name);
  }
  return all;
}

std::string overview_text(const CommandLine& line) {
  std::string text;
  add_paragraph(text, kAbout);
  text += "\nUsage: shardswarm COMMAND [arguments]\n";
  for (const CommandGroup& group : line.groups) {
    text += "\n" + group.heading + ":\n";
    for (const CommandSpec& command : group.commands) {
      add_row(text, command.name, command.summary);
    }
  }
  add_options(text, line.globals, false);
  add_examples(text, line.examples);
  text += "\n`shardswarm COMMAND --help` tells more of a command.\n";
  return text;
}

std::string command_text(const CommandLine& line, const CommandSpec& command, bool all) {
  std::string text;
  add_paragraph(text, command.summary + ".");
  if (!command.text.empty()) {
    text += "\n";
    add_paragraph(text, command.text);
  }
  text += "\n" + usage_text(command) + "\n";
  if (!command.positionals.empty()) text += "\n";
  for (const PositionalSpec& positional : command.positionals) {
    add_row(text, positional.name, positional.text);
  }
  add_options(text, command.options, all);
  add_options(text, line.globals, all);
  add_examples(text, command.examples);
  const bool more = std::ranges::any_of(command.options, &OptionSpec::rare);
  if (more && !all) {
    text += "\n`shardswarm " + command.name + " --help-all` lists further options.\n";
  }
  return text;
}

}  // namespace shardswarm::cli
