#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/progress.h"

namespace shardswarm::cli {
namespace {

using std::chrono::milliseconds;
using Json = nlohmann::ordered_json;

constexpr milliseconds kHandover{5000};
constexpr milliseconds kForever = milliseconds::max();

struct FetchArguments {
  std::string ticket;
  std::string directory;
  std::vector<std::string> peers;
  std::string linger = "0";
  double stall_timeout = 60;
  std::string layout;
  std::string order = "rarest";
  bool no_reuse = false;
  bool dry_run = false;
  bool json = false;
  SelectionFlags selection;
  Network network;
};

// One JSON object a line, from several threads.
class EventLines {
 public:
  explicit EventLines(bool on) : on_(on) {}
  void print(const Json& event) {
    if (!on_) return;
    const std::scoped_lock lock(mutex_);
    fmt::print("{}\n", event.dump(-1, ' ', false, Json::error_handler_t::replace));
    (void)std::fflush(stdout);
  }
  void progress(const FetchProgress& progress) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::seconds(1) && progress.phase < FetchPhase::kDone) return;
    last_ = now;
    print({{"event", "progress"},
           {"phase", phase_name(progress.phase)},
           {"wanted_bytes", progress.wanted_bytes},
           {"present_bytes", progress.present_bytes},
           {"fetched_bytes", progress.fetched_bytes},
           {"bytes_per_second", progress.bytes_per_second},
           {"peers", progress.peers}});
  }
  int error(const Error& error, int code) {
    print({{"event", "error"},
           {"code", errc_name(error.code)},
           {"message", error.message},
           {"exit", code}});
    return code;
  }

 private:
  bool on_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point last_{};
};

Json done_event(const FetchReport& report) {
  Json peers = Json::array();
  for (const PeerReport& peer : report.peers) {
    peers.push_back({{"id", to_hex(peer.id)},
                     {"address", peer.address},
                     {"fetched_bytes", peer.fetched_bytes},
                     {"sent_bytes", peer.sent_bytes}});
  }
  return {{"event", "done"},
          {"id", to_hex(report.id)},
          {"seconds", report.seconds},
          {"selected_bytes", report.selected_bytes},
          {"wanted_bytes", report.wanted_bytes},
          {"fetched_bytes", report.fetched_bytes},
          {"duplicate_bytes", report.duplicate_bytes},
          {"control_bytes", report.control_bytes},
          {"manifest_bytes", report.manifest_bytes},
          {"reused_bytes", report.reused_bytes},
          {"copied_bytes", report.copied_bytes},
          {"sent_bytes", report.sent_bytes},
          {"peak_private_bytes", report.memory.peak_private_bytes},
          {"memory",
           {{"pool_bytes_max", report.memory.pool_bytes_max},
            {"pool_peak_bytes", report.memory.pool_peak_bytes},
            {"undurable_bytes_max", report.memory.undurable_bytes_max},
            {"undurable_peak_bytes", report.memory.undurable_peak_bytes},
            {"piece_state_bytes_max", report.memory.piece_state_bytes_max},
            {"manifest_bytes", report.memory.manifest_bytes}}},
          {"layout", layout_name(report.layout)},
          {"addresses", report.addresses},
          {"engine",
           {{"name", report.engine.name},
            {"registered_buffers", report.engine.registered_buffers},
            {"submissions", report.engine.submissions},
            {"operations", report.engine.operations}}},
          {"network_threads", report.network_threads},
          {"peers", peers}};
}

void print_summary(const FetchReport& report, const std::string& directory) {
  const std::uint64_t fetched = report.fetched_bytes - report.duplicate_bytes;
  fmt::print(stderr, "{} of {} fetched in {} ({}) from {} peer{}", bytes_text(fetched),
             bytes_text(report.wanted_bytes), seconds_text(report.seconds),
             rate_text(static_cast<double>(fetched) / report.seconds), report.peers.size(),
             report.peers.size() == 1 ? "" : "s");
  if (report.reused_bytes > 0)
    fmt::print(stderr, "; {} were here", bytes_text(report.reused_bytes));
  if (report.duplicate_bytes > 0) {
    fmt::print(stderr, "; {} came twice", bytes_text(report.duplicate_bytes));
  }
  fmt::print(stderr, "\n{}{}\n", report.engine.name,
             report.engine.name == "uring"
                 ? fmt::format(", {} submissions, {} buffers", report.engine.submissions,
                               report.engine.registered_buffers ? "registered" : "plain")
                 : "");
  fmt::print("{}\n", directory);
}

