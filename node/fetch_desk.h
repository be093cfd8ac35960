// The fetches that callers asked for: from start to report. Network thread only; the handles of
// node.cc share their state (node/fetch_state.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "node/fetch_state.h"
#include "node/model_stores.h"
#include "node/shardswarm.h"
#include "storage/local_bytes.h"
#include "swarm/actions.h"

namespace shardswarm {

class Network;
struct ShellContext;
class Turns;

class FetchDesk {
 public:
  using Fetch = std::shared_ptr<FetchState>;

  // `ended`: a fetch is over.
  FetchDesk(ShellContext& context, Turns& turns, ModelStores& stores, const Network& network,
            std::function<void()> ended)
      : context_(context),
        turns_(turns),
        stores_(stores),
        network_(network),
        ended_callback_(std::move(ended)) {}

  void start(const Fetch& fetch);
  void cancel(const FetchState& fetch);
  void cancel_all(const Error& why);
  bool empty() const { return fetches_.empty(); }
  Result<ModelKey> start_seed(std::shared_ptr<Store> store);
  std::vector<PeerReport> peers_of(ModelKey model) const;

  // Runs `done` once nothing is left to hand over (see Fetch::linger), or at the deadline.
  void when_free(const Fetch& fetch, std::chrono::steady_clock::time_point by,
                 std::function<void()> done);
  void let_leave_if_due();  // often: it looks every 4 ms
  void let_all_leave();
  // About ten times a second: progress, and whose deadline has come.
  void tick();

  // --- actions of the core ---
  void manifest_ready(const action::ManifestReady& a);
  void ended(action::FetchEnded&& a);

 private:
  struct Leaving {
    Fetch fetch;
    std::chrono::steady_clock::time_point by;
    std::function<void()> done;
  };

  void make_room_for(const ModelId& id);
  void open_store(const Fetch& fetch, const ResolvedSelection& resolved);
  void store_opened(const Fetch& fetch, Result<std::shared_ptr<Store>> opened);
  void make_plan(const Fetch& fetch, const ResolvedSelection& resolved);
  void end_plan(const Fetch& fetch, const LocalBytes& local);
  void end_fetch(const Fetch& fetch, std::optional<Error> error);
  void let_leave();
  FetchReport report(const FetchState& fetch) const;
  MemoryReport memory(ModelKey model, std::size_t peers) const;
  void publish(FetchState& fetch);

  ShellContext& context_;
  Turns& turns_;
  ModelStores& stores_;
  const Network& network_;
  std::function<void()> ended_callback_;
  std::map<ModelKey, Fetch> fetches_;
  std::map<ModelId, ModelKey> ended_;  // fetches that are over; complete ones are still served
  std::vector<Leaving> leaving_;
  std::chrono::steady_clock::time_point looked_who_leaves_;
  std::uint64_t peak_private_bytes_ = 0;
};

}  // namespace shardswarm
