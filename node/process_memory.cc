#include "node/process_memory.h"

#include <sys/resource.h>

#include <fstream>
#include <string>

namespace shardswarm {

std::uint64_t private_bytes() {
#ifdef __linux__
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
  }
  return 0;
#else
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::uint64_t>(usage.ru_maxrss);
#endif
}

}  // namespace shardswarm
