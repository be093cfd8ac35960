#include <memory>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/options.h"

namespace shardswarm::cli {
namespace {

int run(const std::string& file, Context& context) {
  const std::filesystem::path path =
      file.empty() ? default_key_file() : std::filesystem::path(file);
  if (path.empty()) {
    return report_error(context, {Errc::kUsage, "there is no home directory: name a FILE"});
  }
  if (const auto made = make_cluster_key(path); !made) return report_error(context, made.error());
  context.terminal.result(path.string());
  context.terminal.note(
      "Copy it to every machine of the cluster, to the same place or with --key. Whoever has it "
      "can read and serve models there.");
  return kExitDone;
}

}  // namespace

CommandSpec key_new_command() {
  auto file = std::make_shared<std::string>();
  return {.name = "key new",
          .summary = "Make a cluster key",
          .text =
              "Nodes that have the same key know and trust each other. Make one key, and copy "
              "it to each machine.",
          .positionals = {{.name = "FILE",
                           .text = "Where (default: the place where it is looked for)",
                           .required = false,
                           .set = into(*file),
                           .path = true}},
          .examples = {{"shardswarm key new", "On the first machine, once"}},
          .run = [file](Context& context) { return run(*file, context); }};
}

}  // namespace shardswarm::cli
