// What control frames mean.
#include <fmt/format.h>

#include <algorithm>

#include "wire/messages.h"
#include "wire/session_reader.h"

namespace shardswarm {

void SessionReader::on_control(FrameType type, std::span<const std::byte> body) {
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
  const auto channel = session_.channels.of_peer_handle(header_.handle);
  if (!channel) {
    session_.protocol_error(fmt::format("{} frame with handle {}, which was never opened",
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
void SessionReader::on_hello(std::span<const std::byte> body) {
  if (session_.ready) return session_.protocol_error("a second HELLO frame");
  const auto versions = message::decode_hello_versions(body);
  if (!decoded(FrameType::kHello, versions)) return;
  const std::uint32_t version = std::min(kProtocolVersion, versions->max);
  if (version < std::max(kProtocolVersionMin, versions->min)) {
    return session_.fail(
        Errc::kVersion, CloseReason::kVersion,
        fmt::format("peer speaks protocol versions {} to {}, this node {} to {}: no common version",
                    versions->min, versions->max, kProtocolVersionMin, kProtocolVersion));
  }
  auto hello = message::decode_hello(body);
  if (!decoded(FrameType::kHello, hello)) return;
  if (session_.authenticated && hello->node_id != *session_.authenticated) {
    return session_.protocol_error(fmt::format("HELLO names node {}, its certificate is that of {}",
                                               to_hex(hello->node_id),
                                               to_hex(*session_.authenticated)));
  }
  if (hello->node_id == session_.self.node_id) {
    return session_.fail(Errc::kProtocol, CloseReason::kSelf, "connected to itself");
  }
  session_.ready = true;
  session_.features_in_use = session_.self.features & hello->features;
  session_.events.push_back(event::Ready{.hello = std::move(*hello), .version = version});
}

// WIRE-20 .. WIRE-22.
void SessionReader::on_open(std::span<const std::byte> body) {
  const auto id = message::decode_model(body);
  if (!decoded(FrameType::kOpen, id)) return;
  const auto channel = session_.channels.peer_opens(header_.handle, *id);
  if (!channel) return session_.protocol_error(channel.error().message);
  session_.events.push_back(event::Opened{.channel = *channel, .model = *id});
}

void SessionReader::on_unknown_model(std::span<const std::byte> body) {
  const auto id = message::decode_model(body);
  if (!decoded(FrameType::kUnknownModel, id)) return;
  const auto channel = session_.channels.peer_gives_up(*id);
  if (!channel) return session_.protocol_error(channel.error().message);
  session_.events.push_back(event::UnknownModel{.channel = *channel, .model = *id});
}

// What asks for an answer needs a handle of ours for it (WIRE-23).
bool SessionReader::answerable(FrameType type, Channel channel) {
  if (session_.channels.declared(channel)) return true;
  session_.protocol_error(
      fmt::format("{} frame for a model that this node did not open", frame_type_name(type)));
  return false;
}

void SessionReader::on_piece_list(FrameType type, Channel channel,
                                  std::span<const std::byte> body) {
  auto list = message::decode_piece_list(type, body);
  if (!decoded(type, list)) return;
  auto& pieces = list->pieces;
  const message::PieceListFields& fields = list->fields;
  switch (type) {
    case FrameType::kHave:
      session_.events.push_back(event::Have{.channel = channel, .pieces = std::move(pieces)});
      break;
    case FrameType::kLost:
      session_.events.push_back(event::Lost{.channel = channel, .pieces = std::move(pieces)});
      break;
    case FrameType::kClaim:
      session_.events.push_back(event::Claim{.channel = channel, .pieces = std::move(pieces)});
      break;
    case FrameType::kRequest:
      if (!answerable(type, channel)) return;
      session_.events.push_back(event::Request{.channel = channel,
                                               .pieces = std::move(pieces),
                                               .credit_bytes = fields.credit_bytes,
                                               .any = fields.any});
      break;
    case FrameType::kCancel:
      if (!answerable(type, channel)) return;
      session_.events.push_back(event::Cancel{.channel = channel,
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
void SessionReader::on_want(Channel channel, message::PieceList list) {
  if (!session_.want) {
    session_.want.emplace(channel, std::move(list.pieces));
  } else {
    auto& [of, runs] = *session_.want;
    if (of != channel)
      return session_.protocol_error("WANT frame between the parts of another WANT");
    const std::uint64_t end =
        runs.empty() ? 0 : std::uint64_t{runs.back().first.value} + runs.back().count;
    if (!list.pieces.empty() && list.pieces.front().first.value < end) {
      return session_.protocol_error("WANT frame: its parts are not in ascending order");
    }
    auto next = list.pieces.cbegin();
    if (next != list.pieces.cend() && !runs.empty() && next->first.value == end) {
      runs.back().count += next->count;  // the cut between two frames went through a run
      ++next;
    }
    runs.insert(runs.end(), next, list.pieces.cend());
  }
  if (session_.want->second.size() > limits::kWantRunsMax) {
    return session_.protocol_error(fmt::format("WANT of more than {} runs", limits::kWantRunsMax));
  }
  if (list.more) return;
  session_.events.push_back(
      event::Want{.channel = channel, .pieces = std::move(session_.want->second)});
  session_.want.reset();
}

// A reject of the piece under way is its end (WIRE-35).
void SessionReader::on_reject(Channel channel, message::PieceList list) {
  if (session_.incoming && session_.incoming->channel == channel) {
    const std::uint32_t piece = session_.incoming->piece.value;
    const bool named = std::any_of(list.pieces.begin(), list.pieces.end(), [&](PieceRun run) {
      return piece >= run.first.value && piece - run.first.value < run.count;
    });
    if (named) session_.incoming.reset();
  }
  session_.events.push_back(event::Reject{
      .channel = channel, .pieces = std::move(list.pieces), .reason = list.fields.reason});
}

void SessionReader::on_blob_request(Channel channel, std::span<const std::byte> body) {
  const auto ask = message::decode_blob_request(body);
  if (!decoded(FrameType::kBlobRequest, ask) || !answerable(FrameType::kBlobRequest, channel)) {
    return;
  }
  const BlobRequestKey key{channel, ask->request};
  if (session_.queue.owes(key)) {
    return session_.protocol_error(
        fmt::format("BLOB_REQUEST {} while that request is open", ask->request));
  }
  if (session_.queue.owed() == limits::kBlobRequestsPerPeerMax) return session_.refuse_blob(key);
  session_.queue.owe(key);
  session_.events.push_back(
      event::BlobRequest{.channel = channel, .request = ask->request, .digest = ask->digest});
}

void SessionReader::on_blob_reject(Channel channel, std::span<const std::byte> body) {
  const auto request = message::decode_blob_reject(body);
  if (!decoded(FrameType::kBlobReject, request)) return;
  if (session_.blobs_asked.erase({channel, *request}) == 0) {
    return session_.protocol_error(
        fmt::format("BLOB_REJECT of request {}, which was not made or was answered", *request));
  }
  session_.events.push_back(event::BlobReject{.channel = channel, .request = *request});
}

void SessionReader::on_peers(Channel channel, std::span<const std::byte> body) {
  auto peers = message::decode_peers(body);
  if (!decoded(FrameType::kPeers, peers)) return;
  session_.events.push_back(event::Peers{.channel = channel, .peers = std::move(*peers)});
}

void SessionReader::on_ping(FrameType type, std::span<const std::byte> body) {
  const auto token = message::decode_ping(body);
  if (!decoded(type, token)) return;
  if (type == FrameType::kPing) {
    session_.ping(FrameType::kPong, *token);
  } else {
    session_.events.push_back(event::Pong{.token = *token});
  }
}

// Its sender listens no more: what is queued for it stays here.
void SessionReader::on_close(std::span<const std::byte> body) {
  auto closed = message::decode_close(body);
  if (!decoded(FrameType::kClose, closed)) return;
  session_.stop();
  session_.queue.stop();
  session_.events.push_back(std::move(*closed));
}

}  // namespace shardswarm
