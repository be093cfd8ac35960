// Pieces in and out.
#include <algorithm>
#include <utility>

#include "swarm/core_state.h"

namespace shardswarm {

// --- in ---

void Core::on(Link& link, event::PieceBegin&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) {
    // It crossed our closing of the model; how long it is is not known any more.
    close_link(link, CloseReason::kDone, "the model was closed here");
    return;
  }
  if (model->state != Model::State::kActive || e.piece.value >= model->manifest->piece_count() ||
      !model->wanted.contains(e.piece)) {
    protocol_error(link, "it sends a piece that was not asked for");
    return;
  }
  const std::uint32_t length = model->piece_bytes(e.piece);
  link.receiving =
      Link::Receiving{.model = model->key, .piece = e.piece, .length = length, .buffer = {}};
  Link::Receiving& receiving = *link.receiving;
  if (!model->fetching || !model->download->begins(link.id, e.piece, now)) {
    receiving.discard = true;
    link.session.discard_piece(length);
    const PieceRun run{e.piece, 1};
    link.session.cancel(e.channel, {&run, 1}, 0);
    return;
  }
  if (!try_accept(link, now)) set_waiting(link, true);
}

// While some peer's bytes wait for a buffer or the disk, asking for more would only queue them, and
// silence is ours, not the peers'.
void Core::set_waiting(Link& link, bool waiting) {
  Link::Receiving& receiving = *link.receiving;
  if (receiving.waiting == waiting) return;
  receiving.waiting = waiting;
  if (waiting) {
    waiting_.insert(link.id);
  } else {
    waiting_.erase(link.id);
  }
  Model* model = find_model(receiving.model);
  if (model == nullptr) return;
  model->waiting += waiting ? 1U : ~0U;
  model->download->pause(model->waiting > 0);
}

void Core::accept_waiting(Time now) {
  const std::vector<ConnectionId> waiting(waiting_.begin(), waiting_.end());
  for (const ConnectionId id : waiting) {
    Link* link = find_link(id);
    if (link == nullptr || !link->receiving || !link->receiving->waiting) continue;
    if (try_accept(*link, now)) drain(*link, now);
  }
}

bool Core::try_accept(Link& link, Time now) {
  Link::Receiving& receiving = *link.receiving;
  Model* model = find_model(receiving.model);
  if (model == nullptr || link.close_asked) return false;
  if (model->undurable_bytes >= limits::kUndurableBytesMax) return false;
  auto buffer = buffers_.take(receiving.length);
  if (!buffer) return false;
  set_waiting(link, false);
  receiving.since = now;
  receiving.buffer = std::move(*buffer);
  link.last_received = now;
  link.session.accept_piece(receiving.buffer.bytes());
  output_ready_.insert(link.id);
  return true;
}

void Core::on(Link& link, event::PieceBytes&& e, Time now) {
  Model* model = model_of(link, e.channel);
  control_bytes_ -= e.bytes;
  if (model == nullptr || !link.receiving) return;
  const std::uint32_t before = link.receiving->got;
  link.receiving->got += e.bytes;
  model->counters.fetched_bytes += e.bytes;
  if (PeerTally* tally = link.models.at(model->key).tally) tally->fetched_bytes += e.bytes;
  if (link.receiving->discard) model->counters.duplicate_bytes += e.bytes;
  if (link.receiving->discard || !model->fetching) return;
  // Drops are no progress: steps of 64 KiB are.
  constexpr auto kStep = static_cast<std::uint32_t>(64 * limits::kKiB);
  if (before / kStep != link.receiving->got / kStep) model->last_progress = now;
  model->download->bytes_arrived(link.id, e.piece, e.bytes, now);
}

void Core::on(Link& link, event::PieceEnd&& e, Time /*now*/) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr || !link.receiving) return;
  if (link.receiving->discard || !model->fetching || model->have.contains(e.piece) ||
      !model->storing.insert(e.piece)) {
    if (model->fetching && !link.receiving->discard) {
      const PieceRun run{e.piece, 1};
      model->download->cancelled(link.id, {&run, 1});  // it owes us this one no more
    }
    end_receive(link, true);
    return;
  }
  PieceBuffer buffer = std::move(link.receiving->buffer);
  link.receiving.reset();
  model->download->arrived(link.id, e.piece);
  actions_.push_back(action::StorePiece{
      .model = model->key, .piece = e.piece, .buffer = std::move(buffer), .from = link.id});
}

