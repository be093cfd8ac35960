#include "node/shell.h"

#include <pthread.h>

#include <algorithm>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include "node/process_memory.h"

namespace shardswarm {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr auto kStopTimeout = std::chrono::seconds(3);
// Where sendfile will not do: four pieces, the one under way and 2 ms ahead at 1.5 GB/s, for six
// peers at a time.
constexpr std::uint32_t kSendBuffersLarge = 24;
constexpr std::uint32_t kSendBuffersSmall = 64;
// Of moving, hashing and writing a piece, moving is a fifth, under TLS two fifths
// (docs/data-path.md): so one in four cores, and no helper below eight.
constexpr unsigned kCoresPerNetworkThread = 4;
constexpr unsigned kNetworkThreadsAutoMax = 8;

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

// sendfile knows no MSG_NOSIGNAL: in a program that does not ignore SIGPIPE, a peer that goes would
// end it. Helpers inherit it.
void block_broken_pipes() {
  sigset_t pipes;
  ::sigemptyset(&pipes);
  ::sigaddset(&pipes, SIGPIPE);
  (void)::pthread_sigmask(SIG_BLOCK, &pipes, nullptr);
}

unsigned network_threads(unsigned asked) {
  if (asked != 0) return asked;
  return std::clamp(std::thread::hardware_concurrency() / kCoresPerNetworkThread, 1U,
                    kNetworkThreadsAutoMax);
}

}  // namespace

Shell::Shell(NodeOptions options, std::optional<Identity> identity, NodeId id)
    : options_(std::move(options)),
      identity_(std::move(identity)),
      receive_buffers_(limits::kBuffersLarge, limits::kBuffersSmall),
      send_buffers_(kSendBuffersLarge, kSendBuffersSmall),
      io_(1),
      timer_(io_),
      tick_(io_),
      stop_deadline_(io_),
      moving_(network_threads(options_.network_threads)),
      core_(std::make_unique<Core>(core_options(options_, id), receive_buffers_)),
      started_(std::chrono::steady_clock::now()) {
  // Once, before strangers connect: the kernel may have to load a module for it.
  options_.kernel_tls = options_.kernel_tls && identity_ && kernel_has_tls();
  std::string notice;
  engine_ = make_io_engine(options_.io, &receive_buffers_, notice);
  if (!notice.empty()) log(LogLevel::kWarning, notice);
  hashing_ = std::make_unique<Workers>(std::max(2U, std::thread::hardware_concurrency()));
  opening_ = std::make_unique<Workers>(1);
  finding_ = std::make_unique<Workers>(1);
  receive_buffers_.on_release([this] { post([this] { schedule_turn(); }); });
  send_buffers_.on_release([this] {
    post([this] {
      for (auto waiting = std::exchange(waiting_for_send_buffer_, {}); auto& piece : waiting) {
        prepare_bytes(piece);
      }
    });
  });
}

Shell::~Shell() {
  receive_buffers_.on_release({});
  send_buffers_.on_release({});
  stop_finding_ = true;
  finding_.reset();
  opening_.reset();
  hashing_.reset();
  engine_.reset();
}

StorageEnvironment Shell::storage() {
  return {.engine = *engine_, .workers = *hashing_, .post = [this](std::function<void()> job) {
            post(std::move(job));
          }};
}

void Shell::post(std::function<void()> job) { asio::post(io_, std::move(job)); }

Time Shell::now() const { return std::chrono::steady_clock::now() - started_; }

void Shell::log(LogLevel level, std::string_view text) const {
  if (options_.log) options_.log(level, text);
}

void Shell::run() {
  block_broken_pipes();
  every_tick();
  for (auto& acceptor : listener_->acceptors()) accept(acceptor);
  const auto keep = asio::make_work_guard(io_);
  io_.run();
}

// --- fetches and seeds ---

