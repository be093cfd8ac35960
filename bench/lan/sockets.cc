#include "bench/lan/sockets.h"

#include <fmt/format.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

namespace shardswarm::bench {
namespace {

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

// Inodes of the sockets that these processes have open.
std::vector<std::uint64_t> sockets_of(const std::vector<pid_t>& processes) {
  constexpr std::string_view kPrefix = "socket:[";
  std::vector<std::uint64_t> inodes;
  for (const pid_t pid : processes) {
    std::error_code error;
    for (std::filesystem::directory_iterator file(fmt::format("/proc/{}/fd", pid), error), end;
         !error && file != end; file.increment(error)) {
      std::error_code gone;
      const std::string target = std::filesystem::read_symlink(file->path(), gone).string();
      if (!gone && target.starts_with(kPrefix)) {
        inodes.push_back(std::strtoull(target.c_str() + kPrefix.size(), nullptr, 10));
      }
    }
  }
  std::ranges::sort(inodes);
  return inodes;
}

Counters counters_in(const nlmsghdr* header, const inet_diag_msg* message) {
  auto left = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof *message));
  for (auto* attribute = reinterpret_cast<const rtattr*>(message + 1); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type != INET_DIAG_INFO) continue;
    tcp_info info{};  // older kernels say less
    std::memcpy(&info, RTA_DATA(attribute), std::min(sizeof info, RTA_PAYLOAD(attribute)));
    return {.received = info.tcpi_bytes_received, .sent = info.tcpi_bytes_acked};
  }
  return {};
}

}  // namespace

SocketCounters::SocketCounters()
    : netlink_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {}

SocketCounters::~SocketCounters() {
  if (netlink_ >= 0) ::close(netlink_);
}

Counters SocketCounters::update(const std::vector<pid_t>& processes) {
  const auto inodes = sockets_of(processes);
  if (!inodes.empty() && netlink_ >= 0) {
    ask(inodes, AF_INET);
    ask(inodes, AF_INET6);
  }
  Counters sum;
  for (const auto& [inode, counters] : by_inode_) {
    sum.received += counters.received;
    sum.sent += counters.sent;
  }
  return sum;
}

void SocketCounters::ask(const std::vector<std::uint64_t>& inodes, int family) {
  Request request{};
  request.header = {.nlmsg_len = sizeof request,
                    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP};
  request.body.sdiag_family = static_cast<std::uint8_t>(family);
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_ext = 1 << (INET_DIAG_INFO - 1);
  request.body.idiag_states = ~0U;
  if (::send(netlink_, &request, sizeof request, 0) < 0) return;
  alignas(nlmsghdr) std::array<char, 65536> buffer;
  while (true) {
    const ssize_t count = ::recv(netlink_, buffer.data(), buffer.size(), 0);
    if (count <= 0) return;
    auto left = static_cast<unsigned>(count);
    for (auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) return;
      const auto* message = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
      if (!std::ranges::binary_search(inodes, std::uint64_t{message->idiag_inode})) continue;
      // Both only grow; a socket that is closing may say nothing any more.
      Counters& known = by_inode_[message->idiag_inode];
      const Counters now = counters_in(header, message);
      known.received = std::max(known.received, now.received);
      known.sent = std::max(known.sent, now.sent);
    }
  }
}

}  // namespace shardswarm::bench
