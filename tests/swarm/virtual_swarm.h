// Several cores joined by virtual links, clocks and disks in one thread: the real sessions and
// schedulers, deterministic. A link direction moves `rate` bytes a second after `latency`.
#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "swarm/core.h"

namespace shardswarm::test {

// A model in memory: manifest and content of each file.
struct MemoryModel {
  std::shared_ptr<const Manifest> manifest;
  std::vector<std::vector<std::byte>> files;

  std::span<const std::byte> piece(PieceIndex piece) const {
    const PieceExtent extent = manifest->extent(piece);
    return std::span(files[extent.file.value]).subspan(extent.offset, extent.length);
  }
};

// `layers` layers of `tensors` U8 tensors of `bytes` each, an embedding, a head, and a config file.
inline MemoryModel make_memory_model(std::uint32_t layers, std::uint32_t tensors,
                                     std::uint64_t bytes, std::uint64_t seed) {
  MemoryModel model;
  std::string json = "{";
  std::uint64_t offset = 0;
  const auto add = [&](const std::string& name) {
    if (json.size() > 1) json += ",";
    json += "\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[" + std::to_string(bytes) +
            "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + bytes) +
            "]}";
    offset += bytes;
  };
  add("model.embed_tokens.weight");
  for (std::uint32_t layer = 0; layer < layers; ++layer) {
    for (std::uint32_t tensor = 0; tensor < tensors; ++tensor) {
      add("model.layers." + std::to_string(layer) + ".w" + std::to_string(tensor));
    }
  }
  add("lm_head.weight");
  json += "}";
  std::vector<std::byte> weights(8 + json.size() + offset);
  const std::uint64_t length = json.size();
  std::memcpy(weights.data(), &length, 8);
  std::memcpy(weights.data() + 8, json.data(), json.size());
  std::mt19937_64 random(seed);
  for (std::size_t i = 8 + json.size(); i < weights.size(); ++i) {
    weights[i] = static_cast<std::byte>(random());
  }
  const std::string config = "{\"num_hidden_layers\":" + std::to_string(layers) + "}";
  const auto config_bytes = std::as_bytes(std::span(config));
  model.files = {{config_bytes.begin(), config_bytes.end()}, std::move(weights)};

  const auto list_of = [](std::span<const std::byte> content, std::uint64_t piece_bytes) {
    std::vector<std::byte> list;
    for (std::uint64_t at = 0; at < content.size(); at += piece_bytes) {
      const Digest digest =
          sha256(content.subspan(at, std::min<std::uint64_t>(piece_bytes, content.size() - at)));
      list.insert(list.end(), digest.bytes.begin(), digest.bytes.end());
    }
    return std::make_shared<const std::vector<std::byte>>(std::move(list));
  };
  const auto header = std::make_shared<const std::vector<std::byte>>(
      model.files[1].begin(), model.files[1].begin() + static_cast<std::ptrdiff_t>(8 + length));
  const Blob lists[] = {list_of(model.files[0], limits::kPieceBytesMax),
                        list_of(std::span(model.files[1]).subspan(8 + length), bytes)};
  ManifestRoot root;
  root.files.push_back({.path = "config.json",
                        .size = model.files[0].size(),
                        .pieces = 1,
                        .piece_list_digest = sha256(*lists[0])});
  root.files.push_back({.path = "model.safetensors",
                        .size = model.files[1].size(),
                        .kind = FileKind::kTensors,
                        .header_bytes = header->size(),
                        .header_digest = sha256(*header),
                        .pieces = static_cast<std::uint32_t>(lists[1]->size() / 32),
                        .piece_list_digest = sha256(*lists[1])});
  auto manifest =
      std::make_shared<Manifest>(Manifest::from_root(encode_root(root).value()).value());
  manifest->add_header(FileIndex(1), header).value();
  manifest->add_piece_list(FileIndex(0), lists[0]).value();
  manifest->add_piece_list(FileIndex(1), lists[1]).value();
  model.manifest = std::move(manifest);
  return model;
}

class VirtualSwarm {
 public:
  struct Node {
    std::string name;
    BufferPool buffers{limits::kBuffersLarge, limits::kBuffersSmall};
    std::unique_ptr<Core> core;
    const MemoryModel* model = nullptr;
    ModelKey key;
    std::map<PieceIndex, std::vector<std::byte>> got;  // of fetchers
    std::set<Digest> other_digests;                    // of pieces that its other models hold
    int shares_ended = 0;
    bool corrupts = false;  // sends wrong bytes
    bool gone = false;
    bool reads = true;  // what is sent to it
    bool ended = false;
    std::optional<Error> error;
    Time ended_at{};
    std::vector<std::string> warnings;
    std::uint32_t longest_extent = 0;
    std::uint64_t bytes_out = 0;      // over all connections
    std::uint64_t bytes_in = 0;       // taken from them
    std::vector<std::string> breaks;  // connections that ended with an error, as it was logged
    std::uint32_t dialed = 0;         // times, by others
    std::uint32_t woken = 0;          // times, by a deadline
  };

