// Rate limits: which connection may go on when.
//
//  - Payload waits for its turn, in rounds over the connections, so that none starves: a turn is
//  one
//    DATA frame, or so many bytes to be read, and is paid from the node's and the connection's
//    buckets when it is given. A frame begun goes out whole.
//  - Control frames and blobs of manifests pass at once and are paid afterwards, by payload that
//    waits longer. What was not read yet may be either: it is read at once while HELLO or blobs are
//    awaited, else in turns too.
//  - Fewer pieces are on their way at once, so that each of them gets on: see kUploadRateMin, and
//    DownloadOptions::outstanding_bytes_max.
//  - Who waits for a turn of ours is neither dead nor stalled.
#include <algorithm>
#include <utility>

#include "swarm/core_state.h"

namespace shardswarm {
namespace {

// Receivers take a piece from another when nothing of it comes for 5 s, and close a connection on
// which it drips. So under a limit only so many peers are sent pieces at a time that each gets this
// rate: a piece of 1 MiB in 16 s. The others have their turn afterwards.
constexpr std::uint64_t kUploadRateMin = 64 * limits::kKiB;
// A turn is what 20 ms bring, within bounds: the header of a frame is 0.8 % of 2 KiB, and 16 KiB/s
// are eight such turns a second.
constexpr std::uint64_t kTurnsPerSecond = 50;
constexpr std::uint64_t kTurnBytesMin = 2 * limits::kKiB;

// Blobs are asked for by many peers at once, and a peer asks another when nothing of one comes for
// 5 s: smaller frames, so that at 8 KiB/s 80 of them get on.
constexpr std::uint64_t kBlobTurnsPerTurn = 4;

std::uint64_t turn_bytes(std::uint64_t node_rate, std::uint64_t peer_rate, std::uint64_t most) {
  if (node_rate != 0) most = std::min(most, node_rate / kTurnsPerSecond);
  if (peer_rate != 0) most = std::min(most, peer_rate / kTurnsPerSecond);
  return std::max(most, kTurnBytesMin);
}

}  // namespace

Core::Limits::Limits(const RateLimits& set)
    : rates(set),
      up{.on = set.upload != 0 || set.peer_upload != 0, .bucket = TokenBucket(set.upload)},
      down{.on = set.download != 0 || set.peer_download != 0, .bucket = TokenBucket(set.download)},
      upload_slots(set.upload == 0 ? limits::kConnectionsMax
                                   : std::max<std::uint64_t>(set.upload / kUploadRateMin, 1)) {}

// What was not paid when a turn was given.
void Core::Limits::Flow::charge(TokenBucket& own, std::uint64_t& paid, std::uint64_t bytes,
                                Time now) {
  if (!on) return;
  const std::uint64_t due = bytes - std::min(paid, bytes);
  paid -= bytes - due;
  own.take(due, now);
  bucket.take(due, now);
}

void Core::set_limits() {
  const RateLimits& set = options_.limits;
  if (set.upload == 0 && set.download == 0 && set.peer_upload == 0 && set.peer_download == 0) {
    return;
  }
  limits_ = std::make_unique<Limits>(set);
  if (set.download != 0) {
    // A second's worth; less than two pieces would keep nobody busy.
    options_.download.outstanding_bytes_max = std::max(set.download, 2 * limits::kPieceBytesMax);
  }
}

void Core::limit(Link& link) {
  if (!limits_) return;
  link.up = TokenBucket(limits_->rates.peer_upload);
  link.down = TokenBucket(limits_->rates.peer_download);
  if (limits_->up.on) link.session.pace_payload();
}

// --- in ---

bool Core::reads_at_once(const Link& link) const {
  return !link.hello || std::any_of(models_.begin(), models_.end(), [&](const auto& entry) {
    return entry.second->is_learning() && entry.second->learning->asked(link.id);
  });
}

std::array<std::span<std::byte>, 2> Core::limited(Link& link,
                                                  std::array<std::span<std::byte>, 2> spans) {
  if (!limits_ || !limits_->down.on || spans[0].size() + spans[1].size() == 0) return spans;
  if (reads_at_once(link)) return spans;
  const bool awaited = std::exchange(link.turn_awaited, link.paid_down == 0);
  if (link.turn_awaited && !awaited) set_alive_due(link);
  const auto paid = static_cast<std::size_t>(link.paid_down);
  const std::size_t first = std::min(spans[0].size(), paid);
  return {spans[0].first(first), spans[1].first(std::min(spans[1].size(), paid - first))};
}

// --- both ---

void Core::charge_received(Link& link, std::size_t bytes, Time now) {
  if (limits_) limits_->down.charge(link.down, link.paid_down, bytes, now);
}

void Core::charge_sent(Link& link, std::size_t bytes, Time now) {
  if (limits_) limits_->up.charge(link.up, link.paid_up, bytes, now);
}

// To the first that waits and may, from the one after who had the last.
template <class Links, class Own, class Give>
std::uint64_t Core::Limits::Flow::give_turn(Links& links, Own own, ConnectionId& turn, Time now,
                                            Give give) {
  auto next = links.upper_bound(turn);
  for (std::size_t n = links.size(); n > 0; --n, ++next) {
    if (next == links.end()) next = links.begin();
    Link& link = next->second;
    if (!(link.*own).open(now)) continue;
    const std::uint64_t bytes = give(link);
    if (bytes == 0) continue;
    (link.*own).take(bytes, now);
    bucket.take(bytes, now);
    turn = link.id;
    return bytes;
  }
  return 0;
}

// Pieces and blobs by turns of as many bytes, where both wait: a piece must not drip while a swarm
// of newcomers asks for manifests.
void Core::give_upload_turns(std::uint32_t frame, Time now) {
  const auto begun = [this](Link& link, std::uint32_t bytes) {
    link.paid_up += bytes;
    output_ready_.insert(link.id);
    return std::uint64_t{bytes};
  };
  const auto piece = [&](Link& link) {
    return link.session.piece_frame_waits() ? begun(link, link.session.begin_piece_frame(frame))
                                            : 0;
  };
  const auto part = static_cast<std::uint32_t>(frame / kBlobTurnsPerTurn);
  const auto blob = [&](Link& link) {
    return link.session.blob_frame_waits() ? begun(link, link.session.begin_blob_frame(part)) : 0;
  };
  Limits& limits = *limits_;
  const auto give_piece = [&] {
    return limits.up.give_turn(links_, &Link::up, limits.up.last, now, piece);
  };
  const auto give_blob = [&] {
    return limits.up.give_turn(links_, &Link::up, limits.last_blob, now, blob);
  };
  while (limits.up.bucket.open(now)) {
    const bool blob_first = limits.piece_bytes_ahead >= 0;
    const std::uint64_t bytes = blob_first ? give_blob() : give_piece();
    const auto moved = static_cast<std::int64_t>(bytes);
    limits.piece_bytes_ahead += blob_first ? -moved : moved;
    if (bytes != 0) continue;
    limits.piece_bytes_ahead = 0;  // only one of them waits: nothing is owed to the other
    if ((blob_first ? give_piece() : give_blob()) == 0) return;
  }
}

void Core::give_turns(Time now) {
  if (!limits_) return;
  const RateLimits& rates = limits_->rates;
  const auto frame = static_cast<std::uint32_t>(
      turn_bytes(rates.upload, rates.peer_upload, limits::kShortFrameBytes));
  if (limits_->up.on) give_upload_turns(frame, now);
  // Turns that were paid and are not used, for nothing comes, are all together no more than a
  // burst.
  const std::uint64_t read = turn_bytes(rates.download / std::max<std::size_t>(links_.size(), 1),
                                        rates.peer_download, limits::kPieceBytesMax);
  Limits::Flow& down = limits_->down;
  const auto give = [&](Link& link) -> std::uint64_t {
    if (!std::exchange(link.turn_awaited, false)) return 0;
    link.paid_down += read;
    output_ready_.insert(link.id);
    return read;
  };
  while (down.on && down.bucket.open(now) &&
         down.give_turn(links_, &Link::down, down.last, now, give) != 0) {
  }
  for (auto& [id, link] : links_) {
    if (!link.turn_awaited || !reads_at_once(link)) continue;
    link.turn_awaited = false;
    output_ready_.insert(id);
  }
}

// While it waits for us: its silence is ours, and ours must not be taken for death, although its
// PONG, behind its payload, is late.
void Core::forgive_waiting(Link& link, Time now) {
  link.last_received = now;
  if (link.receiving) link.receiving->since = now;
  for (auto& [key, at] : link.models) {
    Model* model = find_model(key);
    if (model != nullptr && model->fetching && at.introduced)
      model->download->forgive(link.id, now);
  }
  if (now - link.ping_sent < kPingEvery) return;
  link.session.ping(++link.ping_token);
  link.ping_sent = now;
  link.ping_pending = true;
  output_ready_.insert(link.id);
}

std::optional<Time> Core::next_turn() const {
  std::optional<Time> next;
  if (!limits_) return next;
  const auto at = [&next](Time due) { next = next ? std::min(*next, due) : due; };
  for (const auto& [id, link] : links_) {
    if (link.turn_awaited) {
      at(std::max(limits_->down.bucket.open_at(), link.down.open_at()));
    }
    if (link.session.piece_frame_waits() || link.session.blob_frame_waits()) {
      at(std::max(limits_->up.bucket.open_at(), link.up.open_at()));
    }
  }
  return next;
}

}  // namespace shardswarm
