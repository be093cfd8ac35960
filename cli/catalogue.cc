// What this machine holds: `list` and `forget`.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

constexpr std::size_t kShortId = 12;  // digits; enough for a person to tell models apart

// Changed first: whether it was complete once does not matter then.
std::string_view state_name(const HeldDirectory& held) {
  if (held.changed) return "changed";
  return held.complete ? "complete" : "partial";
}

void print_table(const std::vector<HeldDirectory>& directories) {
  if (directories.empty()) return;
  std::vector<std::vector<std::string>> rows = {
      {"directory", "model", "layout", "here", "of", "state"}};
  for (const HeldDirectory& held : directories) {
    rows.push_back({held.directory.string(), to_hex(held.model).substr(0, kShortId),
                    std::string(layout_name(held.layout)), bytes_text(held.present_bytes),
                    bytes_text(held.total_bytes), std::string(state_name(held))});
  }
  fmt::print("{}", table(rows));
}

void print_json(const std::vector<HeldDirectory>& directories) {
  auto list = nlohmann::ordered_json::array();
  for (const HeldDirectory& held : directories) {
    list.push_back({{"directory", held.directory.string()},
                    {"id", to_hex(held.model)},
                    {"layout", layout_name(held.layout)},
                    {"present_bytes", held.present_bytes},
                    {"total_bytes", held.total_bytes},
                    {"complete", held.complete},
                    {"changed", held.changed}});
  }
  // Paths may hold any bytes, JSON may not.
  fmt::print("{}\n", list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

int list(bool json, const Context& context) {
  const auto directories = list_directories(context.common.state_directory());
  if (!directories) return report_error(directories.error());
  if (json) {
    print_json(*directories);
  } else {
    print_table(*directories);
  }
  return kExitDone;
}

}  // namespace

void add_list(CLI::App& app, Context& context) {
  auto json = std::make_shared<bool>(false);
  auto* command = app.add_subcommand("list", "The directories with models on this machine");
  command->add_flag("--json", *json, "One JSON array");
  add_state(*command, context.common);
  command->callback([json, &context] { context.exit_code = list(*json, context); });
}

void add_forget(CLI::App& app, Context& context) {
  auto directory = std::make_shared<std::string>();
  auto* command = app.add_subcommand(
      "forget", "Take a directory out of the list; the directory itself is not touched");
  command->add_option("DIR", *directory, "A directory of the list, which may be gone")->required();
  add_state(*command, context.common);
  command->callback([directory, &context] {
    const auto forgotten = forget_directory(*directory, context.common.state_directory());
    context.exit_code = forgotten ? kExitDone : report_error(forgotten.error());
  });
}

}  // namespace shardswarm::cli