int dry_run(Node& node, const Ticket& ticket, FetchOptions options, EventLines& events,
            const FetchArguments& arguments) {
  const auto plan = node.plan(ticket, std::move(options));
  if (!plan) return events.error(plan.error(), report_error(plan.error()));
  if (arguments.json) {
    events.print({{"event", "plan"},
                  {"selected_bytes", plan->selected_bytes},
                  {"wanted_bytes", plan->wanted_bytes},
                  {"manifest_bytes", plan->manifest_bytes},
                  {"pieces", plan->pieces},
                  {"tensors", plan->tensors},
                  {"files", plan->files}});
    return kExitDone;
  }
  fmt::print("{} in {} pieces: {} tensors, {} files\n", bytes_text(plan->wanted_bytes),
             plan->pieces, plan->tensors, plan->files.size());
  for (const std::string& file : plan->files) fmt::print("  {}\n", file);
  return kExitDone;
}

Result<milliseconds> parse_linger(const std::string& text) {
  if (text == "forever") return kForever;
  double seconds = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || seconds < 0 ||
      seconds > 1e9) {
    return fail(Errc::kUsage, "--linger takes seconds, or 'forever'; not '" + text + "'");
  }
  return milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

int run(const FetchArguments& arguments, Context& context) {
  EventLines events(arguments.json);
  const auto refuse = [&](const Error& error) { return events.error(error, report_error(error)); };
  const auto ticket = Ticket::parse(arguments.ticket);
  if (!ticket) return refuse(ticket.error());
  const auto selection = selection_of(arguments.selection);
  if (!selection) return refuse(selection.error());
  const auto linger = parse_linger(arguments.linger);
  if (!linger) return refuse(linger.error());
  if (ticket->peers.empty() && arguments.peers.empty()) {
    return refuse({Errc::kUsage, "the ticket names no peer: add --peer HOST:PORT"});
  }
  NodeOptions node_settings = node_options(context.common, arguments.network);
  node_settings.share = node_settings.share && !arguments.dry_run;
  auto node = Node::start(std::move(node_settings));
  if (!node) return refuse(node.error());

  ProgressView view(context.common.quiet || arguments.json);
  FetchOptions options{
      .directory = arguments.directory,
      .selection = *selection,
      .layout = layout_from_name(arguments.layout),
      .order = arguments.order == "layers" ? FetchOrder::kLayers : FetchOrder::kRarest,
      .reuse = !arguments.no_reuse,
      .peers = arguments.peers,
      .stall_timeout = milliseconds(static_cast<std::int64_t>(arguments.stall_timeout * 1000))};
  if (arguments.dry_run) return dry_run(**node, *ticket, std::move(options), events, arguments);
  options.on_progress = [&](const FetchProgress& progress) {
    view.show(progress);
    events.progress(progress);
  };
  const auto fetch = (*node)->fetch(*ticket, std::move(options));
  context.signals.on_signal([fetch] { fetch->cancel(); });
  const auto report = fetch->wait();
  view.finish();
  if (!report) {
    context.signals.on_signal({});
    if (report.error().code == Errc::kCancelled && context.signals.exit_code() != 0) {
      report_error(report.error());
      return events.error(report.error(), context.signals.exit_code());
    }
    return refuse(report.error());
  }
  if (arguments.json) {
    events.print(done_event(*report));
  } else if (!context.common.quiet) {
    print_summary(*report, arguments.directory);
    (void)std::fflush(stdout);
  }
  fetch->linger(kHandover, *linger);
  context.signals.on_signal({});
  return context.signals.exit_code();
}

}  // namespace

void add_fetch(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<FetchArguments>();
  auto* command =
      app.add_subcommand("fetch", "Fetch a checkpoint, or the part that this machine needs");
  command->add_option("TICKET", arguments->ticket, "As `shardswarm seed` prints it")->required();
  command->add_option("--to", arguments->directory, "Directory to fetch into")->required();
  add_layout(*command, arguments->layout);
  command
      ->add_option("--order", arguments->order,
                   "rarest: all nodes are done soonest; layers: a loader can begin with the first")
      ->check(CLI::IsMember({"rarest", "layers"}))
      ->capture_default_str();
  command->add_flag("--no-reuse", arguments->no_reuse,
                    "Take nothing from other directories of this machine");
  command->add_option("--peer", arguments->peers, "A peer to ask, HOST:PORT (repeatable)");
  command->add_option("--linger", arguments->linger,
                      "Seconds to go on serving when done, or 'forever'");
  command
      ->add_option("--stall-timeout", arguments->stall_timeout,
                   "Seconds without any progress before giving up, resumable")
      ->check(CLI::Range(0.1, 1e6))
      ->capture_default_str();
  command->add_flag("--dry-run", arguments->dry_run,
                    "Say what the selection amounts to; write nothing");
  command->add_flag("--json", arguments->json, "One JSON object a line on stdout");
  add_selection(*command, arguments->selection);
  add_network(*command, arguments->network);
  add_state(*command, context.common);
  command->callback([arguments, &context] { context.exit_code = run(*arguments, context); });
}

}  // namespace shardswarm::cli
