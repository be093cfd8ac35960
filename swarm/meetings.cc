#include "swarm/meetings.h"

#include <algorithm>
#include <string>
#include <utility>

#include "swarm/context.h"
#include "swarm/shared_models.h"

namespace shardswarm {
namespace {

constexpr std::size_t kTalliesMax = 1024;
constexpr std::size_t kEarlyRunsMax = std::size_t{1} << 20;

}  // namespace

// --- opening ---

void Meetings::open(Link& link, Model& model) {
  if (!link.hello || link.closing || link.session.closing()) return;
  if (!link.session.may_open(model.id)) return;
  const Channel channel = link.session.open(model.id);
  link.models.try_emplace(
      model.key,
      LinkModel{.channel = channel, .early_have = {}, .early_want = {}, .connected_to = {}});
  link.by_channel[channel] = model.key;
  context_.links.mark_ready(link);
}

void Meetings::meet_everybody(Model& model, Time now) {
  for (auto& [id, link] : context_.links) {
    if (model.sharing() == nullptr) open(link, model);
    const auto at = link.models.find(model.key);
    if (at != link.models.end() && link.session.peer_opened(at->second.channel)) {
      introduce(link, model, at->second, now);
    }
  }
}

void Meetings::introduce(Link& link, Model& model, LinkModel& at, Time now) {
  if (ManifestFetch* learning = model.learning()) learning->add_peer(link.id);
  if (!model.upload || at.introduced || link.neighbour.visiting()) return;
  const auto early_have = std::exchange(at.early_have, {});
  const auto early_want = std::exchange(at.early_want, {});
  if (!within(link, model, early_have) || !within(link, model, early_want)) return;
  if (!may_name(link, model, early_have, 1, now)) return;
  at.introduced = true;
  ++model.introduced;
  model.exchange.newcomer();
  model.exchange.peers_changed();
  note_tally(link, model, at);

  model.upload->add_peer(link.id, link.hello->node_id, now);
  model.upload->peer_has(link.id, early_have, now);
  model.upload->peer_wants(link.id, early_want);
  model.upload->peer_connected_to(link.id, at.connected_to);
  if (Fetching* fetch = model.live_fetch()) {
    fetch->download->add_peer(link.id, now, link.neighbour.near());
    fetch->download->peer_has(link.id, early_have);
    fetch->download->peer_wants(link.id, early_want);
    link.session.want(at.channel, (fetch->wanted - model.have).runs());
  }
  if (!model.have.empty()) link.session.have(at.channel, model.have.runs());
  context_.links.mark_ready(link);
}

void Meetings::note_tally(Link& link, Model& model, LinkModel& at) {
  if (model.tallies.size() >= kTalliesMax) {
    std::erase_if(model.tallies, [](const auto& entry) {
      const PeerTally& old = entry.second;
      return old.connections == 0 && old.fetched_bytes == 0 && old.sent_bytes == 0;
    });
  }
  PeerTally& tally = model.tallies[link.hello->node_id];
  at.tally = &tally;
  const auto& told = link.neighbour.told_addresses();
  tally.address = told.empty() ? link.address : told.front();
  ++tally.connections;
  tally.lost_why.clear();
}

// --- parting ---

void Meetings::part(Link& link, Model& model, LinkModel& at, std::string_view why, Time now) {
  auto* fetch = std::get_if<Fetching>(&model.role);
  Sharing* share = model.sharing();
  if (fetch != nullptr) fetch->learning->remove_peer(link.id);
  if (share != nullptr && share->learning) share->learning->remove_peer(link.id);
  if (share != nullptr) share->left = true;
  at.wants = false;
  at.early_have.clear();
  at.early_want.clear();
  if (!std::exchange(at.introduced, false)) return;
  --model.introduced;
  if (fetch != nullptr) fetch->download->remove_peer(link.id);
  model.upload->remove_peer(link.id);
  model.exchange.peers_changed();
  PeerTally& tally = *std::exchange(at.tally, nullptr);
  if (--tally.connections > 0) return;
  tally.lost_why = why;
  model.counters.lost = {.address = tally.address, .why = std::string(why), .at = now};
}

void Meetings::forget(Model& model) {
  for (auto& [id, link] : context_.links) {
    const auto at = link.models.find(model.key);
    if (at == link.models.end()) continue;
    link.session.unknown_model(at->second.channel);
    context_.links.mark_ready(link);
    const auto& arriving = link.downlink.arriving();
    if (link.uplink.sending(model.key) || (arriving && arriving->model == model.key)) {
      context_.links.close(link, CloseReason::kDone, "the model was closed here");
      continue;
    }
    link.by_channel.erase(at->second.channel);
    link.models.erase(at);
  }
  context_.models.erase(model.key);
}

// --- what a peer said ---

bool Meetings::within(Link& link, const Model& model, std::span<const PieceRun> pieces) {
  const bool ok = std::ranges::all_of(pieces, [&](const PieceRun& run) {
    return std::uint64_t{run.first.value} + run.count <= model.manifest->piece_count();
  });
  if (!ok) context_.links.protocol_error(link, "pieces outside the model");
  return ok;
}

// These pieces, and `times` all pieces of the model (WIRE-68).
bool Meetings::may_name(Link& link, const Model& model, std::span<const PieceRun> pieces,
                        std::uint32_t times, Time now) {
  NamedBudget& named = link.models.at(model.key).named;
  const bool ok = named.spend(pieces, times, model.manifest->piece_count(), now);
  if (!ok) context_.links.protocol_error(link, "it names the same pieces again and again");
  return ok;
}

void Meetings::have(Link& link, Model& model, const event::Have& e, Time now) {
  LinkModel& at = link.models.at(model.key);
  Fetching* fetch = model.live_fetch();
  if (fetch != nullptr) fetch->patience.peer_had_it();
  if (!at.introduced) {
    if (model.sharing() != nullptr) return;  // nothing is asked for
    if (at.early_have.size() + e.pieces.size() > kEarlyRunsMax) {
      context_.links.protocol_error(link, "too many piece runs before the manifest");
      return;
    }
    at.early_have.insert(at.early_have.end(), e.pieces.begin(), e.pieces.end());
    return;
  }
  if (!within(link, model, e.pieces) || !may_name(link, model, e.pieces, 0, now)) return;
  if (fetch != nullptr) {
    fetch->download->peer_has(link.id, e.pieces);
    if (!fetch->gone.empty()) {
      for (const PieceRun& run : e.pieces) fetch->gone.erase(run);
    }
  }
  model.upload->peer_has(link.id, e.pieces, now);
}

void Meetings::lost(Link& link, Model& model, const event::Lost& e, Time now) {
  if (!link.models.at(model.key).introduced) return;
  if (!within(link, model, e.pieces) || !may_name(link, model, e.pieces, 0, now)) return;
  if (Fetching* fetch = model.live_fetch()) {
    fetch->download->peer_lost(link.id, e.pieces);
    if (fetch->gone.empty()) fetch->gone = PieceSet(model.manifest->piece_count());
    for (const PieceRun& run : e.pieces) fetch->gone.insert(run);
    fetch->gone_from = name_of(link);
  }
  model.upload->peer_lost(link.id, e.pieces);
}

bool Meetings::wants(Link& link, Model& model, const event::Want& e, Time now) {
  LinkModel& at = link.models.at(model.key);
  Sharing* share = model.sharing();
  at.wants = !e.pieces.empty();
  if (share != nullptr && !at.wants) share->left = true;
  if (model.manifest && (!within(link, model, e.pieces) || !may_name(link, model, {}, 1, now))) {
    return false;
  }
  if (!at.introduced) {
    at.early_want = e.pieces;
    if (share != nullptr && at.early_want.size() > kSharedEarlyRunsMax) {
      at.early_want.resize(kSharedEarlyRunsMax);
    }
    return true;
  }
  if (Fetching* fetch = model.live_fetch()) fetch->download->peer_wants(link.id, e.pieces);
  model.upload->peer_wants(link.id, e.pieces);
  return true;
}

}  // namespace shardswarm
