// The session's face, its birth and its end.
#include "wire/session.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/bytes.h"
#include "wire/session_impl.h"

namespace shardswarm {

std::string_view close_reason_name(CloseReason reason) {
  switch (reason) {
    case CloseReason::kDone:
      return "done";
    case CloseReason::kShutdown:
      return "shutdown";
    case CloseReason::kProtocolError:
      return "protocol-error";
    case CloseReason::kVersion:
      return "version";
    case CloseReason::kSelf:
      return "self";
    case CloseReason::kDuplicate:
      return "duplicate";
    case CloseReason::kBadData:
      return "bad-data";
    case CloseReason::kOverload:
      return "overload";
    case CloseReason::kTimeout:
      return "timeout";
    case CloseReason::kInternal:
      return "internal";
  }
  return "unknown";
}

// --- Impl ---

Session::Impl::Impl(Hello self, std::optional<NodeId> authenticated)
    : self_(std::move(self)), authenticated_(authenticated) {
  // Straight into out_: whatever happens next, these go first.
  out_.assign(kPreambleBytes.begin(), kPreambleBytes.end());
  message::append_hello(out_, self_, {});
  expect_body(Body::kPreamble, static_cast<std::uint32_t>(kPreambleBytes.size()));
}

bool valid_site(std::string_view site) {
  return site.size() <= limits::kSiteBytesMax && std::ranges::all_of(site, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-' || c == '/';
         });
}

std::uint32_t site_tag(std::string_view site) {
  if (site.empty()) return 0;
  return little_endian_at<std::uint32_t>(sha256(std::as_bytes(std::span(site))).bytes, 0);
}

void Session::Impl::close(CloseReason reason, std::string_view text) {
  if (closing_) return;
  stop();
  events_.clear();
  message::append_close(queue_, reason, text);
}

void Session::Impl::fail_session(Errc code, CloseReason reason, std::string message) {
  if (closing_) return;
  stop();
  queue_.clear();
  message::append_close(queue_, reason, message);
  events_.push_back(event::Failed{.error = {code, std::move(message)}, .reason = reason});
}

void Session::Impl::stop() {
  closing_ = true;
  state_ = State::kStopped;
  incoming_.reset();
  want_.reset();
  pieces_.clear();
  blobs_.clear();
}

Channel Session::Impl::channel_of(const ModelId& id) {
  const auto next = static_cast<std::uint16_t>(models_.size() + 1);
  const auto [it, added] = channels_.try_emplace(id, Channel(next));
  if (added) models_.push_back({.id = id});
  return it->second;
}

const Session::Impl::Model* Session::Impl::find_model(Channel channel) const {
  if (channel.value == 0 || channel.value > models_.size()) return nullptr;
  return &models_[channel.value - 1U];
}

std::optional<ModelId> Session::Impl::model_of(Channel channel) const {
  const Model* found = find_model(channel);
  if (found == nullptr) return std::nullopt;
  return found->id;
}

bool Session::Impl::may_open(const ModelId& id) const {
  const auto known = channels_.find(id);
  const Model* opened = known == channels_.end() ? nullptr : find_model(known->second);
  return declared_ < limits::kModelsPerConnectionMax || (opened != nullptr && opened->declared);
}

bool Session::Impl::peer_opened(Channel channel) const {
  const Model* found = find_model(channel);
  return found != nullptr && found->peer_open;
}

// --- Session ---

