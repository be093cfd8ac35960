#include <fmt/format.h>

#include <memory>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/options.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

struct VerifyArguments {
  std::string directory;
  bool full = false;
  bool json = false;
  State state;
};

int run(const VerifyArguments& arguments, Context& context) {
  const auto report = verify_directory(arguments.directory, arguments.state.path(), arguments.full);
  if (!report) return report_error(context, report.error());
  if (arguments.json) {
    context.terminal.raw_result(json_text({{"schema", kJsonSchema},
                                           {"pieces", report->pieces},
                                           {"bytes", report->bytes},
                                           {"missing_pieces", report->missing_pieces},
                                           {"wrong", report->wrong}}));
  } else {
    for (const std::string& line : report->wrong) context.terminal.result(line);
  }
  context.terminal.note(fmt::format("{} pieces ({}) checked with {}, {} wrong, {} not here",
                                    report->pieces, bytes_text(report->bytes),
                                    arguments.full ? "SHA-256" : "XXH3", report->wrong.size(),
                                    report->missing_pieces));
  return report->wrong.empty() ? kExitDone : kExitWrong;
}

}  // namespace

CommandSpec verify_command() {
  auto arguments = std::make_shared<VerifyArguments>();
  CommandSpec command{
      .name = "verify",
      .summary = "Check every piece that is here again and name what is wrong",
      .positionals = {{.name = "DIR",
                       .text = "A fetched or indexed directory",
                       .set = into(arguments->directory),
                       .path = true}},
      .options = {{.names = "--full",
                   .text = "Compare SHA-256 with the manifest, not XXH3 with this machine's record",
                   .group = heading::kDirectory,
                   .set = into(arguments->full)},
                  json_option(arguments->json, "One JSON object")},
      .examples = {{"shardswarm verify ./llama", "After a disk gave errors"}},
      .run = [arguments](Context& context) { return run(*arguments, context); }};
  add_state(command, arguments->state);
  return command;
}

}  // namespace shardswarm::cli
