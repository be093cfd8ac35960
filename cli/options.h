// Options that several commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/signals.h"
#include "node/shardswarm.h"

namespace shardswarm::cli {

struct Common {
  bool quiet = false;
  int verbose = 0;
  std::string state;
  std::filesystem::path state_directory() const {
    return state.empty() ? default_state_directory() : std::filesystem::path(state);
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
  std::string shared = "edges";
  std::optional<std::string> json;  // in place of the others
};

void add_state(CLI::App& command, Common& common);
void add_network(CLI::App& command, Network& network);
void add_trust(CLI::App& command, Network& network);  // of it, --key and --insecure alone
void add_selection(CLI::App& command, SelectionFlags& flags);
CLI::Option* add_layout(CLI::App& command, std::string& layout);

Result<Selection> selection_of(const SelectionFlags& flags);
NodeOptions node_options(const Common& common, const Network& network);

// Prints "shardswarm: error: ..." and returns the exit code.
int report_error(const Error& error);

}  // namespace shardswarm::cli
