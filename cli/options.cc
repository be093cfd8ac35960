#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/quantity.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

constexpr std::chrono::milliseconds kTimeoutMax = std::chrono::hours(24 * 365);

// The smallest limit that is kept to is RateLimits::kRateMin; 0 is no limit.
OptionSpec limit_option(std::string name, std::uint64_t& limit, std::string text) {
  const Setter set = [&limit](std::string_view value) -> Result<void> {
    const auto rate = parse_rate(value);
    if (!rate) return std::unexpected(rate.error());
    // "0" may be meant as nothing at all: whoever wants no limit says so.
    const bool off = value.find_first_of("0123456789") == std::string_view::npos;
    if (!off && *rate < RateLimits::kRateMin) {
      return fail(Errc::kUsage, fmt::format("'{}' is too slow: write at least {}KiB, or off", value,
                                            RateLimits::kRateMin / 1024));
    }
    limit = *rate;
    return {};
  };
  return {.names = std::move(name),
          .value = "RATE",
          .text = std::move(text),
          .group = heading::kLimits,
          .set = set};
}

Setter selection_value(SelectionFlags& flags, const std::string& flag) {
  return into(flags.lists[flag]);
}

}  // namespace

void add_state(CommandSpec& command, State& state) {
  command.options.push_back({.names = "--state",
                             .value = "DIR",
                             .text = "Where this machine's record of models is kept "
                                     "(default: $XDG_STATE_HOME/shardswarm)",
                             .group = heading::kDirectory,
                             .set = into(state.directory),
                             .rare = true});
}

void add_trust(CommandSpec& command, Network& network) {
  command.options.push_back({.names = "--key",
                             .value = "FILE",
                             .text = "The cluster key, or a file that holds it (default: "
                                     "$SHARDSWARM_KEY, then ~/.config/shardswarm/cluster.key)",
                             .group = heading::kTrust,
                             .set = into(network.key)});
  command.options.push_back(
      {.names = "--insecure",
       .text = "Use no key: anybody who reaches this machine can fetch, and nothing is encrypted",
       .group = heading::kTrust,
       .set = into(network.insecure),
       .conflicts = {"--key"}});
}

void add_network(CommandSpec& command, Network& network) {
  const auto add = [&](OptionSpec option) {
    if (option.group.empty()) option.group = heading::kNetwork;
    command.options.push_back(std::move(option));
  };
  add({.names = "--listen",
       .value = "HOST:PORT",
       .text = "The address to listen on: HOST:PORT, HOST or :PORT (default: all addresses, the "
               "first free port up to 17991: `seed` begins with 17976, `fetch` with 17977)",
       .set = into(network.listen)});
  add({.names = "--advertise",
       .value = "HOST:PORT",
       .text = "An address to tell others instead of the listening one; HOST alone means the port "
               "that is listened on",
       .set = into(network.advertise),
       .list = true});
  add({.names = "--site",
       .value = "NAME",
       .text = "Where this node is (rack1, fra/rack1): pieces come from nodes with the same name "
               "where they can",
       .set = into(network.site)});
  add_trust(command, network);
  add(limit_option("--upload-limit", network.limits.upload, "To all peers together"));
  add(limit_option("--download-limit", network.limits.download, "From all peers together"));
  add(limit_option("--peer-upload-limit", network.limits.peer_upload, "To each peer"));
  add(limit_option("--peer-download-limit", network.limits.peer_download, "From each peer"));
  add({.names = "--no-share",
       .text = "Serve no pieces of models that were neither seeded nor fetched here",
       .set = into(network.no_share),
       .rare = true});
  add({.names = "--io",
       .value = "ENGINE",
       .text = "What reads and writes the disk",
       .set = into(network.io),
       .rare = true,
       .choices = {"uring", "posix"}});
  add({.names = "--network-threads",
       .value = "N",
       .text = "Threads that may move bytes of several connections at once (default: one for every "
               "four cores, at most 8)",
       .set = [&network](std::string_view value) -> Result<void> {
         const auto number = parse_whole(value, 1, kNetworkThreadsMax);
         if (!number) return std::unexpected(number.error());
         network.network_threads = static_cast<unsigned>(*number);
         return {};
       },
       .rare = true});
  add({.names = "--no-kernel-tls",
       .text = "Encrypt in this process, also where the kernel can",
       .set = into(network.no_kernel_tls),
       .rare = true});
  add({.names = "--congestion-control",
       .value = "NAME",
       .text = "TCP's: a name that the kernel knows, or 'system' (default: the system's, but cubic "
               "instead of bbr on the local network)",
       .set = into(network.congestion_control),
       .rare = true});
  add({.names = "--rules",
       .value = "NAME",
       .text = "Scheduling rules, to compare them",
       .group = heading::kMeasuring,
       .set = into(network.rules),
       .rare = true,
       .choices = {kRuleSetNames.begin(), kRuleSetNames.end()}});
}