void Shell::start_fetch(const std::shared_ptr<FetchState>& fetch) {
  fetch->started = std::chrono::steady_clock::now();
  if (stopping_) {
    fetch->resolve(fail(Errc::kCancelled, "the node is stopping"));
    return;
  }
  make_room_for(fetch->ticket.id);
  const auto until = fetch->kind == FetchState::Kind::kLearn ? ManifestFetch::Until::kHeaders
                                                             : ManifestFetch::Until::kPieceLists;
  const auto key = core_->add_fetch({.id = fetch->ticket.id,
                                     .selection = fetch->options.selection,
                                     .until = until,
                                     .stall_timeout = fetch->options.stall_timeout,
                                     .wait = fetch->options.wait,
                                     .kept = std::move(fetch->kept),
                                     .order = fetch->options.order},
                                    now());
  if (!key) {
    fetch->resolve(std::unexpected(key.error()));
    return;
  }
  fetch->model = *key;
  fetches_[*key] = fetch;
  for (const std::vector<std::string>& node : fetch->nodes) core_->add_node(node, now());
  schedule_turn();
}

// An earlier fetch of this model that has ended makes room for another (a seed does not).
void Shell::make_room_for(const ModelId& id) {
  std::erase_if(ended_, [&](const auto& entry) {
    if (entry.first != id) return false;
    core_->remove_model(entry.second);
    stores_.erase(entry.second);
    return true;
  });
}

void Shell::cancel_fetch(const std::shared_ptr<FetchState>& fetch) {
  if (!fetch->model) return;
  core_->fetch_failed(*fetch->model, {Errc::kCancelled, "cancelled; run it again to resume"});
  schedule_turn();
}

Result<ModelKey> Shell::start_seed(std::shared_ptr<Store> store) {
  make_room_for(store->manifest().id());
  const auto key = core_->add_seed(store->shared_manifest(), store->have(), now());
  if (!key) return key;
  stores_[*key] = std::move(store);
  schedule_turn();
  return key;
}

std::vector<PeerReport> Shell::peers_of(ModelKey model) const {
  std::vector<PeerReport> peers;
  for (const auto& [id, tally] : core_->tallies(model)) {
    peers.push_back({.id = id,
                     .address = tally.address,
                     .fetched_bytes = tally.fetched_bytes,
                     .sent_bytes = tally.sent_bytes,
                     .connected = tally.connections > 0});
  }
  return peers;
}

void Shell::when_free(const std::shared_ptr<FetchState>& fetch,
                      std::chrono::steady_clock::time_point by, std::function<void()> done) {
  leaving_.push_back({fetch, by, std::move(done)});
  let_leave();
}

void Shell::let_leave() {
  const auto at = looked_who_leaves_ = std::chrono::steady_clock::now();
  std::erase_if(leaving_, [&](Leaving& leaving) {
    if (at < leaving.by && leaving.fetch->model && !core_->may_leave(*leaving.fetch->model)) {
      return false;
    }
    leaving.done();
    return true;
  });
}

void Shell::store_opened(const std::shared_ptr<FetchState>& fetch,
                         Result<std::shared_ptr<Store>> opened) {
  fetch->opening = false;
  const ModelKey key = *fetch->model;
  if (fetch->ended_while_opening) {
    opened = fail(Errc::kCancelled, "");  // lets go of the directory
    end_fetch(fetch, std::move(fetch->ended_while_opening));
    return;
  }
  if (!opened) {
    core_->fetch_failed(key, opened.error());
  } else {
    Store& store = **opened;
    stores_[key] = std::move(*opened);
    store.on_durable([this, key, &store] {
      core_->undurable(key, store.undurable_bytes(), now());
      schedule_turn();
    });
    if (const auto bytes = store.progress().rechecked_bytes; bytes > 0) {
      log(LogLevel::kInfo, "re-checked " + std::to_string(bytes) + " bytes of an earlier run");
    }
    for (const std::string& warning : store.warnings()) log(LogLevel::kWarning, warning);
    fetch->left_out = report_left_out(core_->resolved(key), *core_->manifest(key), store.have());
    core_->store_opened(key, store.have(), store.wanted(), store.kept_back(), now());
  }
  schedule_turn();
}

void Shell::end_fetch(const std::shared_ptr<FetchState>& fetch, std::optional<Error> error) {
  if (fetch->opening) {  // the worker has the directory: it ends when that is free again
    fetch->cancel_opening = true;
    fetch->ended_while_opening = std::move(error);
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
    stop_if_quiet();
  };
  const auto store = stores_.find(*fetch->model);
  if (error && store != stores_.end()) {
    store->second->finish([resolve](const Result<void>&) { resolve(); });
  } else {
    resolve();
  }
}

