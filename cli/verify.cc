#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/unfinished.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

struct VerifyArguments {
  std::string directory;
  bool full = false;
  bool json = false;
  bool repair = false;
  std::vector<std::string> peers;
  std::chrono::milliseconds stall_timeout{60'000};
  Network network;
  State state;
};

void print_report(const VerifyReport& report, const VerifyArguments& arguments,
                  std::optional<std::uint64_t> repaired_bytes, Terminal& terminal) {
  if (arguments.json) {
    Json object = {{"schema", kJsonSchema},
                   {"pieces", report.pieces},
                   {"bytes", report.bytes},
                   {"missing_pieces", report.missing_pieces},
                   {"unselected_pieces", report.unselected_pieces},
                   {"wrong", report.wrong}};
    if (repaired_bytes) object["repaired_bytes"] = *repaired_bytes;
    terminal.raw_result(json_text(object));
  } else {
    for (const std::string& line : report.wrong) terminal.result(line);
  }
  std::string text = fmt::format("{} ({}) checked with {}, {} wrong",
                                 count_text(report.pieces, "piece"), bytes_text(report.bytes),
                                 arguments.full ? "SHA-256" : "XXH3", report.wrong.size());
  if (report.unselected_pieces > 0) {
    text += fmt::format("; {} of the model not part of what was fetched",
                        count_text(report.unselected_pieces, "piece"));
  }
  const std::uint64_t lost = report.missing_pieces - report.unselected_pieces;
  if (lost > 0) text += fmt::format("; {} not here", count_text(lost, "piece"));
  terminal.note(text);
}

// Hashes what the directory holds, and fetches what is wrong or lost. The bytes that came.
Result<std::uint64_t> repair(const VerifyArguments& arguments, Context& context) {
  const auto held = held_selection(arguments.directory);
  if (!held) return std::unexpected(held.error());
  NodeOptions settings = node_options(context, arguments.state, arguments.network);
  settings.leave_default_port = true;
  const auto node = Node::start(std::move(settings));
  if (!node) return std::unexpected(node.error());
  const auto fetch = (*node)->fetch(Ticket{.id = held->model, .peers = {}},
                                    {.directory = arguments.directory,
                                     .selection = held->selection,
                                     .recheck = true,
                                     .peers = arguments.peers,
                                     .stall_timeout = arguments.stall_timeout,
                                     .on_progress = [&context](const FetchProgress& progress) {
                                       context.terminal.status(fetch_status(progress));
                                     }});
  context.signals.on_end([fetch] { fetch->cancel(); });
  const auto done = fetch->wait();
  context.signals.forget_callbacks();
  context.terminal.end_status();
  if (!done) return std::unexpected(done.error());
  const std::uint64_t bytes = done->fetched_bytes + done->copied_bytes;
  context.terminal.note(fmt::format("repaired: {} brought anew, {} of them from this machine",
                                    bytes_text(bytes), bytes_text(done->copied_bytes)));
  return bytes;
}

int run(const VerifyArguments& arguments, Context& context) {
  std::optional<std::uint64_t> repaired_bytes;
  if (arguments.repair) {
    if (arguments.peers.empty()) {
      return report_error(
          context,
          {Errc::kUsage, "--repair needs a node that has the model: add --peer HOST:PORT"});
    }
    const auto repaired = repair(arguments, context);
    if (!repaired) return report_end(context, repaired.error());
    repaired_bytes = *repaired;
  }
  const auto report = verify_directory(arguments.directory, arguments.state.path(), arguments.full);
  if (!report) return report_error(context, report.error());
  print_report(*report, arguments, repaired_bytes, context.terminal);
  if (report->wrong.empty()) return kExitDone;
  if (!arguments.repair) {
    context.terminal.note("To repair it: `shardswarm verify " + shell_line({arguments.directory}) +
                          " --repair --peer HOST:PORT`, with the address of a node that serves "
                          "the model. A directory that was indexed and not fetched is repaired by "
                          "copying the right files there.");
  }
  return kExitWrong;
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
                  {.names = "--repair",
                   .text = "Fetch what is wrong again from the peers, then check",
                   .group = heading::kDirectory,
                   .set = into(arguments->repair)},
                  {.names = "--peer",
                   .value = "HOST:PORT",
                   .text = "A node that has the model: HOST, HOST:PORT or its ticket",
                   .group = heading::kNetwork,
                   .set = into_nodes(arguments->peers),
                   .repeatable = true},
                  {.names = "--stall-timeout",
                   .value = "DURATION",
                   .text = "How long a repair waits when nothing comes (default: 60s)",
                   .group = heading::kNetwork,
                   .set = timeout(arguments->stall_timeout, std::chrono::milliseconds(100)),
                   .rare = true},
                  json_option(arguments->json, "One JSON object")},
      .examples = {{"shardswarm verify ./llama", "After a disk gave errors"},
                   {"shardswarm verify ./llama --repair --peer node7",
                    "Bring what is wrong again"}},
      .run = [arguments](Context& context) { return run(*arguments, context); }};
  add_trust(command, arguments->network);
  add_state(command, arguments->state);
  return command;
}

}  // namespace shardswarm::cli
