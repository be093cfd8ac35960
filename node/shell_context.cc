#include "node/shell_context.h"

#include <asio/post.hpp>
#include <cstring>
#include <utility>

#include "node/connection.h"
#include "transport/transport.h"

namespace shardswarm {
namespace {

// Where sendfile will not do: four pieces, the one under way and 2 ms ahead at 1.5 GB/s, for six
// peers at a time.
constexpr std::uint32_t kSendBuffersLarge = 24;
constexpr std::uint32_t kSendBuffersSmall = 64;

CoreOptions core_options(const NodeOptions& options, const NodeId& id) {
  CoreOptions core;
  core.hello.node_id = id;
  core.hello.agent = "shardswarm/0.1.0";
  core.hello.site = options.site;
  core.share = options.share;
  core.insecure = options.insecure;
  apply(options.rules, core.download, core.upload);
  core.limits = options.limits;
  core.hello.features = kFeatures;
  std::memcpy(&core.seed, id.bytes.data(), sizeof core.seed);  // another order on every node
  return core;
}

}  // namespace

ShellContext::ShellContext(NodeOptions o, std::optional<Identity> i, const NodeId& id)
    : options(std::move(o)),
      identity(std::move(i)),
      receive_buffers(limits::kBuffersLarge, limits::kBuffersSmall),
      send_buffers(kSendBuffersLarge, kSendBuffersSmall),
      core(core_options(options, id), receive_buffers) {
  // Once, before strangers connect: the kernel may have to load a module for it.
  options.kernel_tls = options.kernel_tls && identity && kernel_has_tls();
}

void ShellContext::post(std::function<void()> job) { asio::post(io, std::move(job)); }

void ShellContext::log(LogLevel level, std::string_view text) const {
  if (options.log) options.log(level, text);
}

std::shared_ptr<Connection> ShellContext::connection(ConnectionId id) const {
  const auto at = connections.find(id);
  return at == connections.end() ? nullptr : at->second;
}

}  // namespace shardswarm
