// Options that several commands share: what they set, and their rows in the tables.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/context.h"

namespace shardswarm::cli {

// Headings of the help, in the order in which commands use them.
namespace heading {
inline constexpr const char* kSelection = "What to bring";
inline constexpr const char* kDirectory = "The directory";
inline constexpr const char* kNetwork = "Network";
inline constexpr const char* kTrust = "Keys";
inline constexpr const char* kDrop = "What to drop";
inline constexpr const char* kLimits = "Bandwidth (bytes a second: 20M, 50MiB, 200mbit, off)";
inline constexpr const char* kOutput = "Output";
inline constexpr const char* kGlobal = "Every command";
inline constexpr const char* kMeasuring = "Measuring";
}  // namespace heading

// Where a node listens that serves nothing: the usual ports are for those that do.
inline constexpr const char* kAnyPort = ":0";

struct State {
  std::string directory;
  std::filesystem::path path() const {
    return directory.empty() ? default_state_directory() : std::filesystem::path(directory);
  }
};

struct Network {
  std::string listen;
  std::vector<std::string> advertise;
  std::string site;
  std::string key;
  bool insecure = false;
  bool no_kernel_tls = false;
  bool no_share = false;
  std::string io;
  unsigned network_threads = 0;
  std::string congestion_control;
  std::string rules;
  RateLimits limits;
};

struct SelectionFlags {
  std::map<std::string, std::vector<std::string>> lists;  // by flag, "--layers"
  std::optional<std::string> json;                        // in place of the others
};

void add_state(CommandSpec& command, State& state);
void add_network(CommandSpec& command, Network& network);
void add_trust(CommandSpec& command, Network& network);  // --key and --insecure
void add_selection(CommandSpec& command, SelectionFlags& flags,
                   const char* heading = heading::kSelection);
OptionSpec layout_option(std::string& layout);
OptionSpec json_option(bool& json, std::string text);

// A setter of a timeout, as cli/quantity.h reads durations: at least `least`. "forever" is a year:
// timeouts are added to times, and multiplied.
Setter timeout(std::chrono::milliseconds& target, std::chrono::milliseconds least);

// A setter of nodes to ask, appended. "a,b" counts as two; the commas of a ticket stand between the
// addresses of one.
Setter into_nodes(std::vector<std::string>& nodes);

Result<Selection> selection_of(const SelectionFlags& flags);
NodeOptions node_options(Context& context, const State& state, const Network& network);

}  // namespace shardswarm::cli
