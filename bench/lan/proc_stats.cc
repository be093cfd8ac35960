#include "bench/lan/proc_stats.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

namespace shardswarm::bench {
namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The number after "KEY:" of a file as /proc/PID/status and /proc/PID/io; 0 if there is none.
std::uint64_t value_of(const std::string& text, const std::string& key) {
  std::size_t at = text.starts_with(key) ? 0 : text.find("\n" + key);
  if (at == std::string::npos) return 0;
  at = text.find(':', at) + 1;
  return std::strtoull(text.c_str() + at, nullptr, 10);
}

// What stands after "KEY   : " of the first such line of a file as /proc/cpuinfo; empty if there is
// none.
std::string text_after(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    if (!line.starts_with(key) || colon == std::string::npos) continue;
    const std::size_t from = line.find_first_not_of(" \t", colon + 1);
    return from == std::string::npos ? std::string() : line.substr(from);
  }
  return {};
}

double cpu_seconds(pid_t pid) {
  const std::string text = contents(fmt::format("/proc/{}/stat", pid));
  const std::size_t name_end = text.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0, system = 0, children_user = 0, children_system = 0;
  fields >> user >> system >> children_user >> children_system;
  return (user + system + children_user + children_system) /
         static_cast<double>(::sysconf(_SC_CLK_TCK));
}

using Addresses = std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)>;

Addresses addresses() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) list = nullptr;
  return {list, &::freeifaddrs};
}

std::string text_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = nullptr;
  if (address != nullptr && address->sa_family == AF_INET) {
    bytes = &reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
  } else if (address != nullptr && address->sa_family == AF_INET6) {
    bytes = &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  }
  if (bytes == nullptr) return {};
  ::inet_ntop(address->sa_family, bytes, text.data(), text.size());
  return text.data();
}

}  // namespace

std::vector<pid_t> process_tree(pid_t root) {
  std::vector<pid_t> tree = {root};
  for (std::size_t at = 0; at < tree.size(); ++at) {
    std::error_code error;
    const std::string tasks = fmt::format("/proc/{}/task", tree[at]);
    for (std::filesystem::directory_iterator task(tasks, error), end; !error && task != end;
         task.increment(error)) {
      std::istringstream children(contents(task->path() / "children"));
      for (pid_t child = 0; children >> child;) tree.push_back(child);
    }
  }
  return tree;
}

TreeStats memory_of(const std::vector<pid_t>& tree) {
  TreeStats stats;
  for (const pid_t pid : tree) {
    const std::string status = contents(fmt::format("/proc/{}/status", pid));
    stats.private_bytes += value_of(status, "RssAnon") * 1024;
    stats.resident_bytes += value_of(status, "VmRSS") * 1024;
  }
  return stats;
}

TreeStats stats_of(const std::vector<pid_t>& tree) {
  TreeStats stats = memory_of(tree);
  for (const pid_t pid : tree) {
    stats.cpu_seconds += cpu_seconds(pid);
    stats.written_bytes += value_of(contents(fmt::format("/proc/{}/io", pid)), "write_bytes");
  }
  return stats;
}

std::uint64_t peak_resident_bytes(pid_t pid) {
  return value_of(contents(fmt::format("/proc/{}/status", pid)), "VmHWM") * 1024;
}

Machine this_machine() {
  Machine machine;
  utsname names{};
  ::uname(&names);
  machine.host_name = names.nodename;
  machine.kernel = names.release;
  machine.cpu = text_after(contents("/proc/cpuinfo"), "model name");
  machine.cpus = std::max(1U, std::thread::hardware_concurrency());
  machine.memory_bytes = value_of(contents("/proc/meminfo"), "MemTotal") * 1024;
  const Addresses list = addresses();
  for (const ifaddrs* one = list.get(); one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    const std::string text = text_of(one->ifa_addr);
    if (machine.address.empty() && !text.starts_with("127.") && !text.starts_with("169.254.")) {
      machine.address = text;
    }
  }
  return machine;
}

std::string interface_of(const std::string& address) {
  if (address.starts_with("127.")) return "lo";  // which has all of them, but names one
  const Addresses list = addresses();
  for (const ifaddrs* one = list.get(); one != nullptr; one = one->ifa_next) {
    if (text_of(one->ifa_addr) == address) return one->ifa_name;
  }
  return {};
}

bool is_loopback(const std::string& interface) { return interface == "lo"; }

Counters interface_counters(const std::string& interface) {
  std::istringstream lines(contents("/proc/self/net/dev"));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    const std::size_t name = line.find_first_not_of(' ');
    if (colon == std::string::npos || line.substr(name, colon - name) != interface) continue;
    std::istringstream fields(line.substr(colon + 1));
    Counters counters;
    std::string skipped;
    fields >> counters.received;
    for (int field = 1; field < 8; ++field) fields >> skipped;
    fields >> counters.sent;
    return counters;
  }
  return {};
}

}  // namespace shardswarm::bench
