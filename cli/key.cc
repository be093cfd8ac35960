#include <fmt/format.h>

#include "cli/commands.h"

namespace shardswarm::cli {

void add_key(CLI::App& app, Context& context) {
  auto file = std::make_shared<std::string>();
  auto* command = app.add_subcommand("key", "Cluster keys");
  command->require_subcommand(1);
  auto* make = command->add_subcommand("new", "Make a cluster key");
  make->add_option("FILE", *file, "Where (default: the place where it is looked for)");
  make->callback([file, &context] {
    const std::filesystem::path path =
        file->empty() ? default_key_file() : std::filesystem::path(*file);
    if (path.empty()) {
      context.exit_code = report_error({Errc::kUsage, "there is no home directory: name a FILE"});
      return;
    }
    if (const auto made = make_cluster_key(path); !made) {
      context.exit_code = report_error(made.error());
      return;
    }
    fmt::print("{}\n", path.string());
    if (!context.common.quiet) {
      fmt::print(
          stderr,
          "Copy it to every machine of the cluster, to the same place or with --key. Whoever "
          "has it can read and serve models there.\n");
    }
  });
}

}  // namespace shardswarm::cli