void add_selection(CommandSpec& command, SelectionFlags& flags, const char* heading) {
  const auto add = [&](const std::string& name, std::string value, std::string text, bool list,
                       bool rare) -> OptionSpec& {
    command.options.push_back({.names = name,
                               .value = std::move(value),
                               .text = std::move(text),
                               .group = heading,
                               .set = selection_value(flags, name),
                               .rare = rare,
                               .repeatable = true,
                               .list = list,
                               .conflicts = {"--selection"}});
    return command.options.back();
  };
  const auto once = [](OptionSpec& option) -> OptionSpec& {
    option.repeatable = false;
    return option;
  };
  once(add("--for", "ENGINE", "What one rank of an inference engine reads (docs/engines.md)", false,
           false))
      .choices = {"exo", "mlx-lm", "vllm", "sglang", "transformers"};
  once(
      add("--rank", "R/N", "With --for: rank R of N, counted from 0 (default: 0/1)", false, false));
  once(add("--weights", "W,W,...",
           "With --for: memory of each rank's machine, such as 64,32,16 (default: all equal)",
           false, false));
  add("--layers", "A-B", "Layers A to B, both included, counted from 0", true, false);
  add("--stage", "K/N", "The Kth of N pipeline stages, counted from 1", true, false);
  add("--tensors", "GLOB", "Tensors by name", false, false);
  add("--files", "GLOB", "Files by path; alone, just these and the configuration", false, false);
  add("--stack", "NAME",
      "The stack of layers that is meant; alone, all of it. `inspect` lists the stacks", false,
      true);
  add("--experts", "A-B", "Of the experts only A to B, both included, counted from 0", true, true);
  add("--slice", "GLOB:R/N", "Of these tensors only rank R of N along dimension 0, from 0", false,
      true);
  add("--exclude", "GLOB", "Leave these tensors out", false, true);
  once(add("--shared", "WHICH",
           "Tensors outside the layers: with the layers at their edge (the default); the same, and "
           "vision and audio towers with any layers; or all of them with any layers",
           false, true))
      .choices = {"edges", "towers", "all"};
  command.options.push_back({.names = "--selection",
                             .value = "JSON",
                             .text = "The selection as JSON, in place of the options above",
                             .group = heading,
                             .set = into(flags.json),
                             .rare = true});
}

OptionSpec layout_option(std::string& layout) {
  return {.names = "--layout",
          .value = "LAYOUT",
          .text =
              "original: the files as they were (the default for everything); compact: one "
              "file for each layer, with just what is selected (the default for a part); "
              "mirror: original names and offsets, sparse",
          .group = heading::kDirectory,
          .set = into(layout),
          .choices = {"original", "compact", "mirror"}};
}

OptionSpec json_option(bool& json, std::string text) {
  return {.names = "--json", .text = std::move(text), .group = heading::kOutput, .set = into(json)};
}

Setter timeout(std::chrono::milliseconds& target, std::chrono::milliseconds least) {
  return [&target, least](std::string_view value) -> Result<void> {
    const auto parsed = parse_duration(value);
    if (!parsed) return std::unexpected(parsed.error());
    if (*parsed < least) {
      return fail(Errc::kUsage,
                  fmt::format("'{}' is too short: write at least {}ms", value, least.count()));
    }
    target = std::min(*parsed, kTimeoutMax);
    return {};
  };
}

Setter into_nodes(std::vector<std::string>& nodes) {
  return [&nodes](std::string_view value) -> Result<void> {
    const bool ticket = value.find_first_of("/?") != std::string_view::npos;
    while (true) {
      const std::size_t comma = ticket ? std::string_view::npos : value.find(',');
      nodes.emplace_back(value.substr(0, comma));
      if (comma == std::string_view::npos) return {};
      value.remove_prefix(comma + 1);
    }
  };
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
  return selection;
}

NodeOptions node_options(Context& context, const State& state, const Network& network) {
  NodeOptions options;
  options.listen = network.listen;
  options.advertise = network.advertise;
  options.site = network.site;
  options.key = network.key;
  options.insecure = network.insecure;
  options.kernel_tls = !network.no_kernel_tls;
  options.share = !network.no_share;
  options.limits = network.limits;
  options.network_threads = network.network_threads;
  options.congestion_control = network.congestion_control;
  options.state_directory = state.path();
  options.io = engine_kind_from_name(network.io).value_or(EngineKind::kAuto);
  options.rules = rule_set_from_name(network.rules).value_or(RuleSet::kLateBinding);
  options.log = [&terminal = context.terminal, verbose = context.common.verbose](
                    LogLevel level, std::string_view text) {
    switch (level) {
      case LogLevel::kDebug:
        if (verbose >= 2) terminal.message(LineKind::kDebug, text);
        break;
      case LogLevel::kInfo:
        if (verbose >= 1) terminal.message(LineKind::kInfo, text);
        break;
      case LogLevel::kWarning:
        terminal.message(LineKind::kWarning, text);
        break;
      case LogLevel::kError:
        terminal.message(LineKind::kError, text);
        break;
    }
  };
  return options;
}

}  // namespace shardswarm::cli
