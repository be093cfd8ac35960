#include "node/fetch_desk.h"

#include <algorithm>
#include <string>
#include <utility>

#include "node/network.h"
#include "node/process_memory.h"
#include "node/shell_context.h"
#include "node/turns.h"

namespace shardswarm {
namespace {

constexpr auto kLeaveLook = std::chrono::milliseconds(4);  // it goes through all pieces

}  // namespace

// --- they begin ---

void FetchDesk::start(const Fetch& fetch) {
  fetch->started = std::chrono::steady_clock::now();
  if (context_.stopping) {
    fetch->resolve(fail(Errc::kCancelled, "the node is stopping"));
    return;
  }
  make_room_for(fetch->ticket.id);
  const auto until = fetch->kind == FetchState::Kind::kLearn ? ManifestFetch::Until::kHeaders
                                                             : ManifestFetch::Until::kPieceLists;
  const auto key = context_.core.add_fetch({.id = fetch->ticket.id,
                                            .selection = fetch->options.selection,
                                            .until = until,
                                            .stall_timeout = fetch->options.stall_timeout,
                                            .wait = fetch->options.wait,
                                            .kept = std::move(fetch->kept),
                                            .order = fetch->options.order},
                                           context_.now());
  if (!key) {
    fetch->resolve(std::unexpected(key.error()));
    return;
  }
  fetch->model = *key;
  fetches_[*key] = fetch;
  for (const auto& node : fetch->nodes) context_.core.add_node(node, context_.now());
  turns_.schedule();
}

// An earlier fetch of this model that has ended makes room for another (a seed does not).
void FetchDesk::make_room_for(const ModelId& id) {
  const auto earlier = ended_.extract(id);
  if (!earlier) return;
  context_.core.remove_model(earlier.mapped());
  stores_.erase(earlier.mapped());
}

Result<ModelKey> FetchDesk::start_seed(std::shared_ptr<Store> store) {
  make_room_for(store->manifest().id());
  const auto key = context_.core.add_seed(store->shared_manifest(), store->have(), context_.now());
  if (!key) return key;
  stores_.add(*key, std::move(store));
  turns_.schedule();
  return key;
}

void FetchDesk::manifest_ready(const action::ManifestReady& a) {
  const auto it = fetches_.find(a.model);
  if (it == fetches_.end()) return;
  const Fetch fetch = it->second;
  const ResolvedSelection& resolved = context_.core.resolved(a.model);
  fetch->parts = resolved.parts;
  fetch->engine_setting = resolved.engine_setting;
  fetch->left_out = report_left_out(resolved, *context_.core.manifest(a.model));
  if (fetch->kind == FetchState::Kind::kFetch) {
    open_store(fetch, resolved);
  } else {
    make_plan(fetch, resolved);
  }
}

void FetchDesk::open_store(const Fetch& fetch, const ResolvedSelection& resolved) {
  fetch->opening.under_way = true;
  stores_.open_target({.directory = fetch->options.directory,
                       .layout = fetch->options.layout,
                       .step = HoldingStep{.drop = false, .selection = fetch->parts},
                       .state_directory = context_.options.state_directory,
                       .reuse = fetch->options.reuse,
                       .recheck = fetch->options.recheck,
                       .cancel = &fetch->opening.cancel},
                      context_.core.manifest(*fetch->model), resolved,
                      [this, fetch](Result<std::shared_ptr<Store>> opened) {
                        store_opened(fetch, std::move(opened));
                      });
}

void FetchDesk::store_opened(const Fetch& fetch, Result<std::shared_ptr<Store>> opened) {
  fetch->opening.under_way = false;
  const ModelKey key = *fetch->model;
  Core& core = context_.core;
  if (fetch->opening.ended) {
    opened = fail(Errc::kCancelled, "");  // lets go of the directory
    end_fetch(fetch, std::move(fetch->opening.ended));
    return;
  }
  if (!opened) {
    core.fetch_failed(key, opened.error());
  } else {
    Store& store = **opened;
    stores_.add(key, std::move(*opened));
    store.on_durable([this, key, &store] {
      context_.core.undurable(key, store.undurable_bytes(), context_.now());
      turns_.schedule();
    });
    if (const auto bytes = store.progress().rechecked_bytes; bytes > 0) {
      context_.log(LogLevel::kInfo,
                   "re-checked " + std::to_string(bytes) + " bytes of an earlier run");
    }
    for (const std::string& warning : store.warnings()) context_.log(LogLevel::kWarning, warning);
    fetch->left_out = report_left_out(core.resolved(key), *core.manifest(key), store.have());
    core.store_opened(key, store.have(), store.wanted(), store.kept_back(), context_.now());
  }
  turns_.schedule();
}

// --- plans: fetches that move nothing ---

// What of it this machine has is looked up on a thread that may wait.
void FetchDesk::make_plan(const Fetch& fetch, const ResolvedSelection& resolved) {
  const auto manifest = context_.core.manifest(*fetch->model);
  FetchPlan plan{.selected_bytes = resolved.bytes,
                 .manifest_bytes = context_.core.status(*fetch->model).manifest_bytes,
                 .pieces = resolved.pieces.count(),
                 .tensors = tensor_count(resolved.tensors),
                 .files = {},
                 .parts = fetch->parts,
                 .engine_setting = fetch->engine_setting,
                 .left_out = fetch->left_out};
  resolved.pieces.for_each(
      [&](PieceIndex piece) { plan.wanted_bytes += manifest->extent(piece).length; });
  for (std::uint32_t i = 0; i < manifest->file_count(); ++i) {
    if (resolved.files[i]) plan.files.push_back(manifest->file(FileIndex(i)).path);
  }
  {
    const std::scoped_lock lock(fetch->mutex);
    fetch->manifest = manifest;
    fetch->plan = std::move(plan);
  }
  if (fetch->kind == FetchState::Kind::kLearn || fetch->options.directory.empty()) {
    end_plan(fetch, {});
    return;
  }
  fetch->opening.under_way = true;
  stores_.count_local_bytes({.state_directory = context_.options.state_directory,
                             .not_here = fetch->options.directory,
                             .for_copying = false,
                             .cancel = &fetch->opening.cancel},
                            fetch->options.reuse, manifest, resolved.pieces,
                            [this, fetch](const LocalBytes& local) { end_plan(fetch, local); });
}

void FetchDesk::end_plan(const Fetch& fetch, const LocalBytes& local) {
  fetch->opening.under_way = false;
  if (fetch->opening.ended) {
    end_fetch(fetch, std::move(fetch->opening.ended));
    return;
  }
  {
    const std::scoped_lock lock(fetch->mutex);
    fetch->plan.here_bytes = local.in_directory;
    fetch->plan.elsewhere_bytes = local.elsewhere;
    fetch->plan.needed_bytes = local.needed;
    fetch->plan.free_bytes = local.free;
    if (!local.pieces.empty()) {
      fetch->plan.left_out =
          report_left_out(context_.core.resolved(*fetch->model), *fetch->manifest, local.pieces);
    }
  }
  fetch->resolve(report(*fetch));
  fetches_.erase(*fetch->model);
  context_.core.remove_model(*fetch->model);
  ended_callback_();
}

// --- they end ---

void FetchDesk::cancel(const FetchState& fetch) {
  if (!fetch.model) return;
  context_.core.fetch_failed(*fetch.model, {Errc::kCancelled, "cancelled; run it again to resume"});
  turns_.schedule();
}

void FetchDesk::cancel_all(const Error& why) {
  for (auto& [key, fetch] : fetches_) context_.core.fetch_failed(key, why);
}

void FetchDesk::ended(action::FetchEnded&& a) {
  if (const auto it = fetches_.find(a.model); it != fetches_.end()) {
    end_fetch(Fetch(it->second), std::move(a.error));
  }
}

void FetchDesk::end_fetch(const Fetch& fetch, std::optional<Error> error) {
  if (fetch->opening.under_way) {  // the worker has the directory: it ends when that is free again
    fetch->opening.cancel = true;
    fetch->opening.ended = std::move(error);
    return;
  }
  const auto resolve = [this, fetch, error] {
    fetch->meter.end(error ? FetchPhase::kFailed : FetchPhase::kDone);
    publish(*fetch);
    if (error) {
      fetch->resolve(std::unexpected(*error));
    } else {
      fetch->resolve(report(*fetch));
    }
    fetches_.erase(*fetch->model);
    ended_[fetch->ticket.id] = *fetch->model;
    ended_callback_();
  };
  Store* const store = stores_.find(*fetch->model);
  if (error && store != nullptr) {
    store->finish([resolve](const Result<void>&) { resolve(); });
  } else {
    resolve();
  }
}

// --- they leave ---

void FetchDesk::when_free(const Fetch& fetch, std::chrono::steady_clock::time_point by,
                          std::function<void()> done) {
  leaving_.push_back({fetch, by, std::move(done)});
  let_leave();
}

void FetchDesk::let_leave() {
  const auto at = looked_who_leaves_ = std::chrono::steady_clock::now();
  std::erase_if(leaving_, [&](Leaving& leaving) {
    const auto& model = leaving.fetch->model;
    if (at < leaving.by && model && !context_.core.may_leave(*model)) return false;
    leaving.done();
    return true;
  });
}

void FetchDesk::let_leave_if_due() {
  if (leaving_.empty()) return;
  if (std::chrono::steady_clock::now() - looked_who_leaves_ > kLeaveLook) let_leave();
}

void FetchDesk::let_all_leave() {
  for (Leaving& leaving : std::exchange(leaving_, {})) leaving.done();
}

// --- what is told of them ---

std::vector<PeerReport> FetchDesk::peers_of(ModelKey model) const {
  std::vector<PeerReport> peers;
  for (const auto& [id, tally] : context_.core.tallies(model)) {
    peers.push_back({.id = id,
                     .address = tally.address,
                     .fetched_bytes = tally.fetched_bytes,
                     .sent_bytes = tally.sent_bytes,
                     .connected = tally.connections > 0});
  }
  return peers;
}

MemoryReport FetchDesk::memory(ModelKey model, std::size_t peers) const {
  const BufferPool& received = context_.receive_buffers;
  const BufferPool& sent = context_.send_buffers;
  MemoryReport memory;
  memory.peak_private_bytes = std::max(peak_private_bytes_, private_bytes());
  memory.pool_bytes_max = received.slab().size() + sent.slab().size();
  memory.pool_peak_bytes = received.peak_bytes() + sent.peak_bytes();
  // Reading pauses at the limit; what is in buffers by then is put still.
  memory.undurable_bytes_max = limits::kUndurableBytesMax + received.slab().size();
  memory.undurable_peak_bytes = context_.core.status(model).undurable_peak_bytes;
  const auto manifest = context_.core.manifest(model);
  if (!manifest) return memory;
  memory.piece_state_bytes_max =
      manifest->piece_count() * (limits::kPieceStateBytes + peers * limits::kPieceStatePeerBytes);
  memory.manifest_bytes = manifest->root_blob()->size();
  for (std::uint32_t i = 0; i < manifest->file_count(); ++i) {
    for (const Blob& blob :
         {manifest->header_blob(FileIndex(i)), manifest->piece_list_blob(FileIndex(i))}) {
      if (blob) memory.manifest_bytes += blob->size();
    }
  }
  return memory;
}

FetchReport FetchDesk::report(const FetchState& fetch) const {
  const ModelStatus status = context_.core.status(*fetch.model);
  FetchReport report;
  report.id = fetch.ticket.id;
  report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - fetch.started).count();
  report.selected_bytes = status.selected_bytes;
  report.wanted_bytes = status.wanted_bytes;
  report.fetched_bytes = status.fetched_bytes;
  report.duplicate_bytes = status.duplicate_bytes;
  report.control_bytes = context_.core.control_bytes();
  report.manifest_bytes = status.manifest_bytes;
  report.reused_bytes = status.reused_bytes;
  report.sent_bytes = status.sent_bytes;
  report.engine = stores_.engine();
  report.network_threads = turns_.threads();
  report.addresses = network_.listener().addresses();
  report.peers = peers_of(*fetch.model);
  report.memory = memory(*fetch.model, report.peers.size());
  report.parts = fetch.parts;
  report.engine_setting = fetch.engine_setting;
  report.left_out = fetch.left_out;
  if (const Store* store = stores_.find(*fetch.model)) {
    report.layout = store->layout();
    report.copied_bytes = store->progress().copied_bytes;
  }
  return report;
}

// Takes a sample and publishes it, with what happened since the last one.
void FetchDesk::publish(FetchState& fetch) {
  const Core& core = context_.core;
  const FetchProgress progress = fetch.meter.sample(
      core.status(*fetch.model), core.manifest(*fetch.model) != nullptr, context_.now());
  {
    const std::scoped_lock lock(fetch.mutex);
    fetch.progress = progress;
  }
  std::vector<FetchEvent> events = fetch.meter.peer_events(core.tallies(*fetch.model));
  if (Store* store = stores_.find(*fetch.model)) {
    for (std::string& path : store->take_named()) {
      events.push_back({.kind = FetchEvent::Kind::kFileDone, .path = std::move(path)});
    }
  }
  if (fetch.options.on_event) {
    for (const FetchEvent& event : events) fetch.options.on_event(event);
  }
  if (fetch.options.on_progress) fetch.options.on_progress(progress);
}

void FetchDesk::tick() {
  peak_private_bytes_ = std::max(peak_private_bytes_, private_bytes());
  for (auto& [key, fetch] : fetches_) publish(*fetch);
  let_leave();  // whose deadline has come
}

}  // namespace shardswarm
