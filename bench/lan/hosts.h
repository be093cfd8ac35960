// Which machines take part, and what their links carry. Pure: texts in, values out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace shardswarm::bench {

// How the controller gets a process onto a host.
enum class Reach : std::uint8_t { kHere, kNamespace, kSsh, kSlurm };

struct HostSpec {
  std::string name;  // in the results; unique
  Reach reach = Reach::kHere;
  std::string target;              // of ssh: [USER@]HOST; the namespace; the Slurm node; empty here
  std::uint16_t port = 0;          // of ssh, 0: as ssh_config says
  std::string address;             // where the others reach its nodes; empty: as the agent says
  std::string directory;           // for the data; empty: as --dir says
  std::optional<double> up, down;  // bits a second; none: not known
};

// Bits a second of "200mbit", "1gbit", "64kbit", "1.5gbit". kUsage, with an example, otherwise.
Result<double> parse_rate(std::string_view text);

// One host a line, the first is the source:
//   [USER@]HOST[:PORT] [name=N] [address=IP] [dir=DIRECTORY] [rate=RATE] [up=RATE] [down=RATE]
// Empty lines and what follows '#' do not count. kUsage with the line's number.
Result<std::vector<HostSpec>> parse_hosts(std::string_view text);

// A Slurm node list, as SLURM_JOB_NODELIST has it: "node[01-03,7],login,r[1-2]n[1-2]". Leading
// zeros are kept. kUsage for anything else; kLimit above 4096 nodes.
Result<std::vector<std::string>> expand_node_list(std::string_view list);

// Hosts of this machine without namespaces: 127.0.0.1, 127.0.0.2, ... REQUIRES: 1 <= count <= 250.
std::vector<HostSpec> loopback_hosts(std::size_t count);

}  // namespace shardswarm::bench