// The piece under way will not be kept (`wasted`), or was handed on. Frees its buffer.
void Core::end_receive(Link& link, bool wasted) {
  if (!link.receiving) return;
  // Of what is thrown away as it comes, each part was counted then.
  wasted = wasted && !link.receiving->discard;
  if (Model* model = find_model(link.receiving->model); model != nullptr && wasted) {
    model->counters.duplicate_bytes += link.receiving->got;
  }
  set_waiting(link, false);
  link.receiving.reset();
}

// The piece under way is not wanted from this peer any more: its buffer is free at once, and what
// still comes of it is thrown away.
void Core::give_up_receive(Link& link) {
  Link::Receiving& receiving = *link.receiving;
  if (receiving.discard) return;
  receiving.discard = true;
  if (Model* model = find_model(receiving.model); model != nullptr) {
    model->counters.duplicate_bytes += receiving.got;
  }
  if (receiving.waiting) {
    set_waiting(link, false);
    link.session.discard_piece(receiving.length);
  } else {
    link.session.drop_receive();
    receiving.buffer.reset();
  }
  output_ready_.insert(link.id);
}

void Core::on(Link& link, event::Reject&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr || model->state != Model::State::kActive) return;
  if (!within(link, *model, e.pieces)) return;
  if (link.receiving && link.receiving->model == model->key) {
    if (contains(e.pieces, link.receiving->piece)) end_receive(link, true);
  }
  if (!model->fetching || !link.models.at(model->key).introduced) return;
  if (e.reason == RejectReason::kCancelled) {
    model->download->cancelled(link.id, e.pieces);
  } else {
    model->download->rejected(link.id, e.pieces, now);
  }
}

void Core::piece_stored(ModelKey key, PieceIndex piece, ConnectionId from, std::uint32_t length,
                        Result<void> result, Time now) {
  Model* model = find_model(key);
  if (model == nullptr) return;
  model->storing.erase(piece);
  if (!result) {
    model->counters.duplicate_bytes += length;
    if (result.error().code == Errc::kCorrupt) {
      if (model->fetching) model->download->failed(from, piece);
      if (Link* link = find_link(from)) ban(*link, result.error().message);
    } else {
      fetch_failed(key, result.error(), now);
    }
    return;
  }
  if (!model->have.insert(piece)) return;
  model->last_progress = now;
  model->counters.present_bytes += length;
  if (model->download) model->download->verified(piece);
  const PieceRun run{piece, 1};
  model->upload->have({&run, 1});
  if (model->unannounced.empty()) model->unannounced_since = now;
  model->unannounced.insert(piece);
}

void Core::undurable(ModelKey key, std::uint64_t bytes, Time now) {
  Model* model = find_model(key);
  if (model == nullptr) return;
  if (bytes < model->undurable_bytes) model->last_progress = now;  // a slow disk is no stall
  model->undurable_bytes = bytes;
  model->counters.undurable_peak_bytes = std::max(model->counters.undurable_peak_bytes, bytes);
}

void Core::ask(Model& model, Time now) {
  const Decision decision = model.download->decide(now);
  for (const Withdraw& withdraw : decision.withdraw) {
    Link* link = find_link(withdraw.peer);
    if (link == nullptr || link->close_asked) continue;
    link->session.cancel(link->models.at(model.key).channel, withdraw.pieces, 0,
                         withdraw.unclaimed);
    if (!withdraw.unclaimed && link->receiving && link->receiving->model == model.key &&
        contains(withdraw.pieces, link->receiving->piece)) {
      give_up_receive(*link);
    }
    output_ready_.insert(link->id);
  }
  for (const Ask& wanted : decision.ask) {
    Link* link = find_link(wanted.peer);
    if (link == nullptr || link->close_asked) continue;
    link->session.request(link->models.at(model.key).channel, wanted.pieces, wanted.credit_bytes,
                          wanted.any);
    output_ready_.insert(link->id);
  }
}

void Core::pieces_lost(ModelKey key, const PieceSet& have) {
  Model* model = find_model(key);
  if (model == nullptr || model->state != Model::State::kActive) return;
  const std::vector<PieceRun> lost = (model->have - have).runs();
  if (lost.empty()) return;
  model->have &= have;
  model->unannounced &= have;
  model->upload->lost(lost);
  for (auto& [id, link] : links_) {
    const auto at = link.models.find(key);
    if (at == link.models.end() || !at->second.introduced || link.close_asked) continue;
    link.session.lost(at->second.channel, lost);
    output_ready_.insert(id);
  }
}

}  // namespace shardswarm
