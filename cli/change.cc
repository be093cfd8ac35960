// drop and convert: what changes a fetched directory without the network.
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

struct ChangeArguments {
  std::string directory;
  std::string layout;
  SelectionFlags selection;
};

int drop(const ChangeArguments& arguments) {
  const auto selection = selection_of(arguments.selection);
  if (!selection) return report_error(selection.error());
  // Filters and further files alone leave every tensor selected: nobody means that.
  const bool parts = !selection->layers.empty() || !selection->stages.empty() ||
                     !selection->tensors.empty() || !selection->stacks.empty();
  if (!parts || !selection->files.empty()) {
    return report_error({Errc::kUsage,
                         "say what to drop with --layers, --stage, --stack or --tensors; to drop "
                         "everything, or other files, remove them"});
  }
  const auto dropped = drop_from_directory(arguments.directory, *selection);
  if (!dropped) return report_error(dropped.error());
  return kExitDone;
}

int convert(const ChangeArguments& arguments, Context& context) {
  const auto converted = convert_directory(arguments.directory, *layout_from_name(arguments.layout),
                                           &context.signals.interrupted());
  if (!converted) {
    const int code = report_error(converted.error());
    return context.signals.exit_code() != 0 ? context.signals.exit_code() : code;
  }
  return kExitDone;
}

}  // namespace

void add_drop(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<ChangeArguments>();
  auto* command = app.add_subcommand(
      "drop", "Take layers or tensors away from a fetched directory; frees their space");
  command->add_option("DIR", arguments->directory, "A fetched directory")->required();
  add_selection(*command, arguments->selection);
  command->callback([arguments, &context] { context.exit_code = drop(*arguments); });
}

void add_convert(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<ChangeArguments>();
  auto* command = app.add_subcommand(
      "convert", "Change the layout of a fetched directory, without the network");
  command->add_option("DIR", arguments->directory, "A fetched directory")->required();
  add_layout(*command, arguments->layout)->required();
  command->callback([arguments, &context] { context.exit_code = convert(*arguments, context); });
}

}  // namespace shardswarm::cli