MemoryReport Shell::memory(ModelKey model, std::size_t peers) const {
  MemoryReport memory;
  memory.peak_private_bytes = std::max(peak_private_bytes_, private_bytes());
  memory.pool_bytes_max = receive_buffers_.slab().size() + send_buffers_.slab().size();
  memory.pool_peak_bytes = receive_buffers_.peak_bytes() + send_buffers_.peak_bytes();
  // Reading pauses at the limit; what is in buffers by then is put still.
  memory.undurable_bytes_max = limits::kUndurableBytesMax + receive_buffers_.slab().size();
  memory.undurable_peak_bytes = core_->status(model).undurable_peak_bytes;
  const auto manifest = core_->manifest(model);
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

FetchReport Shell::report(const FetchState& fetch) const {
  const ModelStatus status = core_->status(*fetch.model);
  FetchReport report;
  report.id = fetch.ticket.id;
  report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - fetch.started).count();
  report.selected_bytes = status.selected_bytes;
  report.wanted_bytes = status.wanted_bytes;
  report.fetched_bytes = status.fetched_bytes;
  report.duplicate_bytes = status.duplicate_bytes;
  report.control_bytes = core_->control_bytes();
  report.manifest_bytes = status.manifest_bytes;
  report.reused_bytes = status.reused_bytes;
  report.sent_bytes = status.sent_bytes;
  report.engine = engine_->report();
  report.network_threads = moving_.threads();
  report.addresses = listener_->addresses();
  report.peers = peers_of(*fetch.model);
  report.memory = memory(*fetch.model, report.peers.size());
  report.parts = fetch.parts;
  report.engine_setting = fetch.engine_setting;
  report.left_out = fetch.left_out;
  if (const auto store = stores_.find(*fetch.model); store != stores_.end()) {
    report.layout = store->second->layout();
    report.copied_bytes = store->second->progress().copied_bytes;
  }
  return report;
}

// Takes a sample and publishes it, with what happened since the last one.
void Shell::publish(FetchState& fetch) {
  const FetchProgress progress = fetch.meter.sample(
      core_->status(*fetch.model), core_->manifest(*fetch.model) != nullptr, now());
  {
    const std::scoped_lock lock(fetch.mutex);
    fetch.progress = progress;
  }
  std::vector<FetchEvent> events = fetch.meter.peer_events(core_->tallies(*fetch.model));
  if (const auto store = stores_.find(*fetch.model); store != stores_.end()) {
    for (std::string& path : store->second->take_named()) {
      events.push_back({.kind = FetchEvent::Kind::kFileDone, .path = std::move(path)});
    }
  }
  if (fetch.options.on_event) {
    for (const FetchEvent& event : events) fetch.options.on_event(event);
  }
  if (fetch.options.on_progress) fetch.options.on_progress(progress);
}

// --- time ---

void Shell::every_tick() {
  peak_private_bytes_ = std::max(peak_private_bytes_, private_bytes());
  for (auto& [key, fetch] : fetches_) publish(*fetch);
  let_leave();  // whose deadline has come
  tick_.expires_after(kTick);
  tick_.async_wait([this](asio::error_code ec) {
    if (!ec) every_tick();
  });
}

// --- the end ---

void Shell::stop() {
  if (stopping_) return;
  stopping_ = true;
  stop_finding_ = true;
  listener_->close();
  for (auto& [key, fetch] : fetches_) {
    core_->fetch_failed(key, {Errc::kCancelled, "the node was stopped; run it again to resume"});
  }
  core_->close_all(CloseReason::kShutdown);
  schedule_turn();
  for (Leaving& leaving : std::exchange(leaving_, {})) leaving.done();
  stop_deadline_.expires_after(kStopTimeout);
  stop_deadline_.async_wait([this](asio::error_code ec) {
    if (ec) return;
    while (!connections_.empty()) {
      const auto connection = connections_.begin()->second;
      connection->abort(std::nullopt);
    }
    stop_if_quiet();
  });
  stop_if_quiet();
}

void Shell::stop_if_quiet() {
  if (!stopping_ || !fetches_.empty() || !connections_.empty()) return;
  stop_deadline_.cancel();
  tick_.cancel();
  timer_.cancel();
  // What was posted before runs first: closing sockets among it.
  asio::post(io_, [this] { io_.stop(); });
}

}  // namespace shardswarm
