// What the parts of a node's shell have in common: the network thread's queue and clock, the core,
// and the connections. Network thread only, unless a comment says otherwise.
#pragma once

#include <asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>

#include "base/buffer_pool.h"
#include "identity/identity.h"
#include "node/shardswarm.h"
#include "swarm/core.h"

namespace shardswarm {

class Connection;

struct ShellContext {
  // Options are complete: key file, state directory and listening address filled in.
  ShellContext(NodeOptions o, std::optional<Identity> i, const NodeId& id);
  ShellContext(const ShellContext&) = delete;
  ShellContext& operator=(const ShellContext&) = delete;

  void post(std::function<void()> job);  // any thread
  Time now() const { return std::chrono::steady_clock::now() - started; }
  void log(LogLevel level, std::string_view text) const;
  // Whether it may talk to other machines.
  bool authenticated() const { return identity.has_value() || options.insecure; }
  // Null if there is no such connection (any more).
  std::shared_ptr<Connection> connection(ConnectionId id) const;

  NodeOptions options;
  std::optional<Identity> identity;
  // Buffers outlive everything that may hold one, posted jobs included.
  BufferPool receive_buffers;
  BufferPool send_buffers;  // under TLS, and of shared models
  asio::io_context io{1};
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  Core core;
  std::map<ConnectionId, std::shared_ptr<Connection>> connections;
  bool stopping = false;
};

}  // namespace shardswarm
