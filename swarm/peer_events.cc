#include "swarm/peer_events.h"

#include <string>
#include <utility>
#include <variant>

namespace shardswarm {

void PeerEvents::drain(Link& link, Time now) {
  bool changed = false;
  while (auto e = link.session.next_event()) {
    changed = changed || !std::holds_alternative<event::PieceBytes>(*e);
    std::visit([&](auto&& what) { on(link, std::forward<decltype(what)>(what), now); },
               std::move(*e));
    if (link.closing) break;
  }
  // Most calls are about a part of a piece: nobody needs to look at the connection for that.
  if (changed) context_.links.mark_ready(link);
}

// Null unless peer and node may exchange pieces of it.
Model* PeerEvents::introduced(const Link& link, Channel channel) {
  Model* model = model_of(link, channel);
  return model != nullptr && link.models.at(model->key).introduced ? model : nullptr;
}

// --- the connection ---

void PeerEvents::on(Link& link, event::Ready&& e, Time now) {
  if (!parts_.neighbourhood.greeted(link, std::move(e.hello), now)) return;
  parts_.liveness.ping(link, now);
  for (const auto& [key, model] : context_.models) {
    if (model->sharing() == nullptr) parts_.meetings.open(link, *model);
    if (Fetching* fetch = model->live_fetch()) fetch->patience.greeted(now);
  }
}

void PeerEvents::on(Link& link, const event::Pong& e, Time now) {
  const auto round_trip = Liveness::pong(link, e.token, now);
  if (!round_trip) return;
  for (auto& [key, at] : link.models) {
    const Model* model = context_.models.find(key);
    if (model == nullptr || !at.introduced) continue;
    if (const Fetching* fetch = model->live_fetch()) {
      fetch->download->measured_round_trip(link.id, *round_trip);
    }
  }
}

void PeerEvents::on(Link& link, const event::Closed& e, Time now) {
  parts_.neighbourhood.closed_by_peer(link, e.reason, now);
  if (e.reason == CloseReason::kShutdown) {
    link.error = Error{Errc::kUnreachable, "its node was stopped"};
  } else if (e.reason != CloseReason::kOverload && e.reason != CloseReason::kDuplicate &&
             e.reason != CloseReason::kDone) {
    const Errc code = e.reason == CloseReason::kVersion ? Errc::kVersion : Errc::kUnreachable;
    link.error = Error{
        code, "closed by the peer (" + std::string(close_reason_name(e.reason)) + "): " + e.text};
  }
  context_.links.close(link, CloseReason::kDone, "");
}

void PeerEvents::on(Link& link, event::Failed&& e, Time /*now*/) {
  if (e.error.code == Errc::kRefused && context_.options.insecure) {
    e.error.message += ", without --insecure";
  }
  if (link.hello) context_.out.warn("peer " + link.address + ": " + e.error.message);
  if (e.reason == CloseReason::kSelf) parts_.neighbourhood.never_again(link);
  link.error = std::move(e.error);
  context_.links.close(link, e.reason, link.error->message);
}

void PeerEvents::on(Link& link, const event::Peers& e, Time now) {
  if (Model* model = model_of(link, e.channel)) parts_.exchange.heard(link, *model, e, now);
}

// --- models ---

void PeerEvents::on(Link& link, const event::Opened& e, Time now) {
  Model* model = context_.models.find(e.model);
  if (model == nullptr && !link.neighbour.visiting()) model = parts_.shared.add(link, e.model, now);
  if (model == nullptr) {
    link.session.unknown_model(e.channel);
    return;
  }
  parts_.meetings.open(link, *model);
  const auto at = link.models.find(model->key);
  if (at == link.models.end()) return;
  at->second.answered = true;
  parts_.neighbourhood.reconsider();
  if (link.neighbour.visiting()) {
    parts_.exchange.tell_visitor(link, *model, e.channel, now);
  } else {
    parts_.meetings.introduce(link, *model, at->second, now);
  }
}

void PeerEvents::on(Link& link, const event::UnknownModel& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) return;
  LinkModel& at = link.models.at(model->key);
  at.answered = true;
  parts_.neighbourhood.reconsider();
  Meetings::part(link, *model, at, "it does not have the model any more", now);
}

void PeerEvents::on(Link& link, const event::Have& e, Time now) {
  if (Model* model = model_of(link, e.channel)) parts_.meetings.have(link, *model, e, now);
}

void PeerEvents::on(Link& link, const event::Lost& e, Time now) {
  if (Model* model = model_of(link, e.channel)) parts_.meetings.lost(link, *model, e, now);
}

void PeerEvents::on(Link& link, const event::Want& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr || !parts_.meetings.wants(link, *model, e, now)) return;
  if (model->sharing() == nullptr) return;
  const LinkModel& at = link.models.at(model->key);
  parts_.shared.wanted(*model, at.introduced ? e.pieces : at.early_want);
}

