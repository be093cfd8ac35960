// drop and convert: what changes a fetched directory without the network.
#include <memory>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

struct ChangeArguments {
  std::string directory;
  std::string layout;
  SelectionFlags selection;
};

int drop(const ChangeArguments& arguments, Context& context) {
  const auto selection = selection_of(arguments.selection);
  if (!selection) return report_error(context, selection.error());
  // Filters alone leave every tensor selected: nobody means that.
  const bool parts = !selection->layers.empty() || !selection->stages.empty() ||
                     !selection->tensors.empty() || !selection->stacks.empty();
  if (!parts || !selection->files.empty()) {
    return report_error(context,
                        {Errc::kUsage,
                         "say what to drop with --layers, --stage, --stack or --tensors; to drop "
                         "everything, or other files, remove them"});
  }
  const auto dropped = drop_from_directory(arguments.directory, *selection);
  return dropped ? kExitDone : report_error(context, dropped.error());
}

int convert(const ChangeArguments& arguments, Context& context) {
  const auto layout = layout_from_name(arguments.layout);
  if (!layout) {
    return report_error(
        context, {Errc::kUsage, "say which layout with --layout: original, compact or mirror"});
  }
  const auto converted =
      convert_directory(arguments.directory, *layout, &context.signals.interrupted());
  return converted ? kExitDone : report_end(context, converted.error());
}

}  // namespace

CommandSpec drop_command() {
  auto arguments = std::make_shared<ChangeArguments>();
  CommandSpec command{
      .name = "drop",
      .summary = "Take layers or tensors away from a fetched directory and free their space",
      .positionals = {{.name = "DIR",
                       .text = "A fetched directory",
                       .set = into(arguments->directory),
                       .path = true}},
      .examples = {{"shardswarm drop ./llama --layers 24-31",
                    "The machine no longer runs these layers"}},
      .run = [arguments](Context& context) { return drop(*arguments, context); }};
  add_selection(command, arguments->selection, heading::kDrop);
  std::erase_if(command.options,
                [](const OptionSpec& option) { return option.name() == "--files"; });
  return command;
}

CommandSpec convert_command() {
  auto arguments = std::make_shared<ChangeArguments>();
  return {.name = "convert",
          .summary = "Change the layout of a fetched directory, without the network",
          .positionals = {{.name = "DIR",
                           .text = "A fetched directory",
                           .set = into(arguments->directory),
                           .path = true}},
          .options = {{.names = "--layout",
                       .value = "LAYOUT",
                       .text = "original, compact or mirror; it must be given",
                       .group = heading::kDirectory,
                       .set = into(arguments->layout),
                       .choices = {"original", "compact", "mirror"}}},
          .examples = {{"shardswarm convert ./llama --layout original",
                        "For an engine that wants the files as they were"}},
          .run = [arguments](Context& context) { return convert(*arguments, context); }};
}

}  // namespace shardswarm::cli
