#include "swarm/model.h"

#include <utility>

namespace shardswarm {

Fetching* Model::live_fetch() {
  auto* fetch = std::get_if<Fetching>(&role);
  return fetch != nullptr && fetch->live() ? fetch : nullptr;
}

ManifestFetch* Model::learning() const {
  ManifestFetch* learning = nullptr;
  if (const Fetching* fetch = live_fetch()) learning = fetch->learning.get();
  if (const Sharing* share = sharing()) learning = share->learning.get();
  return learning != nullptr && !learning->done() ? learning : nullptr;
}

std::shared_ptr<const Manifest> Model::known_manifest() const {
  if (manifest) return manifest;
  if (const auto* fetch = std::get_if<Fetching>(&role)) return fetch->learning->manifest();
  const Sharing* share = sharing();
  return share != nullptr && share->learning ? share->learning->manifest() : nullptr;
}

void Model::activate(const CoreOptions& options, const PieceSet& pieces) {
  have = pieces;
  announcements = AnnouncementRecord(manifest->piece_count());
  const auto bytes = [this](PieceIndex piece) { return piece_bytes(piece); };
  UploadOptions for_upload = options.upload;
  for_upload.seed = options.seed ^ key.value;
  upload = std::make_unique<UploadScheduler>(manifest->piece_count(), bytes, for_upload);
  upload->have(have.runs());
  Fetching* fetch = live_fetch();
  if (fetch == nullptr) return;
  fetch->step = Fetching::Step::kFetching;
  fetch->storing = PieceSet(manifest->piece_count());
  counters.wanted_bytes = 0;
  fetch->wanted.for_each([&](PieceIndex piece) {
    counters.wanted_bytes += piece_bytes(piece);
    if (have.contains(piece)) counters.present_bytes += piece_bytes(piece);
  });
  counters.reused_bytes = counters.present_bytes;
  DownloadOptions for_download = options.download;
  for_download.seed = options.seed ^ key.value;
  if (fetch->order == FetchOrder::kLayers) {
    for_download.rank = [ranks = load_ranks(*manifest, fetch->learning->outline())](
                            PieceIndex piece) { return ranks[piece.value]; };
  }
  fetch->download =
      std::make_unique<DownloadScheduler>(manifest->piece_count(), bytes, for_download);
  fetch->download->want(fetch->wanted - have);
}

Model& Models::add(const ModelId& id, std::variant<Seeding, Fetching, Sharing> role) {
  const ModelKey key(next_++);
  by_id_[id] = key;
  return *models_.emplace(key, std::make_unique<Model>(key, id, std::move(role))).first->second;
}

void Models::erase(ModelKey key) {
  const auto at = models_.find(key);
  if (at == models_.end()) return;
  by_id_.erase(at->second->id);
  models_.erase(at);
}

Model* Models::find(ModelKey key) {
  const auto at = models_.find(key);
  return at == models_.end() ? nullptr : at->second.get();
}

Model* Models::find(const ModelId& id) {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : find(at->second);
}

}  // namespace shardswarm
