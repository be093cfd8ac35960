#include "wire/session.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "wire/messages.h"
#include "wire/piece_runs.h"

namespace shardswarm {

Session::Session(Hello self, std::optional<NodeId> authenticated)
    : state_(std::move(self), authenticated) {
  std::vector<std::byte> greeting(kPreambleBytes.begin(), kPreambleBytes.end());
  message::append_hello(greeting, state_.self, {});
  state_.queue.begin(std::move(greeting));
}

std::optional<SessionEvent> Session::next_event() {
  if (state_.events.empty()) return std::nullopt;
  std::optional<SessionEvent> event(std::move(state_.events.front()));
  state_.events.pop_front();
  return event;
}

void Session::close(CloseReason reason, std::string_view text) { state_.close(reason, text); }

// --- control ---

bool Session::may_send(Channel channel) const {
  if (state_.closing) return false;
  assert(state_.ready && state_.channels.declared(channel));
  return state_.channels.declared(channel);
}

Channel Session::open(const ModelId& id) {
  assert(state_.ready);
  const Channels::Opened opened = state_.channels.open(id);
  if (opened.news && !state_.closing) {
    message::append_open(state_.queue.control(), Channels::handle_of(opened.channel), id);
    state_.bound_queue();
  }
  return opened.channel;
}

void Session::unknown_model(Channel channel) {
  if (state_.closing) return;
  assert(state_.ready);
  if (!state_.channels.give_up(channel)) return;
  message::append_unknown_model(state_.queue.control(), *state_.channels.model_of(channel));
  state_.bound_queue();
}

void Session::send_pieces(FrameType type, Channel channel, std::span<const PieceRun> pieces,
                          const message::PieceListFields& fields) {
  if (!may_send(channel)) return;
  assert(valid_runs(pieces));
  const bool says_something =
      !pieces.empty() || fields.credit_bytes > 0 || type == FrameType::kWant;
  if (!says_something) return;
  message::append_piece_list(state_.queue.control(), type, Channels::handle_of(channel), pieces,
                             fields);
  state_.bound_queue();
}

void Session::have(Channel channel, std::span<const PieceRun> pieces) {
  send_pieces(FrameType::kHave, channel, pieces, {});
}

void Session::lost(Channel channel, std::span<const PieceRun> pieces) {
  send_pieces(FrameType::kLost, channel, pieces, {});
}

void Session::want(Channel channel, std::span<const PieceRun> pieces) {
  const std::size_t count = std::min(pieces.size(), limits::kWantRunsMax);
  send_pieces(FrameType::kWant, channel, pieces.first(count), {});
}

void Session::request(Channel channel, std::span<const PieceRun> pieces, std::uint64_t credit_bytes,
                      bool any) {
  assert(credit_bytes <= limits::kCreditBytesMax);
  send_pieces(FrameType::kRequest, channel, pieces, {.credit_bytes = credit_bytes, .any = any});
}

void Session::claim(Channel channel, PieceIndex piece) {
  const PieceRun run{piece, 1};
  send_pieces(FrameType::kClaim, channel, {&run, 1}, {});
}

void Session::cancel(Channel channel, std::span<const PieceRun> pieces, std::uint64_t credit_bytes,
                     bool unclaimed) {
  assert(credit_bytes <= limits::kCreditBytesMax);
  send_pieces(FrameType::kCancel, channel, pieces,
              {.credit_bytes = credit_bytes, .unclaimed = unclaimed});
}

void Session::reject(Channel channel, std::span<const PieceRun> pieces, RejectReason reason) {
  send_pieces(FrameType::kReject, channel, pieces, {.reason = reason});
}

void Session::request_blob(Channel channel, std::uint32_t request, const Digest& digest) {
  if (!may_send(channel)) return;
  const bool added = state_.blobs_asked.try_emplace({channel, request}).second;
  assert(added);
  if (!added) return;
  message::append_blob_request(state_.queue.control(), Channels::handle_of(channel), request,
                               digest);
  state_.bound_queue();
}

void Session::send_blob(Channel channel, std::uint32_t request, Blob blob, bool compressed) {
  if (!may_send(channel)) return;
  assert(!compressed ||
         ((state_.features_in_use & kFeatureZstdBlobs) != 0 && blob && !blob->empty()));
  state_.queue.add_blob({channel, request}, std::move(blob), compressed);
}

void Session::reject_blob(Channel channel, std::uint32_t request) {
  if (!may_send(channel)) return;
  const bool owed = state_.queue.drop_blob({channel, request});
  assert(owed);
  if (owed) state_.refuse_blob({channel, request});
}

void Session::peers(Channel channel, std::span<const PeerAddress> peers) {
  if (!may_send(channel)) return;
  message::append_peers(state_.queue.control(), Channels::handle_of(channel), peers);
  state_.bound_queue();
}

// --- pieces ---

void Session::send_piece(Channel channel, PieceIndex piece, std::uint32_t length) {
  if (may_send(channel)) state_.queue.add_piece(channel, piece, length);
}

bool Session::abort_piece(Channel channel, PieceIndex piece) {
  const SendQueue::Aborted aborted = state_.queue.abort_piece(channel, piece);
  if (aborted == SendQueue::Aborted::kNo) return false;
  if (aborted == SendQueue::Aborted::kAtOnce) {
    state_.events.push_back(event::PieceSent{.channel = channel, .piece = piece, .aborted = true});
  }
  const PieceRun run{piece, 1};
  reject(channel, {&run, 1}, RejectReason::kCancelled);
  return true;
}

void Session::data_frames_up_to(std::uint32_t bytes) {
  const bool any = (state_.features_in_use & kFeatureLongData) != 0;
  state_.queue.data_frames_up_to(any ? bytes : std::min(bytes, limits::kShortFrameBytes));
}

void Session::sent(std::size_t n) {
  if (const auto ended = state_.queue.sent(n)) {
    state_.events.push_back(event::PieceSent{
        .channel = ended->channel, .piece = ended->piece, .aborted = ended->aborted});
  }
}

}  // namespace shardswarm
