// The shardswarm command.
#include <sys/resource.h>

#include <algorithm>
#include <exception>
#include <string>
#include <variant>
#include <vector>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/events.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/parse.h"
#include "cli/version.h"

namespace {

using namespace shardswarm::cli;

// A model's files stay open while it is fetched or served: in the compact layout one for each
// layer. The usual soft limit of 1024 is for programs that use select().
void allow_many_files() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &files);
}

CommandLine command_line(Common& common) {
  CommandLine line;
  line.groups.push_back({"Bring a model", {key_new_command(), seed_command(), fetch_command()}});
  line.groups.push_back(
      {"Share the key", {key_export_command(), key_import_command(), key_show_command()}});
  line.groups.push_back({"Look", {inspect_command(), verify_command(), list_command()}});
  line.groups.push_back({"Change a directory",
                         {index_command(), drop_command(), convert_command(), forget_command()}});
  line.globals.push_back({.names = "-q,--quiet",
                          .text = "Only errors",
                          .group = heading::kGlobal,
                          .set = into(common.quiet)});
  line.globals.push_back({.names = "-v,--verbose",
                          .text = "Say more; twice for all",
                          .group = heading::kGlobal,
                          .set = count(common.verbose)});
  line.examples = {
      {"shardswarm key new", "Once: make the cluster's key, and copy it to each machine"},
      {"shardswarm seed /models/llama", "Where the checkpoint is; prints a ticket"},
      {"shardswarm fetch TICKET ./llama --stage 1/4", "On another machine: a quarter of it"}};
  return line;
}

int run(Context& context) {
  const CommandLine line = command_line(context.common);
  const auto parsed = parse(context.arguments, line, version_text());
  if (!parsed) {
    const int code = report_error(context, parsed.error());
    const bool events = std::ranges::count(context.arguments, "--json") > 0 &&
                        std::ranges::count(context.arguments, "fetch") > 0;
    EventLines(context.terminal, events).error(parsed.error(), code);
    return code;
  }
  if (const auto* shown = std::get_if<Shown>(&*parsed)) {
    context.terminal.results(shown->text);
    return kExitDone;
  }
  context.terminal.set_quiet(context.common.quiet);
  return std::get<const CommandSpec*>(*parsed)->run(context);
}

}  // namespace

int main(int argc, char** argv) {
  Signals signals;  // first: before that a signal ends the process without a word
  allow_many_files();
  Terminal terminal;
  Context context{.terminal = terminal,
                  .signals = signals,
                  .arguments = std::vector<std::string>(argv + 1, argv + argc),
                  .common = {}};
  int code = kExitFailed;
  try {
    code = run(context);
  } catch (const std::exception& error) {
    terminal.message(LineKind::kError,
                     std::string("out of something, or our bug: ") + error.what());
  }
  terminal.end_status();
  // What is printed is what scripts rely on: a full disk or a closed pipe is a failure.
  if (terminal.lost_results() && code == kExitDone) return kExitFailed;
  return code;
}
