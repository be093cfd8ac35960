// What this machine holds: `list` and `forget`.
#include <fmt/format.h>

#include <map>
#include <memory>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/holds.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/unfinished.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

constexpr std::size_t kShortId = 12;  // digits; enough for a person to tell models apart

// A directory that changed is no longer what it was recorded as, complete or not.
std::string_view state_name(const HeldDirectory& held) {
  if (held.changed) return "changed";
  return held.complete ? "complete" : "partial";
}

void print_table(const std::vector<HeldDirectory>& directories, Terminal& terminal) {
  if (directories.empty()) return;
  std::vector<std::vector<std::string>> rows = {
      {"directory", "model", "layout", "here", "of", "state"}};
  for (const HeldDirectory& held : directories) {
    rows.push_back({held.directory.string(), to_hex(held.model).substr(0, kShortId),
                    std::string(layout_name(held.layout)), bytes_text(held.present_bytes),
                    bytes_text(held.total_bytes), std::string(state_name(held))});
  }
  terminal.results(table(rows));
  for (const HeldDirectory& held : directories) {
    const std::string holds = holds_text(held);
    if (held.complete || holds.empty()) continue;
    terminal.result(fmt::format("{} holds {}", held.directory.string(), holds));
  }
}

// One row for each directory; of an interrupted fetch that is not in the catalogue yet little is
// known.
void print_json(const std::vector<HeldDirectory>& directories,
                const std::vector<UnfinishedFetch>& unfinished, Terminal& terminal) {
  std::map<std::string, Json> rows;
  for (const HeldDirectory& held : directories) {
    rows[held.directory.string()] = {{"directory", held.directory.string()},
                                     {"id", to_hex(held.model)},
                                     {"layout", layout_name(held.layout)},
                                     {"present_bytes", held.present_bytes},
                                     {"total_bytes", held.total_bytes},
                                     {"complete", held.complete},
                                     {"changed", held.changed},
                                     {"holds", holds_json(held)},
                                     {"interrupted", false}};
  }
  for (const UnfinishedFetch& fetch : unfinished) {
    Json& row = rows[fetch.directory];
    if (row.is_null()) {
      row = {{"directory", fetch.directory},
             {"id", nullptr},
             {"layout", nullptr},
             {"present_bytes", nullptr},
             {"total_bytes", nullptr},
             {"complete", false},
             {"changed", false},
             {"holds", nullptr}};
    }
    row["interrupted"] = true;
    row["resume"] = fetch.command;
  }
  Json list = Json::array();
  for (auto& [directory, row] : rows) list.push_back(std::move(row));
  terminal.raw_result(json_text(list));
}

int list(bool json, const State& state, Context& context) {
  const auto directories = list_directories(state.path());
  if (!directories) return report_error(context, directories.error());
  const auto unfinished = unfinished_fetches(state.path());
  if (json) {
    print_json(*directories, unfinished, context.terminal);
    return kExitDone;
  }
  if (directories->empty() && unfinished.empty()) {
    context.terminal.note(
        "This machine knows no directories with models: `seed`, `fetch` and `index` add theirs.");
  }
  print_table(*directories, context.terminal);
  for (const UnfinishedFetch& fetch : unfinished) {
    context.terminal.result("interrupted: " + fetch.directory + "; to go on:");
    context.terminal.result("  " + fetch.command);
  }
  return kExitDone;
}

int forget(const std::string& directory, const State& state, Context& context) {
  const auto forgotten = forget_directory(directory, state.path());
  const std::size_t before = unfinished_fetches(state.path()).size();
  UnfinishedRecord(state.path(), directory).end();
  const bool was_interrupted = unfinished_fetches(state.path()).size() < before;
  if (!forgotten && !was_interrupted) return report_error(context, forgotten.error());
  context.terminal.note(directory +
                        " is no longer in the list; the directory itself is as it was.");
  return kExitDone;
}

}  // namespace

CommandSpec list_command() {
  struct Arguments {
    bool json = false;
    State state;
  };
  auto arguments = std::make_shared<Arguments>();
  CommandSpec command{
      .name = "list",
      .summary = "The directories with models on this machine",
      .text = "Fetches take equal pieces from these directories instead of the network.",
      .options = {json_option(arguments->json, "One JSON array")},
      .run = [arguments](Context& context) {
        return list(arguments->json, arguments->state, context);
      }};
  add_state(command, arguments->state);
  return command;
}

CommandSpec forget_command() {
  struct Arguments {
    std::string directory;
    State state;
  };
  auto arguments = std::make_shared<Arguments>();
  CommandSpec command{
      .name = "forget",
      .summary = "Take a directory out of the list; the directory itself is not touched",
      .positionals = {{.name = "DIR",
                       .text = "A directory of the list, which may be gone",
                       .set = into(arguments->directory),
                       .path = true}},
      .run = [arguments](Context& context) {
        return forget(arguments->directory, arguments->state, context);
      }};
  add_state(command, arguments->state);
  return command;
}

}  // namespace shardswarm::cli
