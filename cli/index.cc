#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

struct IndexArguments {
  std::string directory;
  bool json = false;
  State state;
};

int run(const IndexArguments& arguments, Context& context) {
  const auto started = std::chrono::steady_clock::now();
  const auto seconds = [started] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  };
  const auto report =
      index_directory({.directory = arguments.directory,
                       .state_directory = arguments.state.path(),
                       .progress =
                           [&](std::uint64_t done, std::uint64_t total) {
                             context.terminal.status(index_status(done, total, seconds()));
                           },
                       .cancel = &context.signals.interrupted()});
  context.terminal.end_status();
  if (!report) return report_end(context, report.error());
  for (const std::string& warning : report->warnings) {
    context.terminal.message(LineKind::kWarning, warning);
  }
  const double took = seconds();
  const std::string id = to_hex(report->manifest->id());
  context.terminal.note(
      fmt::format("{}, {}, {} in {}; {} ({})", count_text(report->files, "file"),
                  count_text(report->tensors, "tensor"), bytes_text(report->bytes),
                  count_text(report->pieces, "piece"), seconds_text(took),
                  report->reused ? std::string("nothing had changed")
                                 : rate_text(static_cast<double>(report->bytes) / took)));
  if (arguments.json) {
    context.terminal.raw_result(json_text({{"schema", kJsonSchema},
                                           {"id", id},
                                           {"files", report->files},
                                           {"tensors", report->tensors},
                                           {"bytes", report->bytes},
                                           {"pieces", report->pieces},
                                           {"seconds", took},
                                           {"reused", report->reused},
                                           {"warnings", report->warnings}}));
  } else {
    context.terminal.result(id);
  }
  return 0;
}

}  // namespace

CommandSpec index_command() {
  auto arguments = std::make_shared<IndexArguments>();
  CommandSpec command{
      .name = "index",
      .summary = "Hash a checkpoint directory and print its id",
      .text =
          "`seed` does it by itself. Nothing is hashed again if nothing changed since the last "
          "time.",
      .positionals = {{.name = "DIR",
                       .text = "A checkpoint; it may be read-only",
                       .set = into(arguments->directory),
                       .path = true}},
      .options = {json_option(arguments->json, "One JSON object instead of the id")},
      .examples = {{"shardswarm index /models/llama", "Prepare a checkpoint before it is seeded"}},
      .run = [arguments](Context& context) { return run(*arguments, context); }};
  add_state(command, arguments->state);
  return command;
}

}  // namespace shardswarm::cli
