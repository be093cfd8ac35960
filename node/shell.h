// The shell around the core: sockets, timers, storage. Everything here runs on the network thread,
// unless a comment says otherwise; NodeImpl (node.cc) is the door for other threads.
//
// Its work is that of its parts: Turns moves bytes and lets the core decide, Network has the
// sockets, ModelStores the files, FetchDesk the callers' fetches.
#pragma once

#include <asio/steady_timer.hpp>
#include <functional>
#include <optional>
#include <string_view>

#include "node/fetch_desk.h"
#include "node/model_stores.h"
#include "node/network.h"
#include "node/shell_context.h"
#include "node/turns.h"

namespace shardswarm {

class Shell {
 public:
  // Options are complete: key file, state directory and listening address filled in.
  Shell(NodeOptions options, std::optional<Identity> identity, const NodeId& id);
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;

  Result<void> listen() { return network_.listen(); }  // before run()
  void run();   // the network thread's whole life; returns after stop()
  void stop();  // ends fetches resumable, says goodbye, then lets run() return
  // Any thread.
  void post(std::function<void()> job) { context_.post(std::move(job)); }
  void log(LogLevel level, std::string_view text) const { context_.log(level, text); }
  const Listener& listener() const { return network_.listener(); }  // after listen()
  StorageEnvironment storage() { return stores_.environment(); }

  FetchDesk& fetches() { return fetches_; }
  ModelStatus status(ModelKey model) const { return context_.core.status(model); }

 private:
  void carry_out(Action&& action);
  void every_tick();
  void stop_if_quiet();

  ShellContext context_;
  Turns turns_;
  Network network_;
  ModelStores stores_;
  FetchDesk fetches_;
  asio::steady_timer tick_;  // progress, memory
  asio::steady_timer stop_deadline_;
};

}  // namespace shardswarm