  double rate = 100e6;
  Duration latency = std::chrono::microseconds(200);

  std::uint64_t features = kFeatures;      // of nodes added from now on
  bool share = false;                      // they too
  RateLimits limits;                       // they too
  std::string site;                        // they too
  std::uint32_t degree = limits::kDegree;  // they too

  Node& add(const MemoryModel& model) {
    auto node = std::make_unique<Node>();
    node->name = "10.0." + std::to_string(nodes_.size() / 250) + "." +
                 std::to_string(nodes_.size() % 250) + ":1";
    CoreOptions options;
    options.hello.node_id = sha256(std::as_bytes(std::span(node->name)));
    options.hello.agent = "test";
    options.hello.advertised = {node->name};
    options.hello.features = features;
    options.hello.site = site;
    options.share = share;
    options.limits = limits;
    options.degree = degree;
    options.seed = nodes_.size() + 1;
    node->core = std::make_unique<Core>(options, node->buffers);
    node->model = &model;
    nodes_.push_back(std::move(node));
    return *nodes_.back();
  }
  Node& add_seed(const MemoryModel& model) {
    Node& node = add(model);
    node.key =
        node.core->add_seed(model.manifest, PieceSet::full(model.manifest->piece_count()), now_)
            .value();
    return node;
  }
  // A node that listens already begins to seed its model.
  void give(Node& node) {
    node.key = node.core
                   ->add_seed(node.model->manifest,
                              PieceSet::full(node.model->manifest->piece_count()), now_)
                   .value();
    settle(node);
  }
  // Another fetch of the model, in place of one that ended; what came stays.
  void fetch_again(Node& node, Selection selection) {
    node.core->remove_model(node.key);
    node.ended = false;
    node.key = node.core
                   ->add_fetch({.id = node.model->manifest->id(),
                                .selection = std::move(selection),
                                .stall_timeout = std::chrono::seconds(60),
                                .kept = nullptr},
                               now_)
                   .value();
    settle(node);
  }
  // A node that is there already begins to fetch a model, beside what else it has.
  ModelKey fetch_too(Node& node, const MemoryModel& model, Selection selection,
                     const std::vector<std::string>& peers) {
    const ModelKey key = node.core
                             ->add_fetch({.id = model.manifest->id(),
                                          .selection = std::move(selection),
                                          .stall_timeout = std::chrono::seconds(600),
                                          .kept = nullptr},
                                         now_)
                             .value();
    for (const auto& peer : peers) node.core->add_node({peer}, now_);
    settle(node);
    return key;
  }
  Node& add_fetcher(const MemoryModel& model, Selection selection,
                    const std::vector<std::string>& peers,
                    Duration stall = std::chrono::seconds(60),
                    std::shared_ptr<const Manifest> kept = nullptr, Duration wait = {}) {
    Node& node = add(model);
    node.key = node.core
                   ->add_fetch({.id = model.manifest->id(),
                                .selection = std::move(selection),
                                .stall_timeout = stall,
                                .wait = wait,
                                .kept = kept},
                               now_)
                   .value();
    for (const auto& peer : peers) node.core->add_node({peer}, now_);
    settle(node);
    return node;
  }

  // Runs until `done`, or nothing more happens, or the virtual time is up.
  template <class F>
  void run(F done, Duration most = std::chrono::minutes(10)) {
    const Time end = now_ + most;
    while (!events_.empty() && !done() && events_.top().at <= end) {
      Event event = events_.top();
      events_.pop();
      now_ = event.at;
      event.job();
    }
  }
  void run_for(Duration time) {
    const Time end = now_ + time;
    run([] { return false; }, time);
    now_ = end;
  }
  void run_all_fetches() {
    run([this] {
      for (const auto& node : nodes_) {
        if (!node->gone && !node->core->status(node->key).ended) return false;
      }
      return true;
    });
  }
  void kill(Node& node) {
    node.gone = true;
    std::vector<ConnectionId> lost;
    for (auto& [id, end] : ends_) {
      if (end.node == &node) lost.push_back(id);
    }
    for (const ConnectionId id : lost) disconnect(id);
  }
  Time now() const { return now_; }
  // Who is connected to whom.
  std::map<const Node*, std::set<const Node*>> links() const {
    std::map<const Node*, std::set<const Node*>> joined;
    for (const auto& [id, end] : ends_) {
      const auto other = ends_.find(end.other);
      if (other == ends_.end() || end.closing || other->second.closing) continue;
      joined[end.node].insert(other->second.node);
    }
    return joined;
  }
  Node& node(std::size_t i) { return *nodes_[i]; }
  std::size_t size() const { return nodes_.size(); }

