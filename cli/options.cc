#include "cli/options.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cli/exit_code.h"
#include "node/directory.h"

namespace shardswarm::cli {

void add_state(CLI::App& command, Common& common) {
  command.add_option("--state", common.state,
                     "State directory (default: $XDG_STATE_HOME/shardswarm)");
}

namespace {

// "20MB", "50MiB", "200mbit", or plain bytes; a second. Whole numbers.
void add_limit(CLI::App& command, const std::string& flag, std::uint64_t& limit, const char* text) {
  const std::map<std::string, std::uint64_t> units = {{"B", 1},
                                                      {"kB", 1000},
                                                      {"MB", 1'000'000},
                                                      {"GB", 1'000'000'000},
                                                      {"KiB", 1ULL << 10},
                                                      {"MiB", 1ULL << 20},
                                                      {"GiB", 1ULL << 30},
                                                      {"kbit", 125},
                                                      {"mbit", 125'000},
                                                      {"gbit", 125'000'000}};
  // A function, so that an empty text is seen and refused.
  const auto set = [units, flag, &limit](const std::string& value) {
    std::string bytes = value;
    const bool number = !value.empty() && value.front() >= '0' && value.front() <= '9';
    try {
      if (number &&
          CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::CASE_INSENSITIVE)(bytes).empty() &&
          CLI::detail::lexical_cast(bytes, limit) && limit >= RateLimits::kRateMin) {
        return;
      }
    } catch (const CLI::ValidationError&) {
      // Said below, with the flag.
    }
    throw CLI::ValidationError(
        flag,
        fmt::format("'{}' is no limit: at least {} KiB a second, such as 20MB, 50MiB or 200mbit",
                    value, RateLimits::kRateMin / 1024));
  };
  command.add_option_function<std::string>(flag, set, text)
      ->type_name("RATE")
      ->group("Rate limits, a second: 20MB, 50MiB, 200mbit");
}

}  // namespace

void add_network(CLI::App& command, Network& network) {
  command.add_option("--listen", network.listen, "Address to listen on, HOST:PORT");
  command.add_option("--advertise", network.advertise,
                     "Address to tell others instead of the listening one (repeatable)");
  command.add_option("--site", network.site,
                     "Where this node is (rack1, fra/rack1): pieces come from nodes with the same "
                     "label where they can");
  add_trust(command, network);
  command.add_flag("--no-share", network.no_share,
                   "Serve no pieces of models that were neither seeded nor fetched here");
  command.add_option("--io", network.io, "Disk engine: uring or posix")
      ->check(CLI::IsMember({"uring", "posix"}));
  command
      .add_option("--network-threads", network.network_threads,
                  "That may move bytes of several connections at once (default: one for every "
                  "four cores, at most 8)")
      ->check(CLI::Range(1U, kNetworkThreadsMax));
  command.add_flag("--no-kernel-tls", network.no_kernel_tls,
                   "Encrypt in this process, also where the kernel can");
  command.add_option("--congestion-control", network.congestion_control,
                     "TCP's: a name that the kernel knows, or 'system' (default: the system's, but "
                     "cubic instead of bbr on the local network)");
  command.add_option("--rules", network.rules, "Scheduling rules, to compare them")
      ->check(CLI::IsMember(std::vector<std::string>(kRuleSetNames.begin(), kRuleSetNames.end())))
      ->group("Measuring");
  RateLimits& limits = network.limits;
  add_limit(command, "--upload-limit", limits.upload, "To all peers together");
  add_limit(command, "--download-limit", limits.download, "From all peers together");
  add_limit(command, "--peer-upload-limit", limits.peer_upload, "To each peer");
  add_limit(command, "--peer-download-limit", limits.peer_download, "From each peer");
}

void add_trust(CLI::App& command, Network& network) {
  auto* key = command.add_option("--key", network.key,
                                 "Cluster key file (default: $SHARDSWARM_KEY, then "
                                 "$XDG_CONFIG_HOME/shardswarm/cluster.key)");
  command
      .add_flag("--insecure", network.insecure,
                "No encryption and no authentication, beyond this machine too")
      ->excludes(key);
}

void add_selection(CLI::App& command, SelectionFlags& flags) {
  // A function, so that an empty text is there, too.
  auto* json = command.add_option_function<std::string>(
      "--selection", [&flags](const std::string& text) { flags.json = text; },
      "The selection as JSON, in place of the flags below");
  json->group("Selection");
  const auto add = [&](const std::string& flag, const char* text) {
    command.add_option(flag, flags.lists[flag], text)->excludes(json)->group("Selection");
  };
  add("--layers", "Layers A-B, both inclusive, from 0 (repeatable)");
  add("--stage", "Pipeline stage K/N, from 1 (repeatable)");
  add("--tensors", "Tensors by name, a glob (repeatable)");
  add("--stack",
      "The stack that layers and stages count in, or all of it (repeatable; `inspect` lists them)");
  add("--experts", "Of the experts only A-B, both inclusive, from 0 (repeatable)");
  add("--slice", "GLOB:R/N: of these tensors rank R of N along dim 0, from 0 (repeatable)");
  add("--exclude", "Not these tensors, a glob (repeatable)");
  add("--files", "Further files by path, a glob (repeatable): large ones and other formats");
  command
      .add_option("--shared", flags.shared,
                  "Tensors outside the layers: with the layers at their edge, or all with any")
      ->excludes(json)
      ->group("Selection")
      ->check(CLI::IsMember({"edges", "all"}))
      ->capture_default_str();
}

CLI::Option* add_layout(CLI::App& command, std::string& layout) {
  return command
      .add_option(
          "--layout", layout,
          "original: the files as they were; compact: one file per layer, with just what is "
          "selected; mirror: original names and offsets, sparse")
      ->check(CLI::IsMember({"original", "compact", "mirror"}));
}

Result<Selection> selection_of(const SelectionFlags& flags) {
  if (flags.json) {
    if (!flags.json->empty()) return parse_selection_json(*flags.json);
    return fail(Errc::kUsage,
                "--selection is empty: write '{\"layers\":[\"8-15\"]}', or '{}' for everything");
  }
  Selection selection;
  for (const auto& [flag, values] : flags.lists) {
    for (const std::string& value : values) {
      auto added = add_to_selection(selection, flag, value);
      if (!added) return std::unexpected(added.error());
    }
  }
  auto added = add_to_selection(selection, "--shared", flags.shared);
  if (!added) return std::unexpected(added.error());
  return selection;
}

NodeOptions node_options(const Common& common, const Network& network) {
  NodeOptions options;
  options.listen = network.listen;
  options.advertise = network.advertise;
  options.site = network.site;
  options.key_file = network.key;
  options.insecure = network.insecure;
  options.kernel_tls = !network.no_kernel_tls;
  options.share = !network.no_share;
  options.limits = network.limits;
  options.network_threads = network.network_threads;
  options.congestion_control = network.congestion_control;
  options.state_directory = common.state_directory();
  options.io = engine_kind_from_name(network.io).value_or(EngineKind::kAuto);
  options.rules = rule_set_from_name(network.rules).value_or(RuleSet::kLateBinding);
  options.log = [](LogLevel level, std::string_view text) {
    switch (level) {
      case LogLevel::kDebug:
        spdlog::debug("{}", text);
        break;
      case LogLevel::kInfo:
        spdlog::info("{}", text);
        break;
      case LogLevel::kWarning:
        spdlog::warn("{}", text);
        break;
      case LogLevel::kError:
        spdlog::error("{}", text);
        break;
    }
  };
  return options;
}

int report_error(const Error& error) {
  fmt::print(stderr, "shardswarm: error: {}\n", error.message);
  return exit_code(error.code);
}

}  // namespace shardswarm::cli
