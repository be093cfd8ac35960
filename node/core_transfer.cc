// Pieces in and out.
#include <algorithm>
#include <utility>

#include "node/core_state.h"

namespace shardswarm {

namespace {

bool contains(std::span<const PieceRun> runs, PieceIndex piece) {
  return std::any_of(runs.begin(), runs.end(), [piece](const PieceRun& run) {
    return piece >= run.first && piece.value - run.first.value < run.count;
  });
}

}  // namespace

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
  if (!model->fetching || !model->download->claimed(link.id, e.piece, now)) {
    receiving.discard = true;
    link.session.discard_piece(length);
    const PieceRun run{e.piece, 1};
    link.session.cancel(e.channel, {&run, 1}, 0);
    return;
  }
  receiving.waiting = true;
  try_accept(link, now);
}

bool Core::try_accept(Link& link, Time now) {
  Link::Receiving& receiving = *link.receiving;
  Model* model = find_model(receiving.model);
  if (model == nullptr || link.close_asked) return false;
  bool accepted = false;
  if (model->undurable_bytes < limits::kUndurableBytesMax) {
    if (auto buffer = buffers_.take(receiving.length)) {
      accepted = true;
      receiving.waiting = false;
      receiving.since = now;
      receiving.buffer = std::move(*buffer);
      link.last_received = now;
      link.session.accept_piece(receiving.buffer.bytes());
      output_ready_.insert(link.id);
    }
  }
  update_pause(*model);
  return accepted;
}

// While some peer's bytes wait for a buffer or the disk, asking for more would only queue them, and
// silence is ours, not the peers'.
void Core::update_pause(Model& model) {
  if (!model.download) return;
  model.download->pause(std::any_of(links_.begin(), links_.end(), [&](const auto& entry) {
    const auto& receiving = entry.second->receiving;
    return receiving && receiving->waiting && receiving->model == model.key;
  }));
}

void Core::on(Link& link, event::PieceBytes&& e, Time now) {
  Model* model = model_of(link, e.channel);
  control_bytes_ -= e.bytes;
  if (model == nullptr || !link.receiving) return;
  const std::uint32_t before = link.receiving->got;
  link.receiving->got += e.bytes;
  model->counters.fetched_bytes += e.bytes;
  model->tallies[link.hello->node_id].fetched_bytes += e.bytes;
  if (link.receiving->discard || !model->fetching) return;
  // As above for blobs: in steps of 64 KiB.
  constexpr auto kStep = static_cast<std::uint32_t>(64 * limits::kKiB);
  if (before / kStep != link.receiving->got / kStep) model->last_progress = now;
  model->download->bytes_arrived(link.id, e.piece, e.bytes, now);
}

void Core::on(Link& link, event::PieceEnd&& e, Time /*now*/) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr || !link.receiving) return;
  if (link.receiving->discard || !model->fetching || model->have.contains(e.piece) ||
      !model->storing.insert(e.piece)) {
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
  if (Model* model = find_model(link.receiving->model); model != nullptr) {
    if (wasted) model->counters.duplicate_bytes += link.receiving->got;
    const bool was_waiting = link.receiving->waiting;
    link.receiving.reset();
    if (was_waiting) update_pause(*model);
  } else {
    link.receiving.reset();
  }
}

