#include "swarm/uplink.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "swarm/context.h"

namespace shardswarm {
namespace {

// What a connection may have on its way out before the socket took it, but for one piece: enough to
// keep the socket busy while the next is read, little enough to stay free in the choice. What goes
// out in kUploadAhead where that is more: making a piece ready that is not cached, or is to be
// encrypted, takes two changes of thread, a millisecond when all cores are busy.
constexpr std::uint64_t kUploadBytesAhead = 256 * limits::kKiB;
constexpr std::uint64_t kUploadBytesAheadMax = 4 * limits::kMiB;
constexpr auto kUploadAhead = std::chrono::milliseconds(2);
constexpr std::size_t kUploadsAheadMax = 64;  // small pieces
// A DATA frame holds up control, and what the kernel has unsent is chosen for good: so long, but a
// system call, and a wake-up, shall move something.
constexpr auto kFrameLasts = std::chrono::milliseconds(1);
constexpr auto kUnsentLasts = std::chrono::microseconds(500);
constexpr std::uint64_t kUnsentBytesMin = 64 * limits::kKiB;
constexpr std::uint64_t kUnsentBytesMax = limits::kMiB;
constexpr auto kRateKept = std::chrono::seconds(1);  // of a connection that was sent nothing
// A peer that takes nothing for so long holds up nobody else.
constexpr Duration kSlotHeld = std::chrono::milliseconds(200);

}  // namespace

bool UplinkRecord::sending(ModelKey model) const {
  return std::ranges::any_of(uploads_,
                             [model](const Upload& upload) { return upload.model == model; });
}

// --- whose turn it is ---

void Uplink::due(Link& link) { due_.insert(link.id); }

void Uplink::pump(Time now) {
  for (auto& [key, model] : context_.models) {
    if (!model->upload) continue;
    if (const auto deadline = model->upload->next_deadline(); deadline && *deadline <= now) {
      model->upload->expire(now);
    }
    if (!model->upload->take_freed()) continue;
    for (const auto& [id, link] : context_.links) due_.insert(id);
  }
  check_progress(now);
  if (busy_ >= slots() || due_.empty()) return;
  const auto turn = in_turn();
  const auto need = by_need(turn);
  for (const auto copy : {UploadScheduler::Copy::kFirst, UploadScheduler::Copy::kAny}) {
    while (busy_ < slots() && give(need_is_next_ ? need : turn, copy, now)) {
      need_is_next_ = !need_is_next_;
    }
  }
}

std::size_t Uplink::slots() const { return std::min(slots_.count(), gate_.upload_slots()); }

// Connections that may be given a piece, after the one that was given the last.
std::vector<ConnectionId> Uplink::in_turn() {
  std::vector<ConnectionId> links;
  due_.erase_if([&](ConnectionId id) {
    const Link* link = context_.links.find(id);
    const bool free =
        link != nullptr && !link->closing && !link->uplink.busy_ && !link->uplink.stuck_;
    if (free) links.push_back(id);
    return !free;
  });
  std::ranges::rotate(links, std::ranges::upper_bound(links, last_));
  return links;
}

// Those first whose peers have the most left to fetch, by 64ths of a model: the last to be done
// makes the makespan. In turn alone, the neighbours of a source, who may take little from others
// while it gives to them, were done 1.3 times as late as the rest (250 nodes, degree 24). Every
// other piece is given in turn, for one who wants little shall not wait for all who want much.
std::vector<ConnectionId> Uplink::by_need(std::span<const ConnectionId> in_turn) {
  struct Need {
    std::uint64_t missing;
    std::size_t turn;
  };
  std::vector<Need> needs;
  for (std::size_t turn = 0; turn < in_turn.size(); ++turn) {
    std::uint64_t most = 0;
    for (const auto& [key, at] : context_.links.find(in_turn[turn])->models) {
      const Model* model = context_.models.find(key);
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

// To the first of them that may have such a piece. Whether there was one.
bool Uplink::give(std::span<const ConnectionId> order, UploadScheduler::Copy copy, Time now) {
  for (const ConnectionId id : order) {
    Link& link = *context_.links.find(id);
    if (link.uplink.busy_ || !due_.contains(id)) continue;
    if (begin(link, copy, now)) {
      last_ = id;
      return true;
    }
    if (copy == UploadScheduler::Copy::kAny) due_.erase(id);
  }
  return false;
}

// Chooses one piece for the connection, of one of its models in turn. Whether there was one.
bool Uplink::begin(Link& link, UploadScheduler::Copy copy, Time now) {
  UplinkRecord& record = link.uplink;
  if (link.closing || record.uploads_.size() >= kUploadsAheadMax) return false;
  auto at = link.models.upper_bound(record.last_model_);
  for (std::size_t n = link.models.size(); n > 0; --n, ++at) {
    if (at == link.models.end()) at = link.models.begin();
    Model* model = context_.models.find(at->first);
    if (model == nullptr || !at->second.introduced) continue;
    const auto piece = model->upload->choose(link.id, copy, now);
    if (!piece) continue;
    record.last_model_ = model->key;
    const std::uint32_t length = model->piece_bytes(*piece);
    if (record.uploads_.empty()) {
      if (now - record.progress_ > kRateKept) record.rate_ = {};
      record.rate_.busy(now);
    }
    record.uploads_.push_back(
        {.model = model->key, .channel = at->second.channel, .piece = *piece, .length = length});
    record.progress_ = now;
    count_ahead(link);
    link.session.claim(at->second.channel, *piece);
    context_.links.mark_ready(link);
    context_.out.push(action::PreparePiece{
        .connection = link.id, .model = model->key, .piece = *piece, .length = length});
    return true;
  }
  return false;
}

// --- how much is on its way ---

// Bytes that the connection's socket takes in such a time.
std::uint64_t Uplink::taken_in(const Link& link, Duration time) {
  const double bytes = link.uplink.rate_.lately() * std::chrono::duration<double>(time).count();
  return static_cast<std::uint64_t>(std::min(bytes, 1e15));
}

std::uint64_t Uplink::unsent_max(const Link* link) {
  if (link == nullptr) return kUnsentBytesMin;
  return std::clamp(taken_in(*link, kUnsentLasts), kUnsentBytesMin, kUnsentBytesMax);
}

// After each change of what is on its way.
void Uplink::count_ahead(Link& link) {
  UplinkRecord& record = link.uplink;
  if (record.uploads_.empty()) record.stuck_ = false;
  std::uint64_t ahead = 0;
  for (const Upload& upload : record.uploads_) ahead += upload.length - upload.sent;
  const std::uint64_t enough =
      std::clamp(taken_in(link, kUploadAhead), kUploadBytesAhead, kUploadBytesAheadMax);
  const bool full = ahead >= enough || record.uploads_.size() >= kUploadsAheadMax;
  if (!full) due_.insert(link.id);
  const bool busy = full && !record.stuck_;
  if (std::exchange(record.busy_, busy) == busy) return;
  if (!busy) {
    --busy_;
    return;
  }
  ++busy_;
  if (!std::exchange(record.checked_, true)) {
    checks_.emplace(record.progress_ + kSlotHeld, link.id);
  }
}

void Uplink::check_progress(Time now) {
  while (!checks_.empty() && checks_.begin()->first <= now) {
    const ConnectionId id = checks_.begin()->second;
    checks_.erase(checks_.begin());
    Link* link = context_.links.find(id);
    if (link == nullptr) continue;
    UplinkRecord& record = link->uplink;
    if (link->session.queue().piece_frame_waits()) record.progress_ = now;  // for our rate limit
    record.checked_ = record.busy_ && record.progress_ + kSlotHeld > now;
    if (record.checked_) {
      checks_.emplace(record.progress_ + kSlotHeld, id);
    } else if (record.busy_) {
      record.stuck_ = true;
      count_ahead(*link);
    }
  }
}

void Uplink::extent_sent(Link& link, const OutputExtent& extent, std::size_t bytes, Time now) {
  slots_.sent(bytes, busy_ >= slots() && !due_.empty(), now);
  UplinkRecord& record = link.uplink;
  const auto it = std::ranges::find_if(record.uploads_, [&](const Upload& u) {
    return u.prepared && u.channel == extent.channel && u.piece == extent.piece;
  });
  if (it == record.uploads_.end()) return;
  if (bytes > it->length - it->sent) {
    context_.links.our_bug(link, "more of a piece was sent than it has");
    return;
  }
  it->sent += static_cast<std::uint32_t>(bytes);
  record.rate_.add(bytes, now);
  link.session.data_frames_up_to(static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
      taken_in(link, kFrameLasts), limits::kShortFrameBytes, limits::kDataBytesMax)));
  record.progress_ = now;
  record.stuck_ = false;
  count_ahead(link);
}

// --- what becomes of what was chosen ---

void Uplink::piece_prepared(Link& link, ModelKey key, PieceIndex piece, bool ok) {
  Model* model = context_.models.find(key);
  if (model == nullptr) return;
  auto& uploads = link.uplink.uploads_;
  const auto it = std::ranges::find_if(
      uploads, [&](const Upload& u) { return u.model == key && u.piece == piece && !u.prepared; });
  if (it == uploads.end()) return;
  if (!ok && !it->cancelled) {
    model->upload->unsent(link.id, piece);
    const PieceRun run{piece, 1};
    link.session.reject(it->channel, {&run, 1}, RejectReason::kNotHere);
  }
  if (!ok || it->cancelled || link.closing) {
    erase(link, it);
  } else {
    it->prepared = true;
    link.session.send_piece(it->channel, piece, it->length);
  }
  context_.links.mark_ready(link);
}

void Uplink::piece_sent(Link& link, const event::PieceSent& e, Time now) {
  auto& uploads = link.uplink.uploads_;
  const auto it = std::ranges::find_if(uploads, [&](const Upload& u) {
    return u.prepared && u.channel == e.channel && u.piece == e.piece;
  });
  if (it == uploads.end()) return;
  Model* model = context_.models.find(it->model);
  if (model == nullptr) return;
  if (e.aborted) {
    model->upload->unsent(link.id, e.piece);
  } else {
    model->counters.sent_bytes += it->length;
    if (PeerTally* tally = link.models.at(model->key).tally) tally->sent_bytes += it->length;
    model->upload->sent(link.id, e.piece, it->length, now);
  }
  erase(link, it);
}

// CANCEL, of an introduced model of which all these pieces are.
void Uplink::cancelled(Link& link, const event::Cancel& e) {
  Model* model = context_.model_of(link, e.channel);
  const auto waiting = model->upload->withdrawn(link.id, e.pieces, e.credit_bytes);
  if (!waiting.empty()) link.session.reject(e.channel, waiting, RejectReason::kCancelled);
  if (e.unclaimed) return;
  for (Upload& upload : link.uplink.uploads_) {
    if (upload.model != model->key || upload.cancelled) continue;
    if (!contains(e.pieces, upload.piece)) continue;
    if (!upload.prepared) {
      upload.cancelled = true;
      const PieceRun run{upload.piece, 1};
      link.session.reject(e.channel, {&run, 1}, RejectReason::kCancelled);
      model->upload->unsent(link.id, upload.piece);
      continue;
    }
    link.session.abort_piece(upload.channel, upload.piece);  // piece_sent() tells what became of it
  }
  due_.insert(link.id);
}

void Uplink::erase(Link& link, const std::deque<Upload>::iterator& upload) {
  auto& uploads = link.uplink.uploads_;
  const Upload ended = *upload;
  uploads.erase(upload);
  // The same piece may have been chosen again meanwhile: it is released with its last upload.
  const bool again = std::ranges::any_of(
      uploads, [&](const Upload& u) { return u.model == ended.model && u.piece == ended.piece; });
  if (!again) {
    context_.out.push(
        action::ReleasePiece{.connection = link.id, .model = ended.model, .piece = ended.piece});
  }
  count_ahead(link);
}

void Uplink::removed(Link& link) {
  if (std::exchange(link.uplink.busy_, false)) --busy_;
}

std::optional<Time> Uplink::next_deadline() const {
  return checks_.empty() ? std::nullopt : std::optional(checks_.begin()->first);
}

}  // namespace shardswarm
