// The public API: options made complete, the network thread, handles.
#include <openssl/rand.h>

#include <cstdlib>
#include <future>
#include <thread>
#include <utility>

#include "base/address.h"
#include "node/directory.h"
#include "node/shardswarm.h"
#include "node/shell.h"
#include "storage/catalogue.h"
#include "storage/meta_dir.h"

namespace shardswarm {
namespace {

// Runs `job` on the network thread and waits for its answer.
template <class F>
auto on_network(Shell& shell, F job) {
  std::promise<decltype(job())> promise;
  auto answer = promise.get_future();
  shell.post([&promise, &job] { promise.set_value(job()); });
  return answer.get();
}

class SeedHandle final : public Seed {
 public:
  SeedHandle(std::shared_ptr<Shell> shell, ModelKey model, Ticket ticket, std::uint64_t present,
             std::uint64_t total)
      : shell_(std::move(shell)),
        model_(model),
        ticket_(std::move(ticket)),
        present_(present),
        total_(total) {}

  const Ticket& ticket() const override { return ticket_; }
  std::uint64_t present_bytes() const override { return present_; }
  std::uint64_t total_bytes() const override { return total_; }
  std::vector<PeerReport> peers() const override {
    return on_network(*shell_, [this] { return shell_->fetches().peers_of(model_); });
  }
  std::uint64_t sent_bytes() const override {
    return on_network(*shell_, [this] { return shell_->status(model_).sent_bytes; });
  }

 private:
  std::shared_ptr<Shell> shell_;
  ModelKey model_;
  Ticket ticket_;
  std::uint64_t present_;
  std::uint64_t total_;
};

class FetchHandle final : public Fetch {
 public:
  FetchHandle(std::shared_ptr<Shell> shell, std::shared_ptr<FetchState> state)
      : shell_(std::move(shell)), state_(std::move(state)) {}

  FetchProgress progress() const override {
    const std::scoped_lock lock(state_->mutex);
    return state_->progress;
  }
  void cancel() override {
    {
      const std::scoped_lock lock(state_->mutex);
      state_->leave = true;
      state_->changed.notify_all();
    }
    shell_->post([shell = shell_.get(), state = state_] { shell->fetches().cancel(*state); });
  }
  Result<FetchReport> wait() override { return state_->wait(); }
  void linger(std::chrono::milliseconds handover, std::chrono::milliseconds linger) override {
    const auto now = std::chrono::steady_clock::now();
    const auto handed_over = std::make_shared<bool>(false);
    shell_->post([shell = shell_.get(), state = state_, by = now + handover, handed_over] {
      shell->fetches().when_free(state, by, [state, handed_over] {
        const std::scoped_lock lock(state->mutex);
        *handed_over = true;
        state->changed.notify_all();
      });
    });
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return *handed_over || state_->leave; });
    if (linger == std::chrono::milliseconds::max()) {
      state_->changed.wait(lock, [&] { return state_->leave; });
    } else {
      state_->changed.wait_until(lock, now + linger, [&] { return state_->leave; });
    }
  }

 private:
  std::shared_ptr<Shell> shell_;
  std::shared_ptr<FetchState> state_;
};

// Network addresses of one fetch, each list those of one node.
Result<std::vector<std::vector<std::string>>> nodes_of(const Ticket& ticket,
                                                       const std::vector<std::string>& peers) {
  std::vector<std::vector<std::string>> nodes(1);
  for (const std::string& text : ticket.peers) {
    auto address = parse_dialable(text);
    if (!address) return std::unexpected(address.error());
    nodes.front().push_back(std::move(*address));
  }
  for (const std::string& text : peers) {
    auto addresses = peer_addresses(text, ticket.id);
    if (!addresses) return std::unexpected(addresses.error());
    nodes.push_back(std::move(*addresses));
  }
  return nodes;
}

// What is unreadable or of another model is as good as nothing: peers have it.
std::shared_ptr<const Manifest> kept_manifest(const std::filesystem::path& meta,
                                              const ModelId& id) {
  auto manifest = load_manifest_from(meta);
  return manifest && (*manifest)->id() == id ? *manifest : nullptr;
}

class NodeImpl final : public Node {
 public:
  NodeImpl(NodeOptions options, std::optional<Identity> identity, NodeId id)
      : options_(options),
        id_(id),
        shell_(std::make_shared<Shell>(std::move(options), std::move(identity), id)) {}

  ~NodeImpl() override {
    if (!thread_.joinable()) return;
    shell_->post([shell = shell_.get()] { shell->stop(); });
    thread_.join();
  }

  Result<void> open() {
    if (auto listening = shell_->listen(); !listening) return listening;
    thread_ = std::thread([shell = shell_.get()] { shell->run(); });
    return {};
  }

  NodeId id() const override { return id_; }
  std::vector<std::string> addresses() const override { return shell_->listener().addresses(); }
  std::vector<std::string> notes() const override { return shell_->listener().notes(); }

