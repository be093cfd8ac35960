#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/events.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/left_out.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/quantity.h"
#include "cli/unfinished.h"

namespace shardswarm::cli {
namespace {

using std::chrono::milliseconds;

// A node that is done goes on for at most this long while others take what only it holds.
constexpr milliseconds kHandover{5000};

struct FetchArguments {
  std::string ticket;
  std::string directory;  // by place
  std::string to;         // by --to
  std::vector<std::string> peers;
  milliseconds linger{0};
  milliseconds stall_timeout{60'000};
  milliseconds wait{0};
  std::string layout;
  std::string order;
  bool no_reuse = false;
  bool dry_run = false;
  bool json = false;
  SelectionFlags selection;
  Network network;
  State state;
};

// Lives for one run of the command.
class FetchCommand {
 public:
  FetchCommand(const FetchArguments& arguments, Context& context)
      : arguments_(arguments), context_(context), events_(context.terminal, arguments.json) {}

  int run() {
    const auto ticket = Ticket::parse(arguments_.ticket);
    if (!ticket) return refuse(ticket.error());
    auto options = make_options(*ticket);
    if (!options) return refuse(options.error());
    NodeOptions node_settings = node_options(context_, arguments_.state, arguments_.network);
    node_settings.share = node_settings.share && !arguments_.dry_run;
    node_settings.leave_default_port = true;
    if (arguments_.dry_run && node_settings.listen.empty()) node_settings.listen = kAnyPort;
    const auto node = Node::start(std::move(node_settings));
    if (!node) return refuse(node.error());
    return arguments_.dry_run ? plan(**node, *ticket, std::move(*options))
                              : fetch(**node, *ticket, std::move(*options));
  }

 private:
  int refuse(const Error& error) {
    const int code = report_error(context_, error);
    events_.error(error, code);
    return code;
  }

  Result<FetchOptions> make_options(const Ticket& ticket) const {
    const auto selection = selection_of(arguments_.selection);
    if (!selection) return std::unexpected(selection.error());
    const std::string& directory =
        arguments_.directory.empty() ? arguments_.to : arguments_.directory;
    if (directory.empty()) {
      return fail(Errc::kUsage, "say where to: `shardswarm fetch TICKET DIR`");
    }
    if (!arguments_.directory.empty() && !arguments_.to.empty()) {
      return fail(Errc::kUsage, "the directory is named twice: as an argument and with --to");
    }
    if (ticket.peers.empty() && arguments_.peers.empty()) {
      return fail(Errc::kUsage, "the ticket names no peer: add --peer HOST:PORT");
    }
    return FetchOptions{
        .directory = directory,
        .selection = *selection,
        .layout = layout_from_name(arguments_.layout),
        .order = arguments_.order == "layers" ? FetchOrder::kLayers : FetchOrder::kRarest,
        .reuse = !arguments_.no_reuse,
        .peers = arguments_.peers,
        .stall_timeout = arguments_.stall_timeout,
        .wait = arguments_.wait};
  }

  int plan(Node& node, const Ticket& ticket, FetchOptions options) {
    const Selection asked = options.selection;
    const std::filesystem::path directory = options.directory;
    const auto plan = node.plan(ticket, std::move(options));
    if (!plan) return refuse(plan.error());
    events_.plan(*plan);
    if (!events_.on()) print_plan(*plan, asked);
    if (!plan->free_bytes || plan->needed_bytes <= *plan->free_bytes) return kExitDone;
    return refuse(
        {Errc::kNoSpace,
         fmt::format("not enough space in {}: the fetch needs {}, {} are free; make room, "
                     "or fetch less",
                     directory.string(), bytes_text(plan->needed_bytes),
                     bytes_text(*plan->free_bytes))});
  }

  void print_plan(const FetchPlan& plan, const Selection& asked) const {
    Terminal& terminal = context_.terminal;
    terminal.result(fmt::format(
        "{} in {}: {}, {}", bytes_text(plan.wanted_bytes), count_text(plan.pieces, "piece"),
        count_text(plan.tensors, "tensor"), count_text(plan.files.size(), "file")));
    terminal.result(
        fmt::format("of it {} here, {} in other directories of this machine, {} to fetch",
                    bytes_text(plan.here_bytes), bytes_text(plan.elsewhere_bytes),
                    bytes_text(plan.wanted_bytes - plan.here_bytes - plan.elsewhere_bytes)));
    terminal.results(preset_text(asked, plan.parts, plan.engine_setting));
    for (const std::string& file : plan.files) terminal.result("  " + file);
    terminal.results(left_out_text(plan.left_out));
  }

  int fetch(Node& node, const Ticket& ticket, FetchOptions options) {
    const std::filesystem::path directory = options.directory;
    const Selection asked = options.selection;
    UnfinishedRecord unfinished(arguments_.state.path(), directory);
    options.on_progress = [this, &unfinished](const FetchProgress& progress) {
      // Before that there is nothing to go on with: the directory may be refused.
      if (progress.phase == FetchPhase::kFetching) unfinished.begin(context_.arguments);
      if (!events_.on()) context_.terminal.status(fetch_status(progress));
      events_.progress(progress);
    };
    options.on_event = [this](const FetchEvent& event) {
      if (context_.common.verbose > 0) tell(event);
      events_.happened(event);
    };
    const auto fetch = node.fetch(ticket, std::move(options));
    context_.signals.on_end([fetch] { fetch->cancel(); });
    context_.signals.on_status(
        [this, fetch] { context_.terminal.note(status_text(fetch_status(fetch->progress()))); });
    const auto report = fetch->wait();
    context_.terminal.end_status();
    if (!report) return end_failed(report.error());
    unfinished.end();
    events_.done(*report);
    if (!events_.on()) print_summary(*report, asked, directory);
    fetch->linger(kHandover, arguments_.linger);
    context_.signals.forget_callbacks();
    return kExitDone;
  }

