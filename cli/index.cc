#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/format.h"
#include "cli/progress.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

struct IndexArguments {
  std::string directory;
  bool json = false;
};

int run(const IndexArguments& arguments, Context& context) {
  const auto started = std::chrono::steady_clock::now();
  ProgressView view(context.common.quiet);
  const auto report =
      index_directory({.directory = arguments.directory,
                       .state_directory = context.common.state_directory(),
                       .progress = [&](std::uint64_t done,
                                       std::uint64_t total) { view.show_indexing(done, total); },
                       .cancel = &context.signals.interrupted()});
  view.finish();
  if (!report) {
    const int code = report_error(report.error());
    return context.signals.exit_code() != 0 ? context.signals.exit_code() : code;
  }
  for (const std::string& warning : report->warnings) spdlog::warn("{}", warning);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  const std::string id = to_hex(report->manifest->id());
  if (!context.common.quiet) {
    fmt::print(stderr, "{} files, {} tensors, {} in {} pieces; {} ({})\n", report->files,
               report->tensors, bytes_text(report->bytes), report->pieces, seconds_text(seconds),
               report->reused ? std::string("nothing had changed")
                              : rate_text(static_cast<double>(report->bytes) / seconds));
  }
  if (arguments.json) {
    const nlohmann::ordered_json object = {{"id", id},
                                           {"files", report->files},
                                           {"tensors", report->tensors},
                                           {"bytes", report->bytes},
                                           {"pieces", report->pieces},
                                           {"seconds", seconds},
                                           {"reused", report->reused}};
    fmt::print("{}\n", object.dump());
  } else {
    fmt::print("{}\n", id);
  }
  return 0;
}

}  // namespace

void add_index(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<IndexArguments>();
  auto* command = app.add_subcommand("index", "Hash a checkpoint directory and print its id");
  command->add_option("DIR", arguments->directory, "Checkpoint directory; may be read-only")
      ->required();
  command->add_flag("--json", arguments->json, "One JSON object instead of the id");
  add_state(*command, context.common);
  command->callback([arguments, &context] { context.exit_code = run(*arguments, context); });
}

}  // namespace shardswarm::cli