  Result<std::shared_ptr<Seed>> seed(SeedOptions options) override {
    std::error_code ec;
    std::vector<std::string> warnings;
    std::filesystem::path directory = options.directory;
    const bool fetched = std::filesystem::exists(directory / kMetaDirName / "root", ec);
    if (!fetched) {
      auto indexed = index_directory({.directory = directory,
                                      .state_directory = options_.state_directory,
                                      .progress = std::move(options.index_progress),
                                      .cancel = options.cancel});
      if (!indexed) return std::unexpected(indexed.error());
      warnings = std::move(indexed->warnings);
      directory = std::move(indexed->directory);  // of a hub cache: the snapshot
    }
    auto store = Store::open_source(
        shell_->storage(), {.directory = directory, .state_directory = options_.state_directory},
        warnings);
    if (!store) return std::unexpected(store.error());
    const Manifest& manifest = (*store)->manifest();
    if (fetched) {
      // Its own record is all that it takes to serve it: the state directory may be read-only.
      Catalogue catalogue(options_.state_directory);
      if (const auto added = catalogue.add(directory, manifest.id()); !added) {
        warnings.push_back("it is missing in `shardswarm list`: " + added.error().message);
      }
    }
    for (const std::string& warning : warnings) shell_->log(LogLevel::kWarning, warning);

    std::uint64_t present = 0;
    (*store)->have().for_each([&](PieceIndex piece) { present += manifest.extent(piece).length; });
    std::uint64_t total = 0;
    for (const FileEntry& file : manifest.root().files) total += file.size - file.header_bytes;
    Ticket ticket{.id = manifest.id(), .peers = addresses()};
    const Result<ModelKey> model =
        on_network(*shell_, [&] { return shell_->fetches().start_seed(std::move(*store)); });
    if (!model) return std::unexpected(model.error());
    return std::make_shared<SeedHandle>(shell_, *model, std::move(ticket), present, total);
  }

  std::shared_ptr<Fetch> fetch(const Ticket& ticket, FetchOptions options) override {
    return std::make_shared<FetchHandle>(
        shell_, begin(ticket, std::move(options), FetchState::Kind::kFetch));
  }

  Result<FetchPlan> plan(const Ticket& ticket, FetchOptions options) override {
    const auto state = begin(ticket, std::move(options), FetchState::Kind::kPlan);
    if (const auto outcome = state->wait(); !outcome) return std::unexpected(outcome.error());
    return state->plan;
  }

  Result<std::shared_ptr<const Manifest>> learn(const Ticket& ticket,
                                                std::chrono::milliseconds timeout) override {
    FetchOptions options;
    options.stall_timeout = timeout;
    const auto state = begin(ticket, std::move(options), FetchState::Kind::kLearn);
    if (const auto outcome = state->wait(); !outcome) return std::unexpected(outcome.error());
    return state->manifest;
  }

 private:
  std::shared_ptr<FetchState> begin(const Ticket& ticket, FetchOptions options,
                                    FetchState::Kind kind) {
    auto state = std::make_shared<FetchState>();
    state->ticket = ticket;
    state->options = std::move(options);
    state->kind = kind;
    auto nodes = nodes_of(ticket, state->options.peers);
    if (!nodes) {
      state->resolve(std::unexpected(nodes.error()));
      return state;
    }
    state->nodes = std::move(*nodes);
    if (kind == FetchState::Kind::kFetch) {
      state->kept = kept_manifest(state->options.directory / kMetaDirName, ticket.id);
    }
    if (!state->kept) {
      state->kept = kept_manifest(model_meta_dir(options_.state_directory, ticket.id), ticket.id);
    }
    shell_->post([shell = shell_.get(), state] { shell->fetches().start(state); });
    return state;
  }

  NodeOptions options_;
  NodeId id_;
  std::shared_ptr<Shell> shell_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Node>> Node::start(NodeOptions options) {
  if (options.state_directory.empty()) options.state_directory = default_state_directory();
  std::optional<Identity> identity;
  NodeId id;
  const auto key = options.insecure ? Result<std::optional<ClusterKey>>(std::nullopt)
                                    : find_cluster_key(options.key);
  if (!key) return std::unexpected(key.error());
  options.key.clear();  // it may be the key itself: nothing needs it any more
  if (*key) {
    if (options.log && !(*key)->warning().empty()) {
      options.log(LogLevel::kWarning, (*key)->warning());
    }
    auto made = Identity::of_cluster(**key);
    if (!made) return std::unexpected(made.error());
    identity = std::move(*made);
    id = identity->id();
  } else if (::RAND_bytes(reinterpret_cast<unsigned char*>(id.bytes.data()),
                          static_cast<int>(id.bytes.size())) != 1) {
    return fail(Errc::kInternal, "no random bytes to be had");
  }
  if (!valid_site(options.site)) {
    return fail(Errc::kUsage,
                "a site has at most 64 letters, digits, '.', '_', '-' and '/': " + options.site);
  }
  const RateLimits& limits = options.limits;
  for (const std::uint64_t rate :
       {limits.upload, limits.download, limits.peer_upload, limits.peer_download}) {
    if (rate != 0 && rate < RateLimits::kRateMin) {
      return fail(Errc::kUsage, "a rate limit is at least " + std::to_string(RateLimits::kRateMin) +
                                    " bytes a second");
    }
  }
  if (options.network_threads > kNetworkThreadsMax) {
    return fail(Errc::kUsage, "at most " + std::to_string(kNetworkThreadsMax) + " network threads");
  }
  if (options.insecure && options.log) {
    options.log(LogLevel::kWarning,
                "INSECURE: no encryption, no authentication; anybody who reaches this machine can "
                "read the models that it serves");
  }
  auto node = std::make_unique<NodeImpl>(std::move(options), std::move(identity), id);
  if (auto opened = node->open(); !opened) return std::unexpected(opened.error());
  return node;
}

std::filesystem::path default_state_directory() {
  // Read at start, before threads.
  if (const char* state = std::getenv("XDG_STATE_HOME");  // NOLINT(concurrency-mt-unsafe)
      state != nullptr && *state != '\0') {
    return std::filesystem::path(state) / "shardswarm";
  }
  const char* home = std::getenv("HOME");  // NOLINT(concurrency-mt-unsafe)
  return std::filesystem::path(home != nullptr ? home : ".") / ".local/state/shardswarm";
}

}  // namespace shardswarm
