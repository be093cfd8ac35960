// Models that nobody asked for here: served for the pieces that other models of this machine have
// in common with them. A peer opens such a model, says what it wants, and is asked for the parts of
// the manifest that tell of it. What a peer can make us keep and do is bounded by the kShared...
// limits.
#include <algorithm>
#include <utility>

#include "swarm/core_state.h"

namespace shardswarm {

// It is opened in return, so that the peer says what it wants; more is learned only then. Null when
// it may not be shared.
Core::Model* Core::add_shared(Link& link, const ModelId& id, Time now) {
  const auto open = std::ranges::count_if(link.models, [this](const auto& entry) {
    const Model* other = find_model(entry.first);
    return other != nullptr && other->sharing;
  });
  if (!options_.share || static_cast<std::size_t>(open) >= kSharedPerLinkMax ||
      !link.session.may_open(id)) {
    return nullptr;
  }
  std::erase_if(nothing_shared_,
                [now](const auto& entry) { return now - entry.second >= kNothingSharedFor; });
  if (nothing_shared_.contains(id)) return nullptr;
  const ModelKey key(next_model_++);
  auto model = std::make_unique<Model>();
  model->key = key;
  model->id = id;
  model->sharing = true;
  Model* added = model.get();
  model_by_id_[id] = key;
  models_.emplace(key, std::move(model));
  return added;
}

// A peer wants these pieces. Before the root is known they say nothing: its WANT is looked at again
// then.
void Core::wanted_of_shared(Model& model, std::span<const PieceRun> pieces) {
  if (pieces.empty()) return;
  if (model.manifest) {
    look_for(model, pieces);
    look_on(model);
    return;
  }
  if (model.learning) return;
  const auto learned = std::ranges::count_if(models_, [](const auto& entry) {
    return entry.second->sharing && entry.second->learning != nullptr;
  });
  if (static_cast<std::size_t>(learned) >= kSharedModelsMax) return;  // see end_shared
  learn_shared(model, {});
}

void Core::learn_shared(Model& model, std::vector<FileIndex> files) {
  const std::uint32_t first =
      model.learning ? model.learning->next_request() : model.key.value * kBlobRequestsPerFetch;
  model.learning =
      std::make_unique<ManifestFetch>(ManifestFetch::of_files(model.id, std::move(files), first));
  // The root was read before: it is read again without fault.
  if (model.manifest) (void)model.learning->know(*model.manifest);
  for (auto& [id, link] : links_) {
    const auto at = link.models.find(model.key);
    if (at != link.models.end() && link.session.peer_opened(at->second.channel)) {
      model.learning->add_peer(id);
    }
  }
}

void Core::shared_manifest_known(Model& model, Time now) {
  const bool first = model.manifest == nullptr;
  model.manifest = model.learning->manifest();
  model.counters.learned = true;
  if (first) {
    if (!admit_shared(model, model.manifest->root_blob()->size())) {
      end_shared(model.key, true, now);
      return;
    }
    for (auto& [id, link] : links_) {
      const auto at = link.models.find(model.key);
      if (at == link.models.end() || link.close_asked) continue;
      if (within(link, model, at->second.early_want)) look_for(model, at->second.early_want);
    }
  }
  look_on(model);
  const bool idle = !model.is_learning() && !model.finding;
  if (idle && model.state != Model::State::kActive) end_shared(model.key, true, now);
}

// Whether the model may keep so much more of its manifest.
bool Core::admit_shared(Model& model, std::uint64_t bytes) {
  std::uint64_t kept = 0;
  for (const auto& [key, other] : models_) kept += other->shared_bytes;
  if (kept + bytes > kSharedManifestBytesMax) return false;
  model.shared_bytes += bytes;
  return true;
}

// Adds the files of these pieces, which lie within the model. Plain files are not shared: who can
// guess one should not learn by it what this machine has.
void Core::look_for(Model& model, std::span<const PieceRun> pieces) {
  for (const PieceRun& run : pieces) {
    FileIndex file = model.manifest->file_of(run.first);
    const FileIndex last = model.manifest->file_of(PieceIndex(run.first.value + run.count - 1));
    for (; file <= last; ++file) {
      const FileEntry& entry = model.manifest->file(file);
      if (entry.kind == FileKind::kPlain || model.looked_for.contains(file)) continue;
      const std::uint64_t bytes = entry.header_bytes + std::uint64_t{entry.pieces} * sizeof(Digest);
      if (admit_shared(model, bytes)) model.looked_for.insert(file);
    }
  }
}

// The next step: learn what is not known of the files looked for, then have what is known of them
// looked up.
void Core::look_on(Model& model) {
  if (model.is_learning() || model.finding) return;
  std::vector<FileIndex> unknown;
  PieceSet pieces(model.manifest->piece_count());
  for (const FileIndex file : model.looked_for) {
    if (model.looked_at.contains(file)) continue;
    if (model.manifest->needs_header(file) || model.manifest->needs_piece_list(file)) {
      unknown.push_back(file);
    } else {
      pieces.insert(PieceRun{model.manifest->first_piece(file), model.manifest->file(file).pieces});
    }
  }
  if (!unknown.empty()) {
    learn_shared(model, std::move(unknown));
  } else if (!pieces.empty()) {
    model.looked_at = model.looked_for;
    model.finding = true;
    actions_.push_back(action::FindShared{model.key, std::move(pieces)});
  }
}

void Core::shared_found(ModelKey key, const PieceSet& have, Time now) {
  Model* model = find_model(key);
  if (model == nullptr || !model->sharing) return;
  model->finding = false;
  if (model->state == Model::State::kActive) {
    const PieceSet more = have - model->have;
    if (!more.empty()) {
      model->have |= more;
      model->upload->have(more.runs());
      if (model->unannounced.empty()) model->unannounced_since = now;
      model->unannounced |= more;
    }
  } else if (!have.empty()) {
    model->wanted = PieceSet(model->manifest->piece_count());
    activate(*model, have);
    meet_everybody(*model, now);
  } else if (model->looked_at == model->looked_for) {
    end_shared(key, true, now);
    return;
  }
  look_on(*model);
}

void Core::end_shared(ModelKey key, bool nothing_found, Time now) {
  const Model* model = find_model(key);
  if (model == nullptr) return;
  if (nothing_found && nothing_shared_.size() < kNothingSharedMax) {
    nothing_shared_.emplace(model->id, now);
  }
  remove_model(key);
  actions_.push_back(action::ShareEnded{key});
  // One that waited may be learned in its place.
  for (auto& [other, waiting] : models_) {
    if (!waiting->sharing || waiting->learning) continue;
    for (auto& [id, link] : links_) {
      const auto at = link.models.find(other);
      if (at != link.models.end()) wanted_of_shared(*waiting, at->second.early_want);
    }
  }
}

// Somebody asks for it here now.
void Core::end_shared_of(const ModelId& id, Time now) {
  const Model* model = find_model(id);
  if (model != nullptr && model->sharing) end_shared(model->key, false, now);
}

// Those that no connected peer wants anything of any more, or whose manifest does not come. One of
// which nothing was learned costs nothing, and waits for its peers' first WANT.
void Core::end_left_shared(Time now) {
  std::vector<ModelKey> left;
  for (auto& [key, model] : models_) {
    if (!model->sharing) continue;
    if (!model->is_learning()) {
      model->learning_until.reset();
    } else if (!model->learning_until) {
      model->learning_until = now + kSharedLearnTime;
    } else if (now >= *model->learning_until) {
      left.push_back(key);
      continue;
    }
    if (!std::exchange(model->left, false)) continue;
    // Bytes on their way need it a little longer.
    const bool sending = std::ranges::any_of(links_, [of = key](const auto& entry) {
      return std::ranges::any_of(entry.second.uploads,
                                 [of](const Upload& upload) { return upload.model == of; });
    });
    if (sending) {
      model->left = true;
      continue;
    }
    const auto needed = [&](const Link& link, ModelKey of) {
      const auto at = link.models.find(of);
      return at != link.models.end() && link.session.peer_opened(at->second.channel) &&
             (at->second.wants || model->learning == nullptr);
    };
    const bool kept = std::ranges::any_of(
        links_, [&](const auto& entry) { return needed(entry.second, model->key); });
    if (!kept) left.push_back(key);
  }
  for (const ModelKey key : left) end_shared(key, find_model(key)->is_learning(), now);
}

}  // namespace shardswarm
