// The shell around the core: sockets, timers, storage. Everything here runs on the network thread,
// unless a comment says otherwise; NodeImpl (node.cc) is the door for other threads.
//
// It works in turns (shell_turn.cc): what is readable is received, the core settles, what it has to
// say is sent. Moving bytes between sockets and memory or files is where a network thread's time
// goes, the core's part of it is small: so when several connections move much in a turn, further
// threads help with that alone, and the core stays on this one.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "identity/identity.h"
#include "node/connection.h"
#include "node/fetch_state.h"
#include "node/fork_join.h"
#include "node/loss_log.h"
#include "node/refusal_log.h"
#include "node/shardswarm.h"
#include "storage/local_bytes.h"
#include "storage/shared_store.h"
#include "storage/workers.h"
#include "swarm/core.h"
#include "transport/congestion.h"
#include "transport/dial.h"
#include "transport/listener.h"

namespace shardswarm {

class Shell {
 public:
  // Options are complete: key file, state directory and listening address filled in.
  Shell(NodeOptions options, std::optional<Identity> identity, NodeId id);
  ~Shell();  // any thread, when run() has returned
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;

  Result<void> listen();  // before run()
  void run();             // the network thread's whole life; returns after stop()
  void stop();            // ends fetches resumable, says goodbye, then lets run() return
  // Any thread.
  void post(std::function<void()> job);
  asio::io_context& io() { return io_; }
  const Listener& listener() const { return *listener_; }  // after listen()
  StorageEnvironment storage();

  // --- for NodeImpl ---
  void start_fetch(const std::shared_ptr<FetchState>& fetch);
  void cancel_fetch(const std::shared_ptr<FetchState>& fetch);
  // Runs `done` once nothing is left to hand over (see Fetch::linger), or at the deadline.
  void when_free(const std::shared_ptr<FetchState>& fetch, std::chrono::steady_clock::time_point by,
                 std::function<void()> done);
  Result<ModelKey> start_seed(std::shared_ptr<Store> store);
  std::vector<PeerReport> peers_of(ModelKey model) const;
  ModelStatus status(ModelKey model) const { return core_->status(model); }

  // --- for Connection ---
  Core& core() { return *core_; }
  const NodeOptions& options() const { return options_; }
  Time now() const;
  void schedule_turn();
  void to_receive(ConnectionId id);  // soon: in this turn, if one is under way
  void to_send(ConnectionId id);
  void connection_closed(ConnectionId id, const std::string& address, bool dialed, bool up,
                         std::optional<Error> error);
  void piece_lost(ModelKey model, PieceIndex piece);

  void log(LogLevel level, std::string_view text) const;

 private:
  void accept(asio::ip::tcp::acceptor& acceptor);
  void drop_stranger();
  bool authenticated() const { return identity_.has_value() || options_.insecure; }
  void dial(const std::string& address);
  void adopt(asio::ip::tcp::socket socket, std::string address, std::shared_ptr<Dial> dial);
  void make_room_for(const ModelId& id);
  void turn();
  FlatSet<ConnectionId> receive();
  bool send();
  std::vector<std::shared_ptr<Connection>> connections_of(const FlatSet<ConnectionId>& ids) const;
  void pass(std::vector<std::shared_ptr<Connection>> connections, bool (Connection::*begin)(),
            bool (Connection::*end)());
  void move(const std::vector<std::shared_ptr<Connection>>& connections);
  void arm_timer();
  void every_tick();
  void let_leave();
  void carry_out(action::Dial&& a);
  void carry_out(action::CloseConnection&& a);
  void carry_out(action::ManifestReady&& a);
  void carry_out(action::StorePiece&& a);
  void carry_out(action::PreparePiece&& a);
  void carry_out(action::ReleasePiece&& a);
  void carry_out(action::FinishStore&& a);
  void carry_out(action::FetchEnded&& a);
  void carry_out(action::FindShared&& a);
  void carry_out(action::ShareEnded&& a);
  void carry_out(action::Log&& a);
  void add_shared(ModelKey model, std::shared_ptr<const Manifest> manifest,
                  std::vector<ReuseSource> sources);
  void make_plan(const std::shared_ptr<FetchState>& fetch, const ResolvedSelection& resolved);
  void end_plan(const std::shared_ptr<FetchState>& fetch, const LocalBytes& local);
  void prepare_bytes(const action::PreparePiece& a);
  void could_not_read(ModelKey model, PieceIndex piece, const Error& error);
  void store_opened(const std::shared_ptr<FetchState>& fetch,
                    Result<std::shared_ptr<Store>> opened);
  void end_fetch(const std::shared_ptr<FetchState>& fetch, std::optional<Error> error);
  FetchReport report(const FetchState& fetch) const;
  MemoryReport memory(ModelKey model, std::size_t peers) const;
  void publish(FetchState& fetch);
  void stop_if_quiet();

  NodeOptions options_;
  std::optional<Identity> identity_;
  // Buffers outlive everything that may hold one, posted jobs included.
  BufferPool receive_buffers_;
  BufferPool send_buffers_;  // under TLS, and of shared models
  asio::io_context io_;
  Congestion congestion_;
  std::optional<Listener> listener_;
  asio::steady_timer timer_;  // the core's next deadline
  asio::steady_timer tick_;   // progress, memory
  asio::steady_timer stop_deadline_;
  ForkJoin moving_;  // the connections' bytes
  std::unique_ptr<Core> core_;
  std::map<ConnectionId, std::shared_ptr<Connection>> connections_;
  std::map<ConnectionId, std::shared_ptr<Dial>> dials_;  // what dialed connections came from
  RefusalLog refusals_;
  LossLog losses_;
  FlatSet<ConnectionId> to_receive_;  // may be readable
  FlatSet<ConnectionId> to_send_;     // may have room for bytes
  std::map<ModelKey, std::shared_ptr<Store>> stores_;
  std::map<ModelKey, std::shared_ptr<SharedStore>> shared_;  // of the stores, those that grow
  std::map<ModelKey, std::shared_ptr<FetchState>> fetches_;
  std::map<ModelId, ModelKey> ended_;  // fetches that are over; complete ones are still served
  std::deque<action::PreparePiece> waiting_for_send_buffer_;
  struct Leaving {
    std::shared_ptr<FetchState> fetch;
    std::chrono::steady_clock::time_point by;
    std::function<void()> done;
  };
  std::vector<Leaving> leaving_;
  std::chrono::steady_clock::time_point looked_who_leaves_;
  std::chrono::steady_clock::time_point started_;
  std::uint64_t next_connection_ = 1;
  std::uint64_t peak_private_bytes_ = 0;
  bool turn_posted_ = false;
  bool stopping_ = false;
  // Order of the end: first no new jobs, then no disk operation under way, then the stores.
  std::unique_ptr<IoEngine> engine_;
  std::unique_ptr<Workers> hashing_;
  std::unique_ptr<Workers> opening_;  // blocking calls: one at a time
  std::unique_ptr<Workers> finding_;  // what peers cause; fetches do not wait for it
  std::atomic<bool> stop_finding_{false};
};

}  // namespace shardswarm