  int end_failed(const Error& error) {
    context_.signals.forget_callbacks();
    const int signal_code = context_.signals.exit_code();
    if (error.code != Errc::kCancelled || signal_code == 0) return refuse(error);
    report_error(context_, error);
    events_.error(error, signal_code);
    return signal_code;
  }

  // Of peers the node's own log tells.
  void tell(const FetchEvent& event) {
    if (event.kind != FetchEvent::Kind::kFileDone) return;
    context_.terminal.message(LineKind::kInfo, "complete: " + event.path);
  }

  void print_summary(const FetchReport& report, const Selection& asked,
                     const std::filesystem::path& directory) {
    const std::uint64_t fetched = report.fetched_bytes - report.duplicate_bytes;
    std::string text = fmt::format("{} of {} fetched in {} ({}) from {}", bytes_text(fetched),
                                   bytes_text(report.wanted_bytes), seconds_text(report.seconds),
                                   rate_text(static_cast<double>(fetched) / report.seconds),
                                   count_text(report.peers.size(), "peer"));
    if (report.reused_bytes > 0) {
      text += fmt::format("; {} were here already", bytes_text(report.reused_bytes));
    }
    context_.terminal.note(text);
    notes(preset_text(asked, report.parts, report.engine_setting));
    notes(left_out_text(report.left_out));
    if (context_.common.verbose > 0) {
      context_.terminal.message(LineKind::kInfo,
                                fmt::format("disk engine {}; {} came twice", report.engine.name,
                                            bytes_text(report.duplicate_bytes)));
    }
    if (!context_.common.quiet) context_.terminal.raw_result(directory.string());
  }

  void notes(std::string_view lines) {
    while (!lines.empty()) {
      const std::size_t end = lines.find('\n');
      context_.terminal.note(lines.substr(0, end));
      lines.remove_prefix(end + 1);
    }
  }

  const FetchArguments& arguments_;
  Context& context_;
  EventLines events_;
};

void add_fetch_options(CommandSpec& command, FetchArguments& arguments) {
  const auto add = [&](OptionSpec option) { command.options.push_back(std::move(option)); };
  add({.names = "--to",
       .value = "DIR",
       .text = "The directory to fetch into, if it is not the second argument",
       .group = heading::kDirectory,
       .set = into(arguments.to),
       .rare = true});
  add(layout_option(arguments.layout));
  add({.names = "--dry-run",
       .text = "Say what would be fetched; write nothing",
       .group = heading::kDirectory,
       .set = into(arguments.dry_run)});
  add({.names = "--no-reuse",
       .text = "Take nothing from other directories of this machine",
       .group = heading::kDirectory,
       .set = into(arguments.no_reuse),
       .rare = true});
  add({.names = "--order",
       .value = "ORDER",
       .text = "rarest: all nodes are done soonest (the default); layers: early layers first, so "
               "that a loader can begin",
       .group = heading::kDirectory,
       .set = into(arguments.order),
       .rare = true,
       .choices = {"rarest", "layers"}});
  add({.names = "--peer",
       .value = "HOST:PORT",
       .text = "A further node to ask: HOST, HOST:PORT or its ticket",
       .group = heading::kNetwork,
       .set = into_nodes(arguments.peers),
       .repeatable = true});
  add({.names = "--linger",
       .value = "DURATION",
       .text = "How long to go on serving when done: 90s, 2h, forever",
       .group = heading::kNetwork,
       .set = [&arguments](std::string_view value) -> Result<void> {
         const auto parsed = parse_duration(value);
         if (!parsed) return std::unexpected(parsed.error());
         arguments.linger = *parsed;
         return {};
       }});
  add({.names = "--wait",
       .value = "DURATION",
       .text = "How long to wait for a source that is not up yet: 30m",
       .group = heading::kNetwork,
       .set = timeout(arguments.wait, milliseconds(0))});
  add({.names = "--stall-timeout",
       .value = "DURATION",
       .text = "How long to wait when nothing comes (default: 60s); run it again to go on",
       .group = heading::kNetwork,
       .set = timeout(arguments.stall_timeout, milliseconds(100))});
}

}  // namespace

CommandSpec fetch_command() {
  auto arguments = std::make_shared<FetchArguments>();
  CommandSpec command{
      .name = "fetch",
      .summary = "Fetch a checkpoint, or the part of it that this machine needs",
      .text =
          "Without an option that selects a part, everything comes. Run it again to go on with "
          "what was interrupted, or to add another part.",
      .positionals = {{.name = "TICKET",
                       .text = "As `shardswarm seed` prints it",
                       .set = into(arguments->ticket)},
                      {.name = "DIR",
                       .text = "The directory to fetch into",
                       .required = false,
                       .set = into(arguments->directory),
                       .path = true}},
      .examples = {{"shardswarm fetch TICKET ./llama", "All of it"},
                   {"shardswarm fetch TICKET ./llama --for vllm --rank 1/4",
                    "What vLLM's second pipeline rank of four reads"},
                   {"shardswarm fetch TICKET ./q4 --files '*Q4_K_M*.gguf'",
                    "One file of many, with the configuration"},
                   {"shardswarm fetch TICKET ./llama --layers 0-7 --linger forever",
                    "Eight layers, and serve them from then on"}},
      .run = [arguments](Context& context) { return FetchCommand(*arguments, context).run(); }};
  add_selection(command, arguments->selection);
  add_fetch_options(command, *arguments);
  add_state(command, arguments->state);
  add_network(command, arguments->network);
  command.options.push_back(json_option(arguments->json, "One JSON object a line on stdout"));
  return command;
}

}  // namespace shardswarm::cli
