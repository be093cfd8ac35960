// What /proc says of processes and this host. Linux. Functions without state: any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bench/lan/rates.h"

namespace shardswarm::bench {

// The process and all its descendants that are alive.
std::vector<pid_t> process_tree(pid_t root);

struct TreeStats {
  double cpu_seconds = 0;            // user and system, with descendants that were waited for
  std::uint64_t private_bytes = 0;   // RssAnon, now
  std::uint64_t resident_bytes = 0;  // VmRSS, now
  std::uint64_t written_bytes = 0;   // to block devices
};

// Of the processes that can be read. Processor time in steps of 10 ms.
TreeStats stats_of(const std::vector<pid_t>& tree);

// Anonymous memory and all resident memory, without the rest: cheap enough for every sample.
TreeStats memory_of(const std::vector<pid_t>& tree);

// Largest resident size that the process ever had; 0 if it is gone.
std::uint64_t peak_resident_bytes(pid_t pid);

struct Machine {
  std::string host_name, kernel;
  std::string cpu;  // the processor's name; empty if /proc/cpuinfo has none, as on most ARM
  std::uint32_t cpus = 0;
  std::uint64_t memory_bytes = 0;
  std::string address;  // the first that is neither loopback nor link-local; empty if none
};
Machine this_machine();

// Which interface of this network namespace has the address; empty: none.
std::string interface_of(const std::string& address);
bool is_loopback(const std::string& interface);

// All bytes that the interface has carried. Zero if there is no such interface.
Counters interface_counters(const std::string& interface);

}  // namespace shardswarm::bench