// The piece under way is not wanted from this peer any more: its buffer is free at once, and what
// still comes of it is thrown away.
void Core::give_up_receive(Link& link) {
  Link::Receiving& receiving = *link.receiving;
  if (receiving.discard) return;
  receiving.discard = true;
  if (receiving.waiting) {
    receiving.waiting = false;
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
  if (model->fetching && link.models.at(model->key).introduced &&
      e.reason != RejectReason::kCancelled) {
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
  model->uploads_due = true;
}

void Core::undurable(ModelKey key, std::uint64_t bytes, Time now) {
  Model* model = find_model(key);
  if (model == nullptr) return;
  if (bytes < model->undurable_bytes) model->last_progress = now;  // a slow disk is no stall
  model->undurable_bytes = bytes;
}

void Core::ask(Model& model, Time now) {
  const Decision decision = model.download->decide(now);
  for (const Withdraw& withdraw : decision.withdraw) {
    Link* link = find_link(withdraw.peer);
    if (link == nullptr || link->close_asked) continue;
    link->session.cancel(link->models.at(model.key).channel, withdraw.pieces, 0);
    if (link->receiving && link->receiving->model == model.key &&
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

// --- out ---

void Core::pump_uploads(Model& model, Time now) {
  const auto due = model.upload->next_deadline();
  if (!model.uploads_due && (!due || *due > now)) return;
  model.uploads_due = false;
  model.upload->expire(now);
  // Under a limit in rounds: with no slot free, who has uploads gets no more, so that others
  // follow.
  std::size_t slots = free_upload_slots();
  auto next = links_.upper_bound(limits_ ? limits_->last_upload : ConnectionId{});
  for (std::size_t n = links_.size(); n > 0 && slots > 0; --n, ++next) {
    if (next == links_.end()) next = links_.begin();
    Link& link = *next->second;
    const auto at = link.models.find(model.key);
    if (at == link.models.end() || !at->second.introduced) continue;
    const bool idle = link.uploads.empty();
    pump_upload(link, model, at->second, now);
    if (!limits_ || !idle || link.uploads.empty()) continue;
    --slots;
    limits_->last_upload = link.id;
  }
  if (slots == 0) limits_->slot_wanted = true;
}

void Core::pump_upload(Link& link, Model& model, LinkModel& at, Time now) {
  const std::size_t pieces_ahead = slots_are_scarce() ? 1 : kUploadsAhead;
  std::uint64_t ahead = 0;
  for (const Upload& upload : link.uploads) ahead += upload.length;
  while (!link.close_asked && link.uploads.size() < kUploadsAheadMax &&
         (link.uploads.size() < pieces_ahead || ahead < kUploadBytesAhead)) {
    const auto piece = model.upload->choose(link.id, now);
    if (!piece) return;
    const std::uint32_t length = model.piece_bytes(*piece);
    ahead += length;
    link.uploads.push_back(
        {.model = model.key, .channel = at.channel, .piece = *piece, .length = length});
    link.session.claim(at.channel, *piece);
    output_ready_.insert(link.id);
    actions_.push_back(action::PreparePiece{
        .connection = link.id, .model = model.key, .piece = *piece, .length = length});
  }
}

void Core::piece_prepared(ConnectionId connection, ModelKey key, PieceIndex piece, bool ok,
                          Time now) {
  Link* link = find_link(connection);
  Model* model = find_model(key);
  if (link == nullptr || model == nullptr) return;
  const auto it = std::find_if(link->uploads.begin(), link->uploads.end(), [&](const Upload& u) {
    return u.model == key && u.piece == piece && !u.prepared;
  });
  if (it == link->uploads.end()) return;
  (void)now;
  if (!ok && !it->cancelled) {
    model->upload->unsent(connection, piece);
    const PieceRun run{piece, 1};
    link->session.reject(it->channel, {&run, 1}, RejectReason::kNotHere);
  }
  if (!ok || it->cancelled || link->close_asked) {
    drop_upload(*link, *it);
    link->uploads.erase(it);
    model->uploads_due = true;
  } else {
    it->prepared = true;
    link->session.send_piece(it->channel, piece, it->length);
  }
  output_ready_.insert(connection);
}

void Core::drop_upload(Link& link, const Upload& upload) {
  // The same piece may have been chosen again meanwhile: it is released with its last upload.
  const auto same = std::count_if(link.uploads.begin(), link.uploads.end(), [&](const Upload& u) {
    return u.model == upload.model && u.piece == upload.piece;
  });
  if (same > 1) return;
  actions_.push_back(
      action::ReleasePiece{.connection = link.id, .model = upload.model, .piece = upload.piece});
}

void Core::on(Link& link, event::PieceSent&& e, Time now) {
  Model* model = model_of(link, e.channel);
  const auto it = std::find_if(link.uploads.begin(), link.uploads.end(), [&](const Upload& u) {
    return u.channel == e.channel && u.piece == e.piece && u.prepared;
  });
  if (model == nullptr || it == link.uploads.end()) return;
  if (e.aborted) {
    model->upload->unsent(link.id, e.piece);
  } else {
    model->counters.sent_bytes += it->length;
    model->tallies[link.hello->node_id].sent_bytes += it->length;
    model->upload->sent(link.id, e.piece, it->length, now);
  }
  drop_upload(link, *it);
  link.uploads.erase(it);
  model->uploads_due = true;
}

void Core::on(Link& link, event::Cancel&& e, Time /*now*/) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr || !link.models.at(model->key).introduced) return;
  if (!within(link, *model, e.pieces)) return;
  const auto waiting = model->upload->withdrawn(link.id, e.pieces, e.credit_bytes);
  if (!waiting.empty()) link.session.reject(e.channel, waiting, RejectReason::kCancelled);
  for (Upload& upload : link.uploads) {
    if (upload.model != model->key || upload.cancelled) continue;
    if (!contains(e.pieces, upload.piece)) continue;
    if (!upload.prepared) {
      upload.cancelled = true;
      const PieceRun run{upload.piece, 1};
      link.session.reject(e.channel, {&run, 1}, RejectReason::kCancelled);
      model->upload->unsent(link.id, upload.piece);
      continue;
    }
    link.session.abort_piece(upload.channel, upload.piece);  // PieceSent tells what became of it
  }
  model->uploads_due = true;
}

void Core::piece_lost(ModelKey key, PieceIndex piece) {
  Model* model = find_model(key);
  if (model == nullptr || !model->have.contains(piece)) return;
  model->have.erase(piece);
  const PieceRun run{piece, 1};
  model->upload->lost({&run, 1});
  for (auto& [id, link] : links_) {
    const auto at = link->models.find(key);
    if (at == link->models.end() || !at->second.introduced || link->close_asked) continue;
    link->session.lost(at->second.channel, {&run, 1});
    output_ready_.insert(id);
  }
}

}  // namespace shardswarm