 private:
  struct Event {
    Time at;
    std::uint64_t order;
    std::function<void()> job;
    bool operator<(const Event& other) const {
      return std::tie(other.at, other.order) < std::tie(at, order);
    }
  };
  struct End {  // of a connection
    Node* node = nullptr;
    ConnectionId other;
    std::deque<std::byte> inbox;
    bool sending = false;
    bool closing = false;
  };

  void after(Duration delay, std::function<void()> job) {
    events_.push({now_ + delay, next_order_++, std::move(job)});
  }

  void connect(Node& from, const std::string& address) {
    Node* to = nullptr;
    for (auto& node : nodes_) {
      if (node->name == address && !node->gone) to = node.get();
    }
    if (to == nullptr) {
      from.core->dial_failed(address, {Errc::kUnreachable, "nobody at " + address}, now_);
      settle(from);
      return;
    }
    ++to->dialed;
    const ConnectionId a(next_connection_++);
    const ConnectionId b(next_connection_++);
    ends_[a] = {&from, b, {}, false, false};
    ends_[b] = {to, a, {}, false, false};
    from.core->add_connection(a, address, true, std::nullopt, now_);
    to->core->add_connection(b, from.name, false, std::nullopt, now_);
    settle(from);
    settle(*to);
  }

  void disconnect(ConnectionId id) {
    const auto end = ends_.extract(id);
    if (end.empty()) return;
    const ConnectionId other = end.mapped().other;
    end.mapped().node->core->remove_connection(id, std::nullopt, now_);
    settle(*end.mapped().node);
    after(latency, [this, other] { disconnect(other); });
  }

  void settle(Node& node) {
    if (node.gone) return;
    node.core->settle(now_);
    while (true) {
      auto actions = node.core->take_actions();
      for (Action& a : actions) {
        std::visit([&](auto&& what) { act(node, std::move(what)); }, std::move(a));
      }
      const auto ready = node.core->take_output_ready();
      for (const ConnectionId id : ready) {
        deliver(id);
        send(id);
      }
      if (actions.empty() && ready.empty()) break;
    }
    if (const auto due = node.core->next_deadline()) {
      after(std::max<Duration>(*due - now_, std::chrono::milliseconds(1)), [this, &node] {
        const auto again = node.core->next_deadline();
        if (node.gone || !again || *again > now_) return;
        ++node.woken;
        settle(node);
      });
    }
  }

  void send(ConnectionId id) {
    const auto it = ends_.find(id);
    if (it == ends_.end() || it->second.sending) return;
    End& end = it->second;
    if (const auto to = ends_.find(end.other); to != ends_.end() && !to->second.node->reads) return;
    std::vector<std::byte> chunk;
    while (chunk.size() < 64 * 1024) {
      const Output output = end.node->core->next_output(id);
      std::span<const std::byte> bytes;
      std::vector<std::byte> wrong;
      if (const auto* plain = std::get_if<OutputBytes>(&output)) {
        bytes = plain->bytes;
      } else if (const auto* extent = std::get_if<OutputExtent>(&output)) {
        end.node->longest_extent = std::max(end.node->longest_extent, extent->length);
        bytes = end.node->model->piece(extent->piece).subspan(extent->offset, extent->length);
        if (end.node->corrupts) {
          wrong.assign(bytes.begin(), bytes.end());
          wrong[0] ^= std::byte{1};
          bytes = wrong;
        }
      } else {
        break;
      }
      chunk.insert(chunk.end(), bytes.begin(), bytes.end());
      end.node->core->sent(id, bytes.size(), now_);
    }
    if (chunk.empty()) {
      if (end.closing) disconnect(id);
      return;
    }
    end.sending = true;
    end.node->bytes_out += chunk.size();
    const Duration busy(static_cast<std::int64_t>(static_cast<double>(chunk.size()) / rate * 1e9));
    after(busy + latency, [this, other = end.other, chunk = std::move(chunk)] {
      const auto to = ends_.find(other);
      if (to == ends_.end()) return;
      to->second.inbox.insert(to->second.inbox.end(), chunk.begin(), chunk.end());
      deliver(other);
      settle(*to->second.node);
    });
    after(busy, [this, id] {
      const auto again = ends_.find(id);
      if (again == ends_.end()) return;
      again->second.sending = false;
      send(id);
      if (ends_.contains(id)) settle(*ends_.at(id).node);
    });
  }

