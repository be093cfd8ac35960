#include "swarm/shared_models.h"

#include <algorithm>
#include <utility>

#include "swarm/context.h"
#include "swarm/meetings.h"

namespace shardswarm {
namespace {

// A peer may open so many on a connection, so many of them may be learned and served, and their
// manifests may have so many bytes together.
constexpr std::uint32_t kSharedPerLinkMax = 64;
constexpr std::size_t kSharedModelsMax = 16;
constexpr std::uint64_t kSharedManifestBytesMax = 64 * limits::kMiB;
constexpr Duration kSharedLearnTime = std::chrono::seconds(60);
// A model of which nothing was found is not looked for again at once.
constexpr Duration kNothingSharedFor = std::chrono::seconds(60);
constexpr std::size_t kNothingSharedMax = 1024;

}  // namespace

Model* SharedModels::add(Link& link, const ModelId& id, Time now) {
  const auto open = std::ranges::count_if(link.models, [this](const auto& entry) {
    const Model* other = context_.models.find(entry.first);
    return other != nullptr && other->sharing() != nullptr;
  });
  if (!context_.options.share || static_cast<std::size_t>(open) >= kSharedPerLinkMax ||
      !link.session.may_open(id)) {
    return nullptr;
  }
  std::erase_if(nothing_shared_,
                [now](const auto& entry) { return now - entry.second >= kNothingSharedFor; });
  if (nothing_shared_.contains(id)) return nullptr;
  return &context_.models.add(id, Sharing{});
}

void SharedModels::wanted(Model& model, std::span<const PieceRun> pieces) {
  if (pieces.empty()) return;
  if (model.manifest) {
    look_for(model, pieces);
    look_on(model);
    return;
  }
  if (model.sharing()->learning) return;
  const auto learned = std::ranges::count_if(context_.models, [](const auto& entry) {
    const Sharing* share = entry.second->sharing();
    return share != nullptr && share->learning != nullptr;
  });
  if (static_cast<std::size_t>(learned) >= kSharedModelsMax) return;  // see end()
  learn(model, {});
}

void SharedModels::learn(Model& model, std::vector<FileIndex> files) {
  auto& learning = model.sharing()->learning;
  const std::uint32_t first =
      learning ? learning->next_request() : model.key.value * kBlobRequestsPerModel;
  learning =
      std::make_unique<ManifestFetch>(ManifestFetch::of_files(model.id, std::move(files), first));
  // The root was read before: it is read again without fault.
  if (model.manifest) (void)learning->know(*model.manifest);
  for (auto& [id, link] : context_.links) {
    const auto at = link.models.find(model.key);
    if (at != link.models.end() && link.session.peer_opened(at->second.channel)) {
      learning->add_peer(id);
    }
  }
}

void SharedModels::manifest_known(Model& model, Time now) {
  const bool first = model.manifest == nullptr;
  model.manifest = model.sharing()->learning->manifest();
  model.counters.learned = true;
  if (first) {
    if (!admit(model, model.manifest->root_blob()->size())) {
      end(model, true, now);
      return;
    }
    for (auto& [id, link] : context_.links) {
      const auto at = link.models.find(model.key);
      if (at == link.models.end() || link.closing) continue;
      const auto& wanted = at->second.early_want;
      if (meetings_.within(link, model, wanted)) look_for(model, wanted);
    }
  }
  look_on(model);
  const bool idle = model.learning() == nullptr && !model.sharing()->finding;
  if (idle && !model.upload) end(model, true, now);
}

// Whether the model may keep so much more of its manifest.
bool SharedModels::admit(Model& model, std::uint64_t bytes) {
  std::uint64_t kept = 0;
  for (const auto& [key, other] : context_.models) {
    if (const Sharing* share = other->sharing()) kept += share->manifest_bytes;
  }
  if (kept + bytes > kSharedManifestBytesMax) return false;
  model.sharing()->manifest_bytes += bytes;
  return true;
}

// Adds the files of these pieces, which lie within the model. Plain files are not shared: who can
// guess one should not learn by it what this machine has.
void SharedModels::look_for(Model& model, std::span<const PieceRun> pieces) {
  auto& looked_for = model.sharing()->looked_for;
  for (const PieceRun& run : pieces) {
    FileIndex file = model.manifest->file_of(run.first);
    const FileIndex last = model.manifest->file_of(PieceIndex(run.first.value + run.count - 1));
    for (; file <= last; ++file) {
      const FileEntry& entry = model.manifest->file(file);
      if (entry.kind == FileKind::kPlain || looked_for.contains(file)) continue;
      const std::uint64_t bytes = entry.header_bytes + std::uint64_t{entry.pieces} * sizeof(Digest);
      if (admit(model, bytes)) looked_for.insert(file);
    }
  }
}

// The next step: learn what is not known of the files looked for, then have what is known of them
// looked up.
void SharedModels::look_on(Model& model) {
  Sharing& share = *model.sharing();
  if (model.learning() != nullptr || share.finding) return;
  const Manifest& manifest = *model.manifest;
  std::vector<FileIndex> unknown;
  PieceSet pieces(manifest.piece_count());
  for (const FileIndex file : share.looked_for) {
    if (share.looked_at.contains(file)) continue;
    if (manifest.needs_header(file) || manifest.needs_piece_list(file)) {
      unknown.push_back(file);
    } else {
      pieces.insert(PieceRun{manifest.first_piece(file), manifest.file(file).pieces});
    }
  }
  if (!unknown.empty()) {
    learn(model, std::move(unknown));
  } else if (!pieces.empty()) {
    share.looked_at = share.looked_for;
    share.finding = true;
    context_.out.push(action::FindShared{model.key, std::move(pieces)});
  }
}

void SharedModels::found(Model& model, const PieceSet& have, Time now) {
  Sharing& share = *model.sharing();
  share.finding = false;
  if (model.upload) {
    const PieceSet more = have - model.have;
    if (!more.empty()) {
      model.have |= more;
      model.upload->have(more.runs());
      Announcements::came(model, more, now);
    }
  } else if (!have.empty()) {
    model.activate(context_.options, have);
    meetings_.meet_everybody(model, now);
  } else if (share.looked_at == share.looked_for) {
    end(model, true, now);
    return;
  }
  look_on(model);
}

void SharedModels::end(Model& model, bool nothing_found, Time now) {
  const ModelKey key = model.key;
  if (nothing_found && nothing_shared_.size() < kNothingSharedMax) {
    nothing_shared_.emplace(model.id, now);
  }
  meetings_.forget(model);
  context_.out.push(action::ShareEnded{key});
  // One that waited may be learned in its place.
  for (const auto& [other, waiting] : context_.models) {
    const Sharing* share = waiting->sharing();
    if (share == nullptr || share->learning) continue;
    for (auto& [id, link] : context_.links) {
      const auto at = link.models.find(other);
      if (at != link.models.end()) wanted(*waiting, at->second.early_want);
    }
  }
}

bool SharedModels::is_left(const Model& model) const {
  return std::ranges::none_of(context_.links, [&](const auto& entry) {
    const Link& link = entry.second;
    const auto at = link.models.find(model.key);
    return at != link.models.end() && link.session.peer_opened(at->second.channel) &&
           (at->second.wants || model.sharing()->learning == nullptr);
  });
}

void SharedModels::end_left(Time now) {
  std::vector<ModelKey> left;
  for (const auto& [key, model] : context_.models) {
    Sharing* share = model->sharing();
    if (share == nullptr) continue;
    if (model->learning() == nullptr) {
      share->learning_until.reset();
    } else if (!share->learning_until) {
      share->learning_until = now + kSharedLearnTime;
    } else if (now >= *share->learning_until) {
      left.push_back(key);
      continue;
    }
    if (!share->left) continue;
    // Bytes on their way need it a little longer.
    const bool sending = std::ranges::any_of(
        context_.links, [of = key](const auto& entry) { return entry.second.uplink.sending(of); });
    if (sending) continue;
    share->left = false;
    if (is_left(*model)) left.push_back(key);
  }
  for (const ModelKey key : left) {
    Model* model = context_.models.find(key);
    end(*model, model->learning() != nullptr, now);
  }
}

}  // namespace shardswarm
