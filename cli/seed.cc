#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cli/commands.h"
#include "cli/format.h"
#include "cli/progress.h"

namespace shardswarm::cli {
namespace {

struct SeedArguments {
  std::string directory;
  std::string name;
  Network network;
};

int run(const SeedArguments& arguments, Context& context) {
  auto node = Node::start(node_options(context.common, arguments.network));
  if (!node) return report_error(node.error());
  ProgressView view(context.common.quiet);
  const auto seed = (*node)->seed(
      {.directory = arguments.directory,
       .index_progress = [&](std::uint64_t done,
                             std::uint64_t total) { view.show_indexing(done, total); },
       .cancel = &context.signals.interrupted()});
  view.finish();
  if (!seed) {
    const int code = report_error(seed.error());
    return context.signals.exit_code() != 0 ? context.signals.exit_code() : code;
  }
  fmt::print("{}\n", (*seed)->ticket().to_string());
  if (std::fflush(stdout) != 0) return report_error({Errc::kIo, "cannot write to stdout"});
  const std::string label = arguments.name.empty() ? arguments.directory : arguments.name;
  if (!context.common.quiet) {
    fmt::print(stderr, "serving {}: {} of {}; Ctrl-C ends it\n", label,
               bytes_text((*seed)->present_bytes()), bytes_text((*seed)->total_bytes()));
  }
  context.signals.wait();
  if (!context.common.quiet) {
    fmt::print(stderr, "sent {} to {} peers\n", bytes_text((*seed)->sent_bytes()),
               (*seed)->peers().size());
  }
  return context.signals.exit_code();
}

}  // namespace

void add_seed(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<SeedArguments>();
  auto* command = app.add_subcommand("seed", "Serve a checkpoint; prints its ticket");
  command->add_option("DIR", arguments->directory, "Checkpoint, or a fetched directory")
      ->required();
  command->add_option("--name", arguments->name, "What to call it in messages");
  add_network(*command, arguments->network);
  add_state(*command, context.common);
  command->callback([arguments, &context] { context.exit_code = run(*arguments, context); });
}

}  // namespace shardswarm::cli
