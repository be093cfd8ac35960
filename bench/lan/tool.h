// How a tool is started on a host, and what its lines mean: shardswarm itself, or a rival through
// its adapter (bench/rivals/NAME.py). Pure: commands and lines, no processes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/lan/cluster.h"
#include "bench/lan/json.h"

namespace shardswarm::bench {

struct Tool {
  std::string name = "shardswarm";
  Json settings = Json::object();
  std::string prepared;  // a file made from the model, below every agent's directory; empty: none
  bool ours() const { return name == "shardswarm"; }
};

// What all nodes of a run have in common.
struct Transfer {
  std::string key_file;  // on every host, relative to the agent's directory; empty: plaintext
  std::string engine = "auto";
  bool reuse = false;
  bool cold = false;  // the sources' files leave the page cache before each run
  std::vector<std::string> seed_arguments, fetch_arguments;  // shardswarm's
};

// One node, in paths of its host.
struct NodeFiles {
  std::string model;      // a source's checkpoint, or where a fetcher writes
  std::string state;      // what the tool keeps for itself
  std::string directory;  // the agent's: for configuration and keys
  std::string prepared;   // empty: none
  std::string manifest;   // list of files with sizes and digests
};

constexpr std::uint16_t kPort = 7700;  // shardswarm's, on every host's address

Command seed_command(const Tool& tool, const Transfer& transfer, const Programs& programs,
                     const NodeFiles& files, const std::string& address);

// Whom a fetcher meets: addresses.
struct Meeting {
  std::string source;
  std::string ticket;                     // what the source's ready line said
  std::vector<std::string> more_sources;  // that have the model, too
  std::vector<std::string> fetchers;      // all others
};

// `stage`: "2/4", or empty for everything.
Command fetch_command(const Tool& tool, const Transfer& transfer, const Programs& programs,
                      const NodeFiles& files, const std::string& address, const Meeting& meeting,
                      const std::string& stage);

// The ticket (empty for rivals), if this line says that a seed may be fetched from.
std::optional<std::string> ready_of(const Tool& tool, std::string_view line);

struct Done {
  std::optional<std::map<std::string, std::uint64_t>>
      fetched_from;  // by address, maybe with a port
  std::optional<std::uint64_t> wanted_bytes, duplicate_bytes, peak_private_bytes;
  bool verified = false;
};
// If this line says that a fetch has everything.
std::optional<Done> done_of(const Tool& tool, std::string_view line);

}  // namespace shardswarm::bench
