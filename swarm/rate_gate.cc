#include "swarm/rate_gate.h"

#include <algorithm>
#include <utility>

#include "swarm/context.h"

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

RateGate::RateGate(Context& context)
    : context_(context),
      rates_(context.options.limits),
      up_{.on = rates_.upload != 0 || rates_.peer_upload != 0,
          .bucket = TokenBucket(rates_.upload)},
      down_{.on = rates_.download != 0 || rates_.peer_download != 0,
            .bucket = TokenBucket(rates_.download)},
      upload_slots_(rates_.upload == 0
                        ? limits::kConnectionsMax
                        : std::max<std::uint64_t>(rates_.upload / kUploadRateMin, 1)) {}

// What was not paid when a turn was given.
void RateGate::Flow::charge(TokenBucket& own, std::uint64_t& paid, std::uint64_t bytes, Time now) {
  if (!on) return;
  const std::uint64_t due = bytes - std::min(paid, bytes);
  paid -= bytes - due;
  own.take(due, now);
  bucket.take(due, now);
}

void RateGate::add(Link& link) const {
  link.gate.up_ = TokenBucket(rates_.peer_upload);
  link.gate.down_ = TokenBucket(rates_.peer_download);
  if (up_.on) link.session.pace_payload();
}

bool RateGate::reads_at_once(const Link& link) const {
  return !link.hello || std::ranges::any_of(context_.models, [&](const auto& entry) {
    const ManifestFetch* learning = entry.second->learning();
    return learning != nullptr && learning->asked(link.id);
  });
}

std::array<std::span<std::byte>, 2> RateGate::allowed(Link& link,
                                                      std::array<std::span<std::byte>, 2> spans) {
  if (!down_.on || spans[0].size() + spans[1].size() == 0 || reads_at_once(link)) return spans;
  GateRecord& record = link.gate;
  record.turn_awaited_ = record.paid_down_ == 0;
  const auto paid = static_cast<std::size_t>(record.paid_down_);
  const std::size_t first = std::min(spans[0].size(), paid);
  return {spans[0].first(first), spans[1].first(std::min(spans[1].size(), paid - first))};
}

void RateGate::received(Link& link, std::size_t bytes, Time now) {
  down_.charge(link.gate.down_, link.gate.paid_down_, bytes, now);
}

void RateGate::sent(Link& link, std::size_t bytes, Time now) {
  up_.charge(link.gate.up_, link.gate.paid_up_, bytes, now);
}

template <class Give>
std::uint64_t RateGate::give_turn(Flow& flow, TokenBucket GateRecord::* own, ConnectionId& turn,
                                  Time now, Give give) {
  auto next = context_.links.after(turn);
  for (std::size_t n = context_.links.size(); n > 0; --n, ++next) {
    if (next == context_.links.end()) next = context_.links.begin();
    Link& link = next->second;
    if (!(link.gate.*own).open(now)) continue;
    const std::uint64_t bytes = give(link);
    if (bytes == 0) continue;
    (link.gate.*own).take(bytes, now);
    flow.bucket.take(bytes, now);
    turn = link.id;
    return bytes;
  }
  return 0;
}

// Pieces and blobs by turns of as many bytes, where both wait: a piece must not drip while a swarm
// of newcomers asks for manifests.
void RateGate::give_upload_turns(std::uint32_t frame, Time now) {
  const auto begun = [this](Link& link, std::uint32_t bytes) {
    link.gate.paid_up_ += bytes;
    context_.links.mark_ready(link);
    return std::uint64_t{bytes};
  };
  const auto piece = [&](Link& link) {
    return link.session.queue().piece_frame_waits()
               ? begun(link, link.session.begin_piece_frame(frame))
               : 0;
  };
  const auto part = static_cast<std::uint32_t>(frame / kBlobTurnsPerTurn);
  const auto blob = [&](Link& link) {
    return link.session.queue().blob_frame_waits()
               ? begun(link, link.session.begin_blob_frame(part))
               : 0;
  };
  const auto give_piece = [&] { return give_turn(up_, &GateRecord::up_, up_.last, now, piece); };
  const auto give_blob = [&] { return give_turn(up_, &GateRecord::up_, last_blob_, now, blob); };
  while (up_.bucket.open(now)) {
    const bool blob_first = piece_bytes_ahead_ >= 0;
    const std::uint64_t bytes = blob_first ? give_blob() : give_piece();
    const auto moved = static_cast<std::int64_t>(bytes);
    piece_bytes_ahead_ += blob_first ? -moved : moved;
    if (bytes != 0) continue;
    piece_bytes_ahead_ = 0;  // only one of them waits: nothing is owed to the other
    if ((blob_first ? give_piece() : give_blob()) == 0) return;
  }
}

// Turns that were paid and are not used, for nothing comes, are all together no more than a burst.
void RateGate::give_download_turns(Time now) {
  const std::uint64_t read =
      turn_bytes(rates_.download / std::max<std::size_t>(context_.links.size(), 1),
                 rates_.peer_download, limits::kPieceBytesMax);
  const auto give = [&](Link& link) -> std::uint64_t {
    if (!std::exchange(link.gate.turn_awaited_, false)) return 0;
    link.gate.paid_down_ += read;
    context_.links.mark_ready(link);
    return read;
  };
  while (down_.on && down_.bucket.open(now) &&
         give_turn(down_, &GateRecord::down_, down_.last, now, give) != 0) {
  }
  for (auto& [id, link] : context_.links) {
    if (!link.gate.turn_awaited_ || !reads_at_once(link)) continue;
    link.gate.turn_awaited_ = false;
    context_.links.mark_ready(link);
  }
}

void RateGate::give_turns(Time now) {
  if (up_.on) {
    give_upload_turns(static_cast<std::uint32_t>(
                          turn_bytes(rates_.upload, rates_.peer_upload, limits::kShortFrameBytes)),
                      now);
  }
  if (down_.on) give_download_turns(now);
}

std::optional<Time> RateGate::next_deadline() const {
  std::optional<Time> next;
  if (!up_.on && !down_.on) return next;
  const auto at = [&next](Time due) { next = next ? std::min(*next, due) : due; };
  for (const auto& [id, link] : context_.links) {
    if (link.gate.turn_awaited_) at(std::max(down_.bucket.open_at(), link.gate.down_.open_at()));
    if (link.session.queue().piece_frame_waits() || link.session.queue().blob_frame_waits()) {
      at(std::max(up_.bucket.open_at(), link.gate.up_.open_at()));
    }
  }
  return next;
}

}  // namespace shardswarm