  void deliver(ConnectionId id) {
    const auto it = ends_.find(id);
    if (it == ends_.end()) return;
    End& end = it->second;
    while (!end.inbox.empty() && !end.closing) {
      std::size_t moved = 0;
      for (const auto span : end.node->core->receive_spans(id)) {
        const std::size_t n = std::min(span.size(), end.inbox.size());
        std::copy_n(end.inbox.begin(), n, span.begin());
        end.inbox.erase(end.inbox.begin(), end.inbox.begin() + static_cast<std::ptrdiff_t>(n));
        moved += n;
      }
      if (moved == 0) return;
      end.node->bytes_in += moved;
      end.node->core->received(id, moved, now_);
    }
  }

  void act(Node& node, action::Dial&& a) {
    after(latency, [this, &node, a] {
      if (!node.gone) connect(node, a.address);
    });
  }
  void act(Node&, action::CloseConnection&& a) {
    if (const auto it = ends_.find(a.connection); it != ends_.end()) it->second.closing = true;
    after(Duration(0), [this, a] { send(a.connection); });
  }
  void act(Node& node, action::ManifestReady&& a) {
    after(latency, [this, &node, a] {
      const PieceSet none(node.core->manifest(a.model)->piece_count());
      node.core->store_opened(a.model, none, none, none, now_);
      settle(node);
    });
  }
  // What the node's `other_models` hold of it.
  void act(Node& node, action::FindShared&& a) {
    after(latency, [this, &node, a] {
      if (node.gone) return;
      const auto manifest = node.core->manifest(a.model);
      PieceSet have(manifest->piece_count());
      for (std::uint32_t i = 0; i < have.size(); ++i) {
        const PieceIndex piece(i);
        const FileIndex file = manifest->file_of(piece);
        if (manifest->needs_header(file) || manifest->needs_piece_list(file)) continue;
        if (node.other_digests.contains(manifest->digest(piece))) have.insert(piece);
      }
      node.core->shared_found(a.model, have, now_);
      settle(node);
    });
  }
  void act(Node& node, action::ShareEnded&&) { ++node.shares_ended; }
  void act(Node& node, action::StorePiece&& a) {
    const auto bytes = a.buffer.bytes();
    std::vector<std::byte> content(bytes.begin(), bytes.end());
    a.buffer.reset();
    after(std::chrono::milliseconds(1), [this, &node, content = std::move(content), model = a.model,
                                         piece = a.piece, from = a.from] {
      if (node.gone) return;
      const auto manifest = node.core->manifest(model);
      const bool right = manifest == nullptr || sha256(content) == manifest->digest(piece);
      if (right && model == node.key) node.got[piece] = content;
      node.core->piece_stored(model, piece, from, static_cast<std::uint32_t>(content.size()),
                              right ? Result<void>{} : fail(Errc::kCorrupt, "wrong bytes"), now_);
      settle(node);
    });
  }
  void act(Node& node, action::PreparePiece&& a) {
    after(std::chrono::microseconds(50), [this, &node, a] {
      if (node.gone) return;
      node.core->piece_prepared(a.connection, a.model, a.piece, true);
      settle(node);
    });
  }
  void act(Node&, action::ReleasePiece&&) {}
  void act(Node& node, action::FinishStore&& a) {
    after(std::chrono::milliseconds(1), [this, &node, a] {
      node.core->store_finished(a.model, now_);
      settle(node);
    });
  }
  void act(Node& node, action::FetchEnded&& a) {
    node.ended = true;
    node.error = std::move(a.error);
    node.ended_at = now_;
  }
  void act(Node& node, action::Log&& a) {
    if (a.text.starts_with("connection to ")) node.breaks.push_back(a.text);
    if (a.warning) node.warnings.push_back(std::move(a.text));
  }

  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<ConnectionId, End> ends_;
  std::priority_queue<Event> events_;
  Time now_{};
  std::uint64_t next_order_ = 0;
  std::uint64_t next_connection_ = 1;
};

}  // namespace shardswarm::test
