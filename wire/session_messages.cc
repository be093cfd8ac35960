// What control frames mean.
#include <fmt/format.h>

#include <algorithm>

#include "wire/session_impl.h"

namespace shardswarm {

std::optional<Channel> Session::Impl::peer_channel(std::uint16_t handle) const {
  const auto it = peer_handles_.find(handle);
  if (it == peer_handles_.end()) return std::nullopt;
  return it->second;
}

void Session::Impl::on_control(FrameType type, std::span<const std::byte> body) {
  switch (type) {
    case FrameType::kHello:
      return on_hello(body);
    case FrameType::kOpen:
      return on_open(body);
    case FrameType::kUnknownModel:
      return on_unknown_model(body);
    case FrameType::kPing:
    case FrameType::kPong:
      return on_ping(type, body);
    case FrameType::kClose:
      return on_close(body);
    default:
      break;
  }
  const auto channel = peer_channel(header_.handle);
  if (!channel) {
    protocol_error(fmt::format("{} frame with handle {}, which was never opened",
                               frame_type_name(type), header_.handle));
    return;
  }
  switch (type) {
    case FrameType::kBlobRequest:
      return on_blob_request(*channel, body);
    case FrameType::kBlobReject:
      return on_blob_reject(*channel, body);
    case FrameType::kPeers:
      return on_peers(*channel, body);
    default:
      return on_piece_list(type, *channel, body);
  }
}

// WIRE-10 .. WIRE-16.
void Session::Impl::on_hello(std::span<const std::byte> body) {
  if (ready_) return protocol_error("a second HELLO frame");
  const auto versions = message::decode_hello_versions(body);
  if (!decoded(FrameType::kHello, versions)) return;
  const std::uint32_t version = std::min(kProtocolVersion, versions->max);
  if (version < std::max(kProtocolVersionMin, versions->min)) {
    return fail_session(
        Errc::kVersion, CloseReason::kVersion,
        fmt::format("peer speaks protocol versions {} to {}, this node {} to {}: no common version",
                    versions->min, versions->max, kProtocolVersionMin, kProtocolVersion));
  }
  auto hello = message::decode_hello(body);
  if (!decoded(FrameType::kHello, hello)) return;
  if (authenticated_ && hello->node_id != *authenticated_) {
    return protocol_error(fmt::format("HELLO names node {}, its certificate is that of {}",
                                      to_hex(hello->node_id), to_hex(*authenticated_)));
  }
  if (hello->node_id == self_.node_id) {
    return fail_session(Errc::kProtocol, CloseReason::kSelf, "connected to itself");
  }
  ready_ = true;
  features_in_use_ = self_.features & hello->features;
  events_.push_back(event::Ready{.hello = std::move(*hello), .version = version});
}

// WIRE-20 .. WIRE-22.
void Session::Impl::on_open(std::span<const std::byte> body) {
  const auto id = message::decode_model(body);
  if (!decoded(FrameType::kOpen, id)) return;
  const std::uint16_t handle = header_.handle;
  if (const auto before = peer_channel(handle); before && model(*before).id != *id) {
    return protocol_error(fmt::format("OPEN of handle {} for a second model", handle));
  } else if (!before) {
    if (peer_handles_.size() == limits::kModelsPerConnectionMax) {
      return protocol_error(
          fmt::format("OPEN of more than {} models", limits::kModelsPerConnectionMax));
    }
    const auto known = channels_.find(*id);
    if (known != channels_.end() && model(known->second).peer_declared) {
      return protocol_error(fmt::format("OPEN of a model with a second handle, {}", handle));
    }
  }
  const Channel channel = channel_of(*id);
  peer_handles_[handle] = channel;
  model(channel).peer_open = model(channel).peer_declared = true;
  events_.push_back(event::Opened{.channel = channel, .model = *id});
}

void Session::Impl::on_unknown_model(std::span<const std::byte> body) {
  const auto id = message::decode_model(body);
  if (!decoded(FrameType::kUnknownModel, id)) return;
  const auto known = channels_.find(*id);
  if (known == channels_.end() || !model(known->second).declared) {
    return protocol_error("UNKNOWN_MODEL for a model that was not opened");
  }
  model(known->second).peer_open = false;
  events_.push_back(event::UnknownModel{.channel = known->second, .model = *id});
}

// What asks for an answer needs a handle of ours for it (WIRE-23).
bool Session::Impl::answerable(FrameType type, Channel channel) {
  if (model(channel).declared) return true;
  protocol_error(
      fmt::format("{} frame for a model that this node did not open", frame_type_name(type)));
  return false;
}

void Session::Impl::on_piece_list(FrameType type, Channel channel,
                                  std::span<const std::byte> body) {
  auto list = message::decode_piece_list(type, body);
  if (!decoded(type, list)) return;
  auto& pieces = list->pieces;
  const message::PieceListFields& fields = list->fields;
  switch (type) {
    case FrameType::kHave:
      events_.push_back(event::Have{.channel = channel, .pieces = std::move(pieces)});
      break;
    case FrameType::kLost:
      events_.push_back(event::Lost{.channel = channel, .pieces = std::move(pieces)});
      break;
    case FrameType::kClaim:
      events_.push_back(event::Claim{.channel = channel, .pieces = std::move(pieces)});
      break;
    case FrameType::kRequest:
      if (!answerable(type, channel)) return;
      events_.push_back(event::Request{.channel = channel,
                                       .pieces = std::move(pieces),
                                       .credit_bytes = fields.credit_bytes,
                                       .any = fields.any});
      break;
    case FrameType::kCancel:
      if (!answerable(type, channel)) return;
      events_.push_back(event::Cancel{.channel = channel,
                                      .pieces = std::move(pieces),
                                      .credit_bytes = fields.credit_bytes,
                                      .unclaimed = fields.unclaimed});
      break;
    case FrameType::kWant:
      on_want(channel, std::move(*list));
      break;
    default:
      on_reject(channel, std::move(*list));
      break;
  }
}

// The parts of a WANT become one event, so that what it replaces is replaced at once (WIRE-52).
void Session::Impl::on_want(Channel channel, message::PieceList list) {
  if (!want_) {
    want_.emplace(channel, std::move(list.pieces));
  } else {
    auto& [of, runs] = *want_;
    if (of != channel) return protocol_error("WANT frame between the parts of another WANT");
    const std::uint64_t end =
        runs.empty() ? 0 : std::uint64_t{runs.back().first.value} + runs.back().count;
    if (!list.pieces.empty() && list.pieces.front().first.value < end) {
      return protocol_error("WANT frame: its parts are not in ascending order");
    }
    auto next = list.pieces.cbegin();
    if (next != list.pieces.cend() && !runs.empty() && next->first.value == end) {
      runs.back().count += next->count;  // the cut between two frames went through a run
      ++next;
    }
    runs.insert(runs.end(), next, list.pieces.cend());
  }
  if (want_->second.size() > limits::kWantRunsMax) {
    return protocol_error(fmt::format("WANT of more than {} runs", limits::kWantRunsMax));
  }
  if (list.more) return;
  events_.push_back(event::Want{.channel = channel, .pieces = std::move(want_->second)});
  want_.reset();
}

// A reject of the piece under way is its end (WIRE-35).
void Session::Impl::on_reject(Channel channel, message::PieceList list) {
  if (incoming_ && incoming_->channel == channel) {
    const std::uint32_t piece = incoming_->piece.value;
    const bool named = std::any_of(list.pieces.begin(), list.pieces.end(), [&](PieceRun run) {
      return piece >= run.first.value && piece - run.first.value < run.count;
    });
    if (named) incoming_.reset();
  }
  events_.push_back(event::Reject{
      .channel = channel, .pieces = std::move(list.pieces), .reason = list.fields.reason});
}

void Session::Impl::on_blob_request(Channel channel, std::span<const std::byte> body) {
  const auto ask = message::decode_blob_request(body);
  if (!decoded(FrameType::kBlobRequest, ask) || !answerable(FrameType::kBlobRequest, channel)) {
    return;
  }
  const RequestKey key{channel, ask->request};
  if (blobs_owed_.contains(key)) {
    return protocol_error(fmt::format("BLOB_REQUEST {} while that request is open", ask->request));
  }
  if (blobs_owed_.size() == limits::kBlobRequestsPerPeerMax) {
    message::append_blob_reject(queue_, handle_of(channel), ask->request);
    return bound_queue();
  }
  blobs_owed_.insert(key);
  events_.push_back(
      event::BlobRequest{.channel = channel, .request = ask->request, .digest = ask->digest});
}

void Session::Impl::on_blob_reject(Channel channel, std::span<const std::byte> body) {
  const auto request = message::decode_blob_reject(body);
  if (!decoded(FrameType::kBlobReject, request)) return;
  if (blobs_asked_.erase({channel, *request}) == 0) {
    return protocol_error(
        fmt::format("BLOB_REJECT of request {}, which was not made or was answered", *request));
  }
  events_.push_back(event::BlobReject{.channel = channel, .request = *request});
}

void Session::Impl::on_peers(Channel channel, std::span<const std::byte> body) {
  auto peers = message::decode_peers(body);
  if (!decoded(FrameType::kPeers, peers)) return;
  events_.push_back(event::Peers{.channel = channel, .peers = std::move(*peers)});
}

void Session::Impl::on_ping(FrameType type, std::span<const std::byte> body) {
  const auto token = message::decode_ping(body);
  if (!decoded(type, token)) return;
  if (type == FrameType::kPing) {
    ping(FrameType::kPong, *token);
  } else {
    events_.push_back(event::Pong{.token = *token});
  }
}

// Its sender listens no more: what is queued for it stays here.
void Session::Impl::on_close(std::span<const std::byte> body) {
  auto closed = message::decode_close(body);
  if (!decoded(FrameType::kClose, closed)) return;
  stop();
  peer_closed_ = true;
  events_.push_back(std::move(*closed));
}

}  // namespace shardswarm
