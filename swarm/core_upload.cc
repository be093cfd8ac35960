// Pieces to peers: whose turn it is, and what becomes of what was chosen.
#include <algorithm>
#include <iterator>
#include <utility>

#include "swarm/core_state.h"

namespace shardswarm {

void Core::pump_uploads(Time now) {
  for (auto& [key, model] : models_) {
    if (model->state != Model::State::kActive) continue;
    if (const auto due = model->upload->next_deadline(); due && *due <= now) {
      model->upload->expire(now);
    }
    if (!model->upload->take_freed()) continue;
    for (const auto& [id, link] : links_) uploads_due_.insert(id);
  }
  check_slots(now);
  if (busy_uploads_ >= upload_slots() || uploads_due_.empty()) return;
  const auto in_turn = uploads_in_turn();
  const auto by_need = uploads_by_need(in_turn);
  for (const auto copy : {UploadScheduler::Copy::kFirst, UploadScheduler::Copy::kAny}) {
    while (busy_uploads_ < upload_slots() &&
           give_upload(need_is_next_ ? by_need : in_turn, copy, now)) {
      need_is_next_ = !need_is_next_;
    }
  }
}

// Links that may be given a piece, after the one that was given the last.
std::vector<ConnectionId> Core::uploads_in_turn() {
  std::vector<ConnectionId> links;
  uploads_due_.erase_if([&](ConnectionId id) {
    const Link* link = find_link(id);
    const bool free =
        link != nullptr && !link->close_asked && !link->upload_busy && !link->upload_stuck;
    if (free) links.push_back(id);
    return !free;
  });
  std::ranges::rotate(links, std::ranges::upper_bound(links, last_upload_));
  return links;
}

// Those first whose peers have the most left to fetch, by 64ths of a model: the last to be done
// makes the makespan. In turn alone, the neighbours of a source, who may take little from others
// while it gives to them, were done 1.3 times as late as the rest (250 nodes, degree 24). Every
// other piece is given in turn, for one who wants little shall not wait for all who want much.
std::vector<ConnectionId> Core::uploads_by_need(std::span<const ConnectionId> in_turn) {
  struct Need {
    std::uint64_t missing;
    std::size_t turn;
  };
  std::vector<Need> needs;
  for (std::size_t turn = 0; turn < in_turn.size(); ++turn) {
    std::uint64_t most = 0;
    for (const auto& [key, at] : find_link(in_turn[turn])->models) {
      const Model* model = find_model(key);
      if (model == nullptr || !at.introduced) continue;
      const std::uint64_t missing = 64ULL * model->upload->missing(in_turn[turn]);
      most = std::max(most, missing / std::max(model->manifest->piece_count(), 1U));
    }
    needs.push_back({most, turn});
  }
  std::ranges::sort(needs, [](const Need& a, const Need& b) {
    return a.missing != b.missing ? a.missing > b.missing : a.turn < b.turn;
  });
  std::vector<ConnectionId> links;
  std::ranges::transform(needs, std::back_inserter(links),
                         [&](const Need& need) { return in_turn[need.turn]; });
  return links;
}

// To the first of them that may have such a piece.
bool Core::give_upload(std::span<const ConnectionId> order, UploadScheduler::Copy copy, Time now) {
  for (const ConnectionId id : order) {
    Link& link = *find_link(id);
    if (link.upload_busy || !uploads_due_.contains(id)) continue;
    if (begin_upload(link, copy, now)) {
      last_upload_ = id;
      return true;
    }
    if (copy == UploadScheduler::Copy::kAny) uploads_due_.erase(id);
  }
  return false;
}

// Chooses one piece for the link, of one of its models in turn.
bool Core::begin_upload(Link& link, UploadScheduler::Copy copy, Time now) {
  if (link.close_asked || link.uploads.size() >= kUploadsAheadMax) return false;
  auto at = link.models.upper_bound(link.last_upload_model);
  for (std::size_t n = link.models.size(); n > 0; --n, ++at) {
    if (at == link.models.end()) at = link.models.begin();
    Model* model = find_model(at->first);
    if (model == nullptr || !at->second.introduced) continue;
    const auto piece = model->upload->choose(link.id, copy, now);
    if (!piece) continue;
    link.last_upload_model = model->key;
    const std::uint32_t length = model->piece_bytes(*piece);
    if (link.uploads.empty()) {
      if (now - link.upload_progress > kRateKept) link.upload_rate = {};
      link.upload_rate.busy(now);
    }
    link.uploads.push_back(
        {.model = model->key, .channel = at->second.channel, .piece = *piece, .length = length});
    link.upload_progress = now;
    count_ahead(link);
    link.session.claim(at->second.channel, *piece);
    output_ready_.insert(link.id);
    actions_.push_back(action::PreparePiece{
        .connection = link.id, .model = model->key, .piece = *piece, .length = length});
    return true;
  }
  return false;
}

// Bytes that the link's socket takes in such a time.
std::uint64_t Core::taken_in(const Link& link, Duration time) {
  const double bytes = link.upload_rate.lately() * std::chrono::duration<double>(time).count();
  return static_cast<std::uint64_t>(std::min(bytes, 1e15));
}

std::uint64_t Core::unsent_max(ConnectionId connection) {
  const Link* link = find_link(connection);
  return link == nullptr
             ? kUnsentBytesMin
             : std::clamp(taken_in(*link, kUnsentLasts), kUnsentBytesMin, kUnsentBytesMax);
}

// A link is busy, and holds a slot, while more is on its way than its socket soon takes. Then it
// has its next turn.
void Core::count_ahead(Link& link) {
  if (link.uploads.empty()) link.upload_stuck = false;
  std::uint64_t ahead = 0;
  for (const Upload& upload : link.uploads) ahead += upload.length - upload.sent;
  const std::uint64_t enough =
      std::clamp(taken_in(link, kUploadAhead), kUploadBytesAhead, kUploadBytesAheadMax);
  const bool full = ahead >= enough || link.uploads.size() >= kUploadsAheadMax;
  if (!full) uploads_due_.insert(link.id);
  const bool busy = full && !link.upload_stuck;
  if (busy == link.upload_busy) return;
  link.upload_busy = busy;
  if (busy) {
    ++busy_uploads_;
    if (!std::exchange(link.slot_check, true)) {
      slot_checks_.emplace(link.upload_progress + kSlotHeld, link.id);
    }
  } else {
    --busy_uploads_;
  }
}

void Core::check_slots(Time now) {
  while (!slot_checks_.empty() && slot_checks_.begin()->first <= now) {
    const ConnectionId id = slot_checks_.begin()->second;
    slot_checks_.erase(slot_checks_.begin());
    Link* link = find_link(id);
    if (link == nullptr) continue;
    if (link->session.piece_frame_waits()) link->upload_progress = now;  // for our rate limit
    link->slot_check = link->upload_busy && link->upload_progress + kSlotHeld > now;
    if (link->slot_check) {
      slot_checks_.emplace(link->upload_progress + kSlotHeld, id);
    } else if (link->upload_busy) {
      link->upload_stuck = true;
      count_ahead(*link);
    }
  }
}

std::size_t Core::upload_slots() const {
  return limits_ ? std::min(slots_.count(), limits_->upload_slots) : slots_.count();
}

void Core::extent_sent(Link& link, const OutputExtent& extent, std::size_t bytes, Time now) {
  slots_.sent(bytes, busy_uploads_ >= upload_slots() && !uploads_due_.empty(), now);
  const auto it = std::find_if(link.uploads.begin(), link.uploads.end(), [&](const Upload& u) {
    return u.prepared && u.channel == extent.channel && u.piece == extent.piece;
  });
  if (it == link.uploads.end()) return;
  it->sent += static_cast<std::uint32_t>(bytes);
  link.upload_rate.add(bytes, now);
  link.session.data_frames_up_to(static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
      taken_in(link, kFrameLasts), limits::kShortFrameBytes, limits::kDataBytesMax)));
  link.upload_progress = now;
  link.upload_stuck = false;
  count_ahead(link);
}

