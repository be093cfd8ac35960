#include "swarm/downlink.h"

#include <utility>

#include "swarm/context.h"

namespace shardswarm {

using Arriving = DownlinkRecord::Arriving;

// --- a piece comes ---

void Downlink::begins(Link& link, Model& model, const event::PieceBegin& e, Time now) {
  const std::uint32_t length = model.piece_bytes(e.piece);
  Arriving& arriving = link.downlink.arriving_.emplace(
      Arriving{.model = model.key, .piece = e.piece, .length = length, .buffer = {}});
  Fetching* fetch = model.live_fetch();
  if (fetch == nullptr || !fetch->download->begins(link.id, e.piece, now)) {
    arriving.discard = true;
    link.session.discard_piece(length);
    const PieceRun run{e.piece, 1};
    link.session.cancel(e.channel, {&run, 1}, 0);
    return;
  }
  if (!accept(link, now)) set_waiting(link, true);
}

bool Downlink::accept(Link& link, Time now) {
  if (!link.downlink.arriving_ || link.closing) return false;
  Arriving& arriving = *link.downlink.arriving_;
  const Model* model = context_.models.find(arriving.model);
  if (model == nullptr || model->fetching().undurable_bytes >= limits::kUndurableBytesMax) {
    return false;
  }
  auto buffer = context_.buffers.take(arriving.length);
  if (!buffer) return false;
  set_waiting(link, false);
  arriving.since = now;
  arriving.buffer = std::move(*buffer);
  link.liveness.received(now);
  link.session.accept_piece(arriving.buffer.bytes());
  context_.links.mark_ready(link);
  return true;
}

// While some peer's bytes wait for a buffer or the disk, asking for more would only queue them, and
// silence is ours, not the peers'.
void Downlink::set_waiting(Link& link, bool waiting) {
  Arriving& arriving = *link.downlink.arriving_;
  if (std::exchange(arriving.waiting, waiting) == waiting) return;
  if (waiting) {
    waiting_.insert(link.id);
  } else {
    waiting_.erase(link.id);
  }
  Model* model = context_.models.find(arriving.model);
  if (model == nullptr) return;
  Fetching& fetch = model->fetching();
  fetch.waiting += waiting ? 1U : ~0U;  // modulo 2^32: minus one
  fetch.download->pause(fetch.waiting > 0);
}

void Downlink::came(Link& link, Model& model, const event::PieceBytes& e, Time now) {
  if (!link.downlink.arriving_) return;
  Arriving& arriving = *link.downlink.arriving_;
  if (e.bytes > arriving.length - arriving.got) {
    context_.links.our_bug(link, "more of a piece came than it has");
    return;
  }
  const std::uint32_t before = arriving.got;
  arriving.got += e.bytes;
  model.counters.fetched_bytes += e.bytes;
  if (PeerTally* tally = link.models.at(model.key).tally) tally->fetched_bytes += e.bytes;
  if (arriving.discard) model.counters.duplicate_bytes += e.bytes;
  Fetching* fetch = model.live_fetch();
  if (arriving.discard || fetch == nullptr) return;
  // Drops are no progress: steps of 64 KiB are.
  constexpr auto kStep = static_cast<std::uint32_t>(64 * limits::kKiB);
  if (before / kStep != arriving.got / kStep) fetch->patience.progress(now);
  fetch->download->bytes_arrived(link.id, e.piece, e.bytes, now);
}

void Downlink::ended(Link& link, Model& model, const event::PieceEnd& e) {
  if (!link.downlink.arriving_) return;
  Arriving& arriving = *link.downlink.arriving_;
  Fetching* fetch = model.live_fetch();
  if (arriving.discard || fetch == nullptr || model.have.contains(e.piece) ||
      !fetch->storing.insert(e.piece)) {
    if (fetch != nullptr && !arriving.discard) {
      const PieceRun run{e.piece, 1};
      fetch->download->cancelled(link.id, {&run, 1});  // it owes us this one no more
    }
    end(link);
    return;
  }
  PieceBuffer buffer = std::move(arriving.buffer);
  link.downlink.arriving_.reset();
  fetch->download->arrived(link.id, e.piece);
  context_.out.push(action::StorePiece{
      .model = model.key, .piece = e.piece, .buffer = std::move(buffer), .from = link.id});
}

// --- it comes no more ---

// The piece under way will not be kept. Frees its buffer.
void Downlink::end(Link& link) {
  if (!link.downlink.arriving_) return;
  const Arriving& arriving = *link.downlink.arriving_;
  // Of what is thrown away as it comes, each part was counted then.
  Model* model = context_.models.find(arriving.model);
  if (model != nullptr && !arriving.discard) {
    model->counters.duplicate_bytes += arriving.got;
  }
  set_waiting(link, false);
  link.downlink.arriving_.reset();
}

// The piece under way is not wanted from this peer any more: its buffer is free at once, and what
// still comes of it is thrown away.
void Downlink::give_up(Link& link) {
  Arriving& arriving = *link.downlink.arriving_;
  if (std::exchange(arriving.discard, true)) return;
  if (Model* model = context_.models.find(arriving.model)) {
    model->counters.duplicate_bytes += arriving.got;
  }
  if (arriving.waiting) {
    set_waiting(link, false);
    link.session.discard_piece(arriving.length);
  } else {
    link.session.drop_receive();
    arriving.buffer.reset();
  }
  context_.links.mark_ready(link);
}

void Downlink::rejected(Link& link, Model& model, const event::Reject& e, Time now) {
  const auto& arriving = link.downlink.arriving_;
  if (arriving && arriving->model == model.key && contains(e.pieces, arriving->piece)) {
    end(link);
  }
  Fetching* fetch = model.live_fetch();
  if (fetch == nullptr || !link.models.at(model.key).introduced) return;
  if (e.reason == RejectReason::kCancelled) {
    fetch->download->cancelled(link.id, e.pieces);
  } else {
    fetch->download->rejected(link.id, e.pieces, now);
  }
}

// --- what is asked for ---

void Downlink::ask(Model& model, Time now) {
  const Decision decision = model.fetching().download->decide(now);
  for (const Withdraw& withdraw : decision.withdraw) {
    const auto [link, at] = context_.chosen(withdraw.peer, model);
    if (link == nullptr) continue;
    link->session.cancel(at->channel, withdraw.pieces, 0, withdraw.unclaimed);
    const auto& arriving = link->downlink.arriving_;
    if (!withdraw.unclaimed && arriving && arriving->model == model.key &&
        contains(withdraw.pieces, arriving->piece)) {
      give_up(*link);
    }
    context_.links.mark_ready(*link);
  }
  for (const Ask& wanted : decision.ask) {
    const auto [link, at] = context_.chosen(wanted.peer, model);
    if (link == nullptr) continue;
    link->session.request(at->channel, wanted.pieces, wanted.credit_bytes, wanted.any);
    context_.links.mark_ready(*link);
  }
}

bool Downlink::claimed(Link& link, Model& model, const event::Claim& e, Time now) {
  Fetching& fetch = model.fetching();
  std::vector<PieceRun> unwelcome;
  for (const PieceRun& run : e.pieces) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      const PieceIndex piece(run.first.value + i);
      if (!fetch.wanted.contains(piece)) return false;
      if (!fetch.download->claimed(link.id, piece, now)) unwelcome.push_back({piece, 1});
    }
  }
  if (!unwelcome.empty()) link.session.cancel(e.channel, unwelcome, 0);
  return true;
}

}  // namespace shardswarm