// --- manifests ---

void PeerEvents::on(Link& link, const event::BlobRequest& e, Time /*now*/) {
  Blobs::answer(link, model_of(link, e.channel), e);
}

void PeerEvents::on(Link& link, const event::BlobChunk& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) return;
  model->counters.manifest_bytes += e.bytes.size();
  const ManifestFetch* learning = model->learning();
  if (learning == nullptr) return;
  if (const auto taken = Blobs::came(link, *model, e, now); !taken) {
    refuse_blob(link, *model, taken.error(), now);
  } else if (learning->done() && model->sharing() != nullptr) {
    parts_.shared.manifest_known(*model, now);
  } else if (learning->done()) {
    parts_.fetches.manifest_known(*model);
  }
}

void PeerEvents::refuse_blob(Link& link, Model& model, const Error& error, Time now) {
  if (error.code == Errc::kProtocol) {
    context_.links.protocol_error(link, error.message);
  } else if (error.code == Errc::kCorrupt) {
    parts_.neighbourhood.ban(link, error.message);
  } else if (model.sharing() != nullptr) {
    parts_.shared.end(model, true, now);
  } else {
    parts_.fetches.fail(model, error);
  }
}

void PeerEvents::on(Link& link, const event::BlobReject& e, Time now) {
  const Model* model = model_of(link, e.channel);
  ManifestFetch* learning = model == nullptr ? nullptr : model->learning();
  if (learning != nullptr) learning->rejected(link.id, e.request, now);
}

// --- pieces to it ---

void PeerEvents::on(Link& link, const event::Request& e, Time /*now*/) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) return;
  if (!link.models.at(model->key).introduced) {
    link.session.reject(e.channel, e.pieces, RejectReason::kNotHere);
    return;
  }
  if (!parts_.meetings.within(link, *model, e.pieces)) return;
  const auto refused = model->upload->asked(link.id, e.pieces, e.credit_bytes, e.any);
  if (!refused.not_here.empty()) {
    link.session.reject(e.channel, refused.not_here, RejectReason::kNotHere);
  }
  if (!refused.leased.empty()) {
    link.session.reject(e.channel, refused.leased, RejectReason::kLeased);
  }
  parts_.uplink.due(link);
}

void PeerEvents::on(Link& link, const event::Cancel& e, Time /*now*/) {
  const Model* model = introduced(link, e.channel);
  if (model == nullptr || !parts_.meetings.within(link, *model, e.pieces)) return;
  parts_.uplink.cancelled(link, e);
}

void PeerEvents::on(Link& link, const event::PieceSent& e, Time now) {
  parts_.uplink.piece_sent(link, e, now);
}

// --- pieces from it ---

void PeerEvents::on(Link& link, const event::Claim& e, Time now) {
  Model* model = introduced(link, e.channel);
  if (model == nullptr || model->live_fetch() == nullptr) return;
  if (!parts_.meetings.within(link, *model, e.pieces)) return;
  std::uint64_t pieces = 0;
  for (const PieceRun& run : e.pieces) pieces += run.count;
  if (pieces > limits::kClaimPiecesMax) {
    context_.links.protocol_error(link, "it claims too many pieces at once");
  } else if (!Downlink::claimed(link, *model, e, now)) {
    context_.links.protocol_error(link, "it claims a piece that was not asked for");
  }
}

void PeerEvents::on(Link& link, const event::Reject& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr || !model->upload) return;
  if (parts_.meetings.within(link, *model, e.pieces)) {
    parts_.downlink.rejected(link, *model, e, now);
  }
}

void PeerEvents::on(Link& link, const event::PieceBegin& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) {
    // It crossed our closing of the model; how long it is is not known any more.
    context_.links.close(link, CloseReason::kDone, "the model was closed here");
    return;
  }
  const auto* fetch = std::get_if<Fetching>(&model->role);
  if (fetch == nullptr || !model->upload || e.piece.value >= model->manifest->piece_count() ||
      !fetch->wanted.contains(e.piece)) {
    context_.links.protocol_error(link, "it sends a piece that was not asked for");
    return;
  }
  parts_.downlink.begins(link, *model, e, now);
}

void PeerEvents::on(Link& link, const event::PieceBytes& e, Time now) {
  context_.control_bytes -= e.bytes;
  if (Model* model = model_of(link, e.channel)) parts_.downlink.came(link, *model, e, now);
}

void PeerEvents::on(Link& link, const event::PieceEnd& e, Time /*now*/) {
  if (Model* model = model_of(link, e.channel)) parts_.downlink.ended(link, *model, e);
}

}  // namespace shardswarm