void Core::erase_upload(Link& link, const std::deque<Upload>::iterator& upload) {
  drop_upload(link, *upload);
  link.uploads.erase(upload);
  count_ahead(link);
}

void Core::piece_prepared(ConnectionId connection, ModelKey key, PieceIndex piece, bool ok) {
  Link* link = find_link(connection);
  Model* model = find_model(key);
  if (link == nullptr || model == nullptr) return;
  const auto it = std::find_if(link->uploads.begin(), link->uploads.end(), [&](const Upload& u) {
    return u.model == key && u.piece == piece && !u.prepared;
  });
  if (it == link->uploads.end()) return;
  if (!ok && !it->cancelled) {
    model->upload->unsent(connection, piece);
    const PieceRun run{piece, 1};
    link->session.reject(it->channel, {&run, 1}, RejectReason::kNotHere);
  }
  if (!ok || it->cancelled || link->close_asked) {
    erase_upload(*link, it);
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
    if (PeerTally* tally = link.models.at(model->key).tally) tally->sent_bytes += it->length;
    model->upload->sent(link.id, e.piece, it->length, now);
  }
  erase_upload(link, it);
}

void Core::on(Link& link, event::Cancel&& e, Time /*now*/) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr || !link.models.at(model->key).introduced) return;
  if (!within(link, *model, e.pieces)) return;
  const auto waiting = model->upload->withdrawn(link.id, e.pieces, e.credit_bytes);
  if (!waiting.empty()) link.session.reject(e.channel, waiting, RejectReason::kCancelled);
  if (e.unclaimed) return;
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
  uploads_due_.insert(link.id);
}

}  // namespace shardswarm
