// Lives of models: learned from peers or given, opened, fetched, served.
#include <algorithm>
#include <utility>

#include "swarm/core_state.h"

namespace shardswarm {

Result<ModelKey> Core::add_seed(std::shared_ptr<const Manifest> manifest, const PieceSet& have,
                                Time now) {
  end_shared_of(manifest->id(), now);
  if (find_model(manifest->id()) != nullptr) {
    return fail(Errc::kBusy,
                "model " + to_hex(manifest->id()) + " is being fetched or seeded by this node");
  }
  const ModelKey key(next_model_++);
  auto model = std::make_unique<Model>();
  model->key = key;
  model->id = manifest->id();
  model->manifest = std::move(manifest);
  model->counters.learned = true;
  Model& added = *model;
  model_by_id_[added.id] = key;
  models_.emplace(key, std::move(model));
  added.wanted = PieceSet(added.manifest->piece_count());
  activate(added, have);
  meet_everybody(added, now);
  return key;
}

Result<ModelKey> Core::add_fetch(FetchRequest request, Time now) {
  const ModelId id = request.id;
  end_shared_of(id, now);
  if (find_model(id) != nullptr) {
    return fail(Errc::kBusy, "model " + to_hex(id) + " is being fetched or seeded by this node");
  }
  const ModelKey key(next_model_++);
  auto model = std::make_unique<Model>();
  model->key = key;
  model->id = id;
  model->fetching = true;
  model->stall_timeout = request.stall_timeout;
  model->order = request.order;
  model->last_progress = model->started = now;
  model->wait_until = now + request.wait;
  model->learning = std::make_unique<ManifestFetch>(id, std::move(request.selection), request.until,
                                                    key.value * kBlobRequestsPerFetch);
  if (request.kept) {
    if (auto known = model->learning->know(*request.kept); !known) {
      return std::unexpected(known.error());
    }
  }
  Model& added = *model;
  model_by_id_[id] = key;
  models_.emplace(key, std::move(model));
  neighbours_changed_ = true;
  meet_everybody(added, now);
  if (added.learning->done()) manifest_known(added);
  return key;
}

void Core::add_node(const std::vector<std::string>& addresses, Time now) {
  for (const std::string& address : addresses) {
    addresses_.add_given(address, now, next_given_node_);
  }
  ++next_given_node_;
}

void Core::remove_model(ModelKey key) {
  Model* model = find_model(key);
  if (model == nullptr) return;
  for (auto& [id, link] : links_) {
    const auto at = link.models.find(key);
    if (at == link.models.end()) continue;
    link.session.unknown_model(at->second.channel);
    output_ready_.insert(id);
    const bool sending = std::any_of(link.uploads.begin(), link.uploads.end(),
                                     [&](const Upload& upload) { return upload.model == key; });
    if (sending || (link.receiving && link.receiving->model == key)) {
      // Bytes of it are on their way: the connection cannot go on without them.
      close_link(link, CloseReason::kDone, "the model was closed here");
      continue;
    }
    link.by_channel.erase(at->second.channel);
    link.models.erase(at);
  }
  model_by_id_.erase(model->id);
  models_.erase(key);
  neighbours_changed_ = true;
}

std::shared_ptr<const Manifest> Core::manifest(ModelKey key) const {
  const Model* model = find_model(key);
  if (model == nullptr) return nullptr;
  if (model->manifest) return model->manifest;
  return model->learning ? model->learning->manifest() : nullptr;
}

const ResolvedSelection& Core::resolved(ModelKey key) const {
  return find_model(key)->learning->resolved();
}

const Outline& Core::outline(ModelKey key) const { return find_model(key)->learning->outline(); }

ModelStatus Core::status(ModelKey key) const {
  const Model* model = find_model(key);
  if (model == nullptr) return {};
  ModelStatus status = model->counters;
  status.active = model->state == Model::State::kActive;
  status.ended = !model->fetching;
  status.peers = static_cast<std::uint32_t>(
      std::count_if(model->tallies.begin(), model->tallies.end(),
                    [](const auto& entry) { return entry.second.connections > 0; }));
  if (model->state != Model::State::kActive) {
    // Nobody is introduced yet; a peer that opened the model has it.
    status.peers = static_cast<std::uint32_t>(
        std::count_if(links_.begin(), links_.end(), [key](const auto& entry) {
          const auto at = entry.second.models.find(key);
          return at != entry.second.models.end() &&
                 entry.second.session.peer_opened(at->second.channel);
        }));
  }
  status.last_progress = model->last_progress;
  status.gives_up_at = model->stalled_at();
  if (awaits_source(*model) && model->wait_until > model->started) {
    status.waits_until = model->wait_until;
    status.last_progress = model->started;
    status.gives_up_at = std::max(status.gives_up_at, model->wait_until);
  }
  // Looking at all pieces of all peers would cost too much here.
  if (model->is_learning() && !model->download) status.lacking = lacking(*model);
  if (status.peers == 0) {
    if (const auto error = addresses_.all_given_failed()) status.unreachable = error->message;
  }
  return status;
}

const std::map<NodeId, PeerTally>& Core::tallies(ModelKey key) const {
  static const std::map<NodeId, PeerTally> kNone;
  const Model* model = find_model(key);
  return model == nullptr ? kNone : model->tallies;
}

bool Core::may_leave(ModelKey key) const {
  const Model* model = find_model(key);
  if (model == nullptr || !model->upload) return true;
  const bool sending = std::any_of(links_.begin(), links_.end(), [&](const auto& entry) {
    const auto& uploads = entry.second.uploads;
    return std::any_of(uploads.begin(), uploads.end(),
                       [&](const Upload& upload) { return upload.model == key; });
  });
  return !sending && model->unannounced.empty() && model->upload->only_here() == 0;
}

// --- learning ---

void Core::open_on(Link& link, Model& model) {
  if (!link.hello || link.close_asked || !link.session.may_open(model.id)) return;
  const Channel channel = link.session.open(model.id);
  link.models.try_emplace(
      model.key,
      LinkModel{.channel = channel, .early_have = {}, .early_want = {}, .connected_to = {}});
  link.by_channel[channel] = model.key;
  output_ready_.insert(link.id);
}

// Opens a new model on every link, and takes up with the peers that opened it before we knew it.
void Core::meet_everybody(Model& model, Time now) {
  for (auto& [id, link] : links_) {
    if (!model.sharing) open_on(link, model);
    const auto at = link.models.find(model.key);
    if (at != link.models.end() && link.session.peer_opened(at->second.channel)) {
      introduce(link, model, at->second, now);
    }
  }
}

// The peer is gone, or knows the model no more.
void Core::part(Link& link, Model& model, LinkModel& at, std::string_view why, Time now) {
  if (model.learning) model.learning->remove_peer(link.id);
  model.left = true;
  at.wants = false;
  at.early_have.clear();
  at.early_want.clear();
  if (!std::exchange(at.introduced, false)) return;
  --model.introduced;
  if (model.download) model.download->remove_peer(link.id);
  model.upload->remove_peer(link.id);
  model.to_peers_changed = true;
  PeerTally& tally = *std::exchange(at.tally, nullptr);
  if (--tally.connections > 0) return;
  tally.lost_why = why;
  model.counters.lost_address = tally.address;
  model.counters.lost_why = why;
  model.counters.lost_at = now;
}

// The peer knows the model too: from now on they may exchange what they have.
void Core::introduce(Link& link, Model& model, LinkModel& at, Time now) {
  if (model.is_learning()) model.learning->add_peer(link.id);
  if (model.state != Model::State::kActive) return;
  if (at.introduced || link.visiting) return;
  const auto early_have = std::exchange(at.early_have, {});
  const auto early_want = std::exchange(at.early_want, {});
  if (!within(link, model, early_have) || !within(link, model, early_want)) return;
  if (!may_name(link, model, early_have, 1, now)) return;
  at.introduced = model.newcomers = true;
  ++model.introduced;
  if (model.tallies.size() >= kTalliesMax) {
    std::erase_if(model.tallies, [](const auto& entry) {
      const PeerTally& old = entry.second;
      return old.connections == 0 && old.fetched_bytes == 0 && old.sent_bytes == 0;
    });
  }
  PeerTally& tally = model.tallies[link.hello->node_id];
  at.tally = &tally;
  tally.address = link.told_addresses.empty() ? link.address : link.told_addresses.front();
  ++tally.connections;
  tally.lost_why.clear();
  model.to_peers_changed = true;

  model.upload->add_peer(link.id, link.hello->node_id, now);
  model.upload->peer_has(link.id, early_have, now);
  model.upload->peer_wants(link.id, early_want);
  model.upload->peer_connected_to(link.id, at.connected_to);
  if (model.fetching) {
    model.download->add_peer(link.id, now, link.near);
    model.download->peer_has(link.id, early_have);
    model.download->peer_wants(link.id, early_want);
    const PieceSet missing = model.wanted - model.have;
    link.session.want(at.channel, missing.runs());
  }
  if (!model.have.empty()) link.session.have(at.channel, model.have.runs());
  output_ready_.insert(link.id);
}

void Core::learn(Model& model, Time now) {
  if (model.learning->done()) return;
  for (const ManifestFetch::Ask& wanted : model.learning->decide(now)) {
    Link* link = find_link(wanted.peer);
    if (link == nullptr) continue;
    link->session.request_blob(link->models.at(model.key).channel, wanted.request, wanted.digest);
    output_ready_.insert(link->id);
  }
}

void Core::manifest_known(Model& model) {
  model.manifest = model.learning->manifest();
  model.state = Model::State::kOpening;
  model.counters.learned = true;
  model.counters.selected_bytes = model.learning->resolved().bytes;
  model.counters.wanted_bytes = model.counters.selected_bytes;
  actions_.push_back(action::ManifestReady{model.key});
}

void Core::store_opened(ModelKey key, const PieceSet& have, const PieceSet& wanted,
                        const PieceSet& kept_back, Time now) {
  Model* model = find_model(key);
  if (model == nullptr || !model->fetching || model->state != Model::State::kOpening) return;
  model->last_progress = now;
  model->wanted = (model->learning->resolved().pieces | wanted) - kept_back;
  activate(*model, have);
  meet_everybody(*model, now);
}

void Core::activate(Model& model, const PieceSet& have) {
  model.state = Model::State::kActive;
  model.have = have;
  model.unannounced = model.storing = PieceSet(model.manifest->piece_count());
  const auto bytes = [&model](PieceIndex piece) { return model.piece_bytes(piece); };
  UploadOptions upload = options_.upload;
  upload.seed = options_.seed ^ model.key.value;
  model.upload = std::make_unique<UploadScheduler>(model.manifest->piece_count(), bytes, upload);
  model.upload->have(have.runs());
  if (model.fetching) {
    model.counters.wanted_bytes = 0;
    model.wanted.for_each([&](PieceIndex piece) {
      model.counters.wanted_bytes += model.piece_bytes(piece);
      if (have.contains(piece)) model.counters.present_bytes += model.piece_bytes(piece);
    });
    model.counters.reused_bytes = model.counters.present_bytes;
    DownloadOptions download = options_.download;
    download.seed = options_.seed ^ model.key.value;
    if (model.order == FetchOrder::kLayers) {
      download.rank = [ranks = load_ranks(*model.manifest, model.learning->outline())](
                          PieceIndex piece) { return ranks[piece.value]; };
    }
    model.download =
        std::make_unique<DownloadScheduler>(model.manifest->piece_count(), bytes, download);
    model.download->want(model.wanted - have);
  }
}

// --- ends ---

void Core::fetch_failed(ModelKey key, Error error, Time now) {
  Model* model = find_model(key);
  if (model == nullptr || !model->fetching) return;
  model->fetching = false;
  neighbours_changed_ = true;
  (void)now;
  if (model->state == Model::State::kActive) {
    const PieceRun all{PieceIndex(0), model->manifest->piece_count()};
    for (auto& [id, link] : links_) {
      const auto at = link.models.find(key);
      if (at == link.models.end() || !at->second.introduced || link.close_asked) continue;
      link.session.cancel(at->second.channel, {&all, 1}, limits::kCreditBytesMax);
      link.session.want(at->second.channel, {});
      output_ready_.insert(id);
    }
  }
  actions_.push_back(action::FetchEnded{key, std::move(error)});
}

void Core::check_complete(Model& model) {
  if (!model.fetching || model.finishing || !model.download->done()) return;
  model.finishing = true;
  actions_.push_back(action::FinishStore{model.key});
}

void Core::store_finished(ModelKey key, Time now) {
  Model* model = find_model(key);
  if (model == nullptr || !model->fetching) return;
  model->fetching = false;
  neighbours_changed_ = true;
  model->last_progress = now;
  for (auto& [id, link] : links_) {
    const auto at = link.models.find(key);
    if (at == link.models.end() || !at->second.introduced || link.close_asked) continue;
    link.session.want(at->second.channel, {});
    output_ready_.insert(id);
  }
  actions_.push_back(action::FetchEnded{key, std::nullopt});
}

// --- telling others ---

Duration Core::announce_delay(const Model& model) const {
  return std::max(kAnnounceDelayMin, model.introduced * options_.have_delay_per_peer);
}

void Core::announce(Model& model, Time now) {
  if (model.unannounced.empty()) return;
  if (model.unannounced.count() < kAnnounceAtOnce && !model.finishing &&
      now - model.unannounced_since < announce_delay(model)) {
    return;
  }
  const auto runs = model.unannounced.runs();
  model.unannounced.clear();
  for (auto& [id, link] : links_) {
    const auto at = link.models.find(model.key);
    if (at == link.models.end() || !at->second.introduced || link.close_asked) continue;
    link.session.have(at->second.channel, runs);
    output_ready_.insert(id);
  }
}

}  // namespace shardswarm
