// The hosts of a measurement with their agents: from a file by ssh, network namespaces of this
// machine, Slurm nodes, or loopback. One thread.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "bench/lan/agent_link.h"
#include "bench/lan/options.h"

namespace shardswarm::bench {

// Where the programs are on a host.
struct Programs {
  std::string bench, shardswarm, make_checkpoint;  // paths
  std::string rivals;                              // the directory of the adapters
};

class Cluster {
 public:
  explicit Cluster(Loop& loop) : loop_(loop) {}  // for start()
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  // `wanted`: how many hosts on loopback, where nobody names any. All agents run, clocks are
  // aligned, and each host has a directory of ours.
  static Result<std::unique_ptr<Cluster>> start(Loop& loop, const Options& options,
                                                std::size_t wanted);
  ~Cluster();  // ends all agents side by side, then removes the namespaces

  std::size_t size() const { return links_.size(); }
  AgentLink& operator[](std::size_t host) { return *links_[host]; }
  const AgentLink& operator[](std::size_t host) const { return *links_[host]; }
  const Programs& programs(std::size_t host) const { return programs_[host]; }
  // Which host has this address, with or without a port; empty if none.
  std::string host_of(std::string_view address) const;

 private:
  Result<std::vector<HostSpec>> hosts_of(const Options& options, std::size_t wanted);
  Result<std::vector<HostSpec>> make_namespaces(const Options& options, std::size_t count);
  Result<void> launch(const Options& options, HostSpec host);

  Loop& loop_;
  std::shared_ptr<Process> box_;  // the network in a box; lives as long as its stdin is open
  std::vector<std::unique_ptr<AgentLink>> links_;
  std::vector<Programs> programs_;
};

}  // namespace shardswarm::bench
