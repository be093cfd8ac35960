// Where a node's models lie: opening them, writing pieces that came, reading pieces that are asked
// for, and finding pieces of one model in the directories of others. The blocking part of it runs
// on workers; their answers come on the network thread, where everything here is called.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "node/loss_log.h"
#include "node/shardswarm.h"
#include "storage/local_bytes.h"
#include "storage/shared_store.h"
#include "storage/store.h"
#include "storage/workers.h"
#include "swarm/actions.h"

namespace shardswarm {

struct ShellContext;
class Turns;

class ModelStores {
 public:
  ModelStores(ShellContext& context, Turns& turns);
  ~ModelStores();  // any thread, when the network thread has ended
  ModelStores(const ModelStores&) = delete;
  ModelStores& operator=(const ModelStores&) = delete;

  StorageEnvironment environment();  // any thread
  EngineReport engine() const { return engine_->report(); }
  // No more pieces are looked for in other models.
  void stop_finding() { stop_finding_ = true; }

  // Null if the model has none.
  Store* find(ModelKey model) const;
  void add(ModelKey model, std::shared_ptr<Store> store) { stores_[model] = std::move(store); }
  void erase(ModelKey model) { stores_.erase(model); }

  // On a thread that may wait, one at a time; the answer comes on the network thread.
  using Opened = std::function<void(Result<std::shared_ptr<Store>>)>;
  void open_target(Store::TargetOptions options, std::shared_ptr<const Manifest> manifest,
                   ResolvedSelection resolved, Opened opened);
  using Counted = std::function<void(const LocalBytes&)>;
  void count_local_bytes(ReuseQuery query, bool reuse, std::shared_ptr<const Manifest> manifest,
                         PieceSet pieces, Counted counted);

  // --- actions of the core ---
  void store(action::StorePiece&& a);
  void prepare(const action::PreparePiece& a);
  void release(const action::ReleasePiece& a);
  void finish(const action::FinishStore& a);
  void find_shared(action::FindShared&& a);
  void end_shared(const action::ShareEnded& a);

  // The file of a piece changed or ended: the store lets go of all pieces of it, and peers are told
  // at once.
  void piece_lost(ModelKey model, PieceIndex piece);

 private:
  void prepare_bytes(const action::PreparePiece& a);
  void prepare_waiting();
  void could_not_read(ModelKey model, PieceIndex piece, const Error& error);
  void add_shared(ModelKey model, std::shared_ptr<const Manifest> manifest,
                  std::vector<ReuseSource> sources);

  ShellContext& context_;
  Turns& turns_;
  std::map<ModelKey, std::shared_ptr<Store>> stores_;
  std::map<ModelKey, std::shared_ptr<SharedStore>> shared_;  // of the stores, those that grow
  std::deque<action::PreparePiece> waiting_for_buffer_;      // to send from
  LossLog losses_;
  std::atomic<bool> stop_finding_{false};
  // Order of the end: first no new jobs, then no disk operation under way, then the stores.
  std::unique_ptr<IoEngine> engine_;
  std::unique_ptr<Workers> hashing_;
  std::unique_ptr<Workers> opening_;  // blocking calls: one at a time
  std::unique_ptr<Workers> finding_;  // what peers cause; fetches do not wait for it
};

}  // namespace shardswarm
