#include "cli/options.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cli/exit_code.h"

namespace shardswarm::cli {

void add_state(CLI::App& command, Common& common) {
  command.add_option("--state", common.state,
                     "State directory (default: $XDG_STATE_HOME/shardswarm)");
}

void add_network(CLI::App& command, Network& network) {
  command.add_option("--listen", network.listen, "Address to listen on, HOST:PORT");
  command.add_option("--advertise", network.advertise,
                     "Address to tell others instead of the listening one (repeatable)");
  add_trust(command, network);
  command.add_option("--io", network.io, "Disk engine: uring or posix")
      ->check(CLI::IsMember({"uring", "posix"}));
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
  command.add_option("--layers", flags.layers, "Layers A-B, both inclusive, from 0 (repeatable)");
  command.add_option("--stage", flags.stages, "Pipeline stage K/N, from 1 (repeatable)");
  command.add_option("--tensors", flags.tensors, "Tensors by name, a glob (repeatable)");
  command.add_option("--files", flags.files,
                     "Further files by path, a glob (repeatable): large ones and other formats");
  command
      .add_option("--shared", flags.shared,
                  "Tensors outside the layers: with the layers at their edge, or all with any")
      ->check(CLI::IsMember({"edges", "all"}))
      ->capture_default_str();
}

Result<Selection> selection_of(const SelectionFlags& flags) {
  Selection selection;
  for (const std::string& text : flags.layers) {
    const auto range = parse_layer_range(text);
    if (!range) return std::unexpected(range.error());
    selection.layers.push_back(*range);
  }
  for (const std::string& text : flags.stages) {
    const auto stage = parse_stage(text);
    if (!stage) return std::unexpected(stage.error());
    selection.stages.push_back(*stage);
  }
  selection.tensors = flags.tensors;
  selection.files = flags.files;
  selection.shared = flags.shared == "all" ? SharedTensors::kAll : SharedTensors::kEdges;
  return selection;
}

NodeOptions node_options(const Common& common, const Network& network) {
  NodeOptions options;
  options.listen = network.listen;
  options.advertise = network.advertise;
  options.key_file = network.key;
  options.insecure = network.insecure;
  options.state_directory = common.state_directory();
  options.io = engine_kind_from_name(network.io).value_or(EngineKind::kAuto);
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