Session::Session(Hello self, std::optional<NodeId> authenticated)
    : impl_(std::make_unique<Impl>(std::move(self), authenticated)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::array<std::span<std::byte>, 2> Session::receive_spans() { return impl_->receive_spans(); }
void Session::received(std::size_t n) { impl_->received(n); }
std::optional<SessionEvent> Session::next_event() { return impl_->next_event(); }

void Session::accept_piece(std::span<std::byte> piece) {
  impl_->answer_piece(piece, static_cast<std::uint32_t>(piece.size()));
}
void Session::discard_piece(std::uint32_t length) { impl_->answer_piece({}, length); }
void Session::drop_receive() { impl_->drop_receive(); }

Channel Session::open(const ModelId& model) { return impl_->open(model); }
bool Session::may_open(const ModelId& model) const { return impl_->may_open(model); }
void Session::unknown_model(Channel channel) { impl_->unknown_model(channel); }
void Session::have(Channel channel, std::span<const PieceRun> pieces) {
  impl_->send_pieces(FrameType::kHave, channel, pieces, {});
}
void Session::lost(Channel channel, std::span<const PieceRun> pieces) {
  impl_->send_pieces(FrameType::kLost, channel, pieces, {});
}
void Session::want(Channel channel, std::span<const PieceRun> pieces) {
  const std::size_t count = std::min(pieces.size(), limits::kWantRunsMax);
  impl_->send_pieces(FrameType::kWant, channel, pieces.first(count), {});
}
void Session::request(Channel channel, std::span<const PieceRun> pieces, std::uint64_t credit_bytes,
                      bool any) {
  assert(credit_bytes <= limits::kCreditBytesMax);
  impl_->send_pieces(FrameType::kRequest, channel, pieces,
                     {.credit_bytes = credit_bytes, .any = any});
}
void Session::claim(Channel channel, PieceIndex piece) {
  const PieceRun run{piece, 1};
  impl_->send_pieces(FrameType::kClaim, channel, {&run, 1}, {});
}
void Session::cancel(Channel channel, std::span<const PieceRun> pieces, std::uint64_t credit_bytes,
                     bool unclaimed) {
  assert(credit_bytes <= limits::kCreditBytesMax);
  impl_->send_pieces(FrameType::kCancel, channel, pieces,
                     {.credit_bytes = credit_bytes, .unclaimed = unclaimed});
}
void Session::reject(Channel channel, std::span<const PieceRun> pieces, RejectReason reason) {
  impl_->send_pieces(FrameType::kReject, channel, pieces, {.reason = reason});
}
void Session::request_blob(Channel channel, std::uint32_t request, const Digest& digest) {
  impl_->request_blob(channel, request, digest);
}
void Session::send_blob(Channel channel, std::uint32_t request, Blob blob, bool compressed) {
  impl_->send_blob(channel, request, std::move(blob), compressed);
}
void Session::reject_blob(Channel channel, std::uint32_t request) {
  impl_->reject_blob(channel, request);
}
void Session::peers(Channel channel, std::span<const PeerAddress> peers) {
  impl_->peers(channel, peers);
}
void Session::ping(std::uint64_t token) { impl_->ping(FrameType::kPing, token); }
void Session::close(CloseReason reason, std::string_view text) { impl_->close(reason, text); }

void Session::send_piece(Channel channel, PieceIndex piece, std::uint32_t length) {
  impl_->send_piece(channel, piece, length);
}
std::size_t Session::pieces_queued() const { return impl_->pieces_queued(); }
bool Session::abort_piece(Channel channel, PieceIndex piece) {
  return impl_->abort_piece(channel, piece);
}
void Session::data_frames_up_to(std::uint32_t bytes) { impl_->data_frames_up_to(bytes); }
void Session::pace_payload() { impl_->pace_payload(); }
bool Session::piece_frame_waits() const { return impl_->piece_frame_waits(); }
bool Session::blob_frame_waits() const { return impl_->blob_frame_waits(); }
std::uint32_t Session::begin_piece_frame(std::uint32_t body_max) {
  return impl_->begin_piece_frame(body_max);
}
std::uint32_t Session::begin_blob_frame(std::uint32_t body_max) {
  return impl_->begin_blob_frame(body_max);
}

Output Session::next_output() { return impl_->next_output(); }
void Session::sent(std::size_t n) { impl_->sent(n); }
bool Session::has_output() const { return impl_->has_output(); }
std::size_t Session::queued_bytes() const { return impl_->queued_bytes(); }

bool Session::ready() const { return impl_->ready(); }
std::uint64_t Session::features_in_use() const { return impl_->features_in_use(); }
bool Session::closing() const { return impl_->closing(); }
std::optional<ModelId> Session::model_of(Channel channel) const { return impl_->model_of(channel); }
bool Session::peer_opened(Channel channel) const { return impl_->peer_opened(channel); }

}  // namespace shardswarm
