// What the TCP sockets of processes have carried: on loopback, where the interface's counters are
// everybody's. Asks the kernel by netlink (sock_diag), as ss does.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <vector>

#include "bench/lan/rates.h"

namespace shardswarm::bench {

// One thread.
class SocketCounters {
 public:
  SocketCounters();
  ~SocketCounters();
  SocketCounters(const SocketCounters&) = delete;
  SocketCounters& operator=(const SocketCounters&) = delete;

  // All that the sockets of these processes have carried since the first update. What a socket
  // carried between an update and its end is not seen.
  Counters update(const std::vector<pid_t>& processes);

 private:
  void ask(const std::vector<std::uint64_t>& inodes, int family);

  int netlink_ = -1;
  std::map<std::uint64_t, Counters> by_inode_;  // as last seen, sockets that ended too
};

}  // namespace shardswarm::bench
