#include "wire/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <optional>

#include "proto/wire.pb.h"
#include "wire/piece_runs.h"

namespace shardswarm::message {
namespace {

void append_frame(Bytes& out, FrameHeader header, const google::protobuf::MessageLite& body) {
  const std::size_t length = body.ByteSizeLong();
  assert(length <= frame_body_bytes_max(*known_frame_type(header.type)));
  header.length = static_cast<std::uint32_t>(length);
  append_header(out, header);
  const std::size_t at = out.size();
  out.resize(at + length);
  body.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(out.data() + at));
}

FrameHeader header_of(FrameType type, std::uint16_t handle) {
  return {.type = static_cast<std::uint8_t>(type), .handle = handle};
}

template <class T>
Result<T> parse(std::span<const std::byte> body) {
  T message;
  if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return fail(Errc::kProtocol, "its body is not a Protobuf message");
  }
  return message;
}

std::string to_bytes(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

std::optional<Digest> to_digest(std::string_view bytes) {
  Digest digest;
  if (bytes.size() != digest.bytes.size()) return std::nullopt;
  std::memcpy(digest.bytes.data(), bytes.data(), bytes.size());
  return digest;
}

std::unexpected<Error> wrong_size(std::string_view what, std::size_t bytes) {
  return fail(Errc::kProtocol,
              fmt::format("its {} has {} bytes: not {}", what, bytes, sizeof(Digest)));
}

bool printable(char c) { return c >= 0x20 && c <= 0x7e; }

// "host:port" is resolved and logged later: no spaces, no control characters.
bool valid_address(std::string_view address) {
  return !address.empty() && address.size() <= limits::kAddressBytesMax &&
         std::all_of(address.begin(), address.end(),
                     [](char c) { return printable(c) && c != ' '; });
}

bool has_credit(FrameType type) {
  return type == FrameType::kRequest || type == FrameType::kCancel;
}

bool may_be_empty(FrameType type) { return has_credit(type) || type == FrameType::kWant; }

}  // namespace

void append_header(Bytes& out, const FrameHeader& header) {
  const auto bytes = encode_frame_header(header);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_hello(Bytes& out, const Hello& self, VersionRange versions) {
  proto::Hello body;
  body.set_version_min(versions.min);
  body.set_version_max(versions.max);
  body.set_features(self.features);
  body.set_node_id(to_bytes(self.node_id));
  body.set_listen_port(self.listen_port);
  for (const std::string& address : self.advertised) {
    if (body.advertised_size() == static_cast<int>(limits::kHelloAddressesMax)) break;
    if (valid_address(address)) body.add_advertised(address);
  }
  body.set_agent(self.agent.substr(0, limits::kAgentBytesMax));
  if (valid_site(self.site)) body.set_site(self.site);
  FrameHeader header = header_of(FrameType::kHello, 0);
  header.type |= kFrameCritical;
  append_frame(out, header, body);
}

void append_open(Bytes& out, std::uint16_t handle, const ModelId& model) {
  proto::Model body;
  body.set_model_id(to_bytes(model));
  append_frame(out, header_of(FrameType::kOpen, handle), body);
}

void append_unknown_model(Bytes& out, const ModelId& model) {
  proto::Model body;
  body.set_model_id(to_bytes(model));
  append_frame(out, header_of(FrameType::kUnknownModel, 0), body);
}

void append_piece_list(Bytes& out, FrameType type, std::uint16_t handle,
                       std::span<const PieceRun> pieces, const PieceListFields& fields) {
  PieceCutter cutter(pieces);
  for (bool first = true; !cutter.done(); first = false) {
    const PieceChunk chunk = cutter.next();
    proto::PieceList body;
    body.mutable_runs()->Add(chunk.runs.begin(), chunk.runs.end());
    if (!chunk.bitmap.empty()) {
      body.set_bitmap_first(chunk.bitmap_first);
      body.set_bitmap(chunk.bitmap.data(), chunk.bitmap.size());
    }
    if (first && has_credit(type)) body.set_credit_bytes(fields.credit_bytes);
    if (type == FrameType::kRequest) body.set_any(fields.any);
    if (type == FrameType::kCancel) body.set_unclaimed(fields.unclaimed);
    if (type == FrameType::kReject) body.set_reason(static_cast<std::uint32_t>(fields.reason));
    if (type == FrameType::kWant) body.set_more(!cutter.done());
    append_frame(out, header_of(type, handle), body);
  }
}

void append_blob_request(Bytes& out, std::uint16_t handle, std::uint32_t request,
                         const Digest& digest) {
  proto::BlobRequest body;
  body.set_request(request);
  body.set_digest(to_bytes(digest));
  append_frame(out, header_of(FrameType::kBlobRequest, handle), body);
}

void append_blob_reject(Bytes& out, std::uint16_t handle, std::uint32_t request) {
  proto::BlobRequest body;
  body.set_request(request);
  append_frame(out, header_of(FrameType::kBlobReject, handle), body);
}

void append_peers(Bytes& out, std::uint16_t handle, std::span<const PeerAddress> peers) {
  proto::Peers body;
  for (const PeerAddress& peer : peers) {
    if (body.peers_size() == static_cast<int>(limits::kPeerAddressesMax)) break;
    if (!peer.address.empty() && !valid_address(peer.address)) continue;
    proto::Peer& added = *body.add_peers();
    if (peer.id != NodeId{}) added.set_node_id(to_bytes(peer.id));
    added.set_address(peer.address);
    added.set_connected(peer.connected);
    added.set_site(peer.site);
  }
  append_frame(out, header_of(FrameType::kPeers, handle), body);
}

void append_ping(Bytes& out, FrameType ping_or_pong, std::uint64_t token) {
  proto::Ping body;
  body.set_token(token);
  append_frame(out, header_of(ping_or_pong, 0), body);
}

void append_close(Bytes& out, CloseReason reason, std::string_view text) {
  proto::Close body;
  body.set_reason(static_cast<std::uint32_t>(reason));
  body.set_text(std::string(text.substr(0, limits::kReasonBytesMax)));
  append_frame(out, header_of(FrameType::kClose, 0), body);
}

Result<VersionRange> decode_hello_versions(std::span<const std::byte> body) {
  const auto hello = parse<proto::Hello>(body);
  if (!hello) return std::unexpected(hello.error());
  const VersionRange range{.min = hello->version_min(), .max = hello->version_max()};
  if (range.min > range.max || range.max == 0) {
    return fail(Errc::kProtocol,
                fmt::format("its versions {} to {} are not a range", range.min, range.max));
  }
  return range;
}

Result<Hello> decode_hello(std::span<const std::byte> body) {
  const auto message = parse<proto::Hello>(body);
  if (!message) return std::unexpected(message.error());
  Hello hello;
  const auto node_id = to_digest(message->node_id());
  if (!node_id) return wrong_size("node id", message->node_id().size());
  if (message->listen_port() > UINT16_MAX) {
    return fail(Errc::kProtocol, fmt::format("its port is {}", message->listen_port()));
  }
  if (message->advertised_size() > static_cast<int>(limits::kHelloAddressesMax)) {
    return fail(Errc::kProtocol,
                fmt::format("it has {} addresses: at most {}", message->advertised_size(),
                            limits::kHelloAddressesMax));
  }
  for (const std::string& address : message->advertised()) {
    if (!valid_address(address)) return fail(Errc::kProtocol, "it has an address that is none");
    hello.advertised.push_back(address);
  }
  hello.node_id = *node_id;
  hello.features = message->features();
  hello.listen_port = static_cast<std::uint16_t>(message->listen_port());
  if (!valid_site(message->site())) {
    return fail(Errc::kProtocol, "it has a site that is not a label");
  }
  hello.site = message->site();
  hello.agent = clean_text(message->agent(), limits::kAgentBytesMax);
  return hello;
}

Result<ModelId> decode_model(std::span<const std::byte> body) {
  const auto message = parse<proto::Model>(body);
  if (!message) return std::unexpected(message.error());
  const auto model = to_digest(message->model_id());
  if (!model) return wrong_size("model id", message->model_id().size());
  return *model;
}

Result<PieceList> decode_piece_list(FrameType type, std::span<const std::byte> body) {
  const auto message = parse<proto::PieceList>(body);
  if (!message) return std::unexpected(message.error());
  auto pieces =
      decode_pieces({message->runs().data(), static_cast<std::size_t>(message->runs_size())},
                    message->bitmap_first(), std::as_bytes(std::span(message->bitmap())));
  if (!pieces) return std::unexpected(pieces.error());
  if (pieces->empty() && (message->more() || !may_be_empty(type))) {
    return fail(Errc::kProtocol, "it names no pieces");
  }
  PieceList list{.pieces = std::move(*pieces), .fields = {}, .more = false};
  if (type == FrameType::kWant) list.more = message->more();
  if (type == FrameType::kRequest) list.fields.any = message->any();
  if (type == FrameType::kCancel) list.fields.unclaimed = message->unclaimed();
  if (has_credit(type)) {
    if (message->credit_bytes() > limits::kCreditBytesMax) {
      return fail(Errc::kProtocol, fmt::format("its credit is {} bytes: at most {}",
                                               message->credit_bytes(), limits::kCreditBytesMax));
    }
    list.fields.credit_bytes = message->credit_bytes();
  }
  if (type == FrameType::kReject) {
    if (message->reason() < static_cast<std::uint32_t>(RejectReason::kNotHere) ||
        message->reason() > static_cast<std::uint32_t>(RejectReason::kBusy)) {
      return fail(Errc::kProtocol, fmt::format("its reason is {}", message->reason()));
    }
    list.fields.reason = static_cast<RejectReason>(message->reason());
  }
  return list;
}

Result<BlobAsk> decode_blob_request(std::span<const std::byte> body) {
  const auto message = parse<proto::BlobRequest>(body);
  if (!message) return std::unexpected(message.error());
  const auto digest = to_digest(message->digest());
  if (!digest) return wrong_size("digest", message->digest().size());
  return BlobAsk{.request = message->request(), .digest = *digest};
}

Result<std::uint32_t> decode_blob_reject(std::span<const std::byte> body) {
  const auto message = parse<proto::BlobRequest>(body);
  if (!message) return std::unexpected(message.error());
  return message->request();
}

Result<std::vector<PeerAddress>> decode_peers(std::span<const std::byte> body) {
  const auto message = parse<proto::Peers>(body);
  if (!message) return std::unexpected(message.error());
  if (message->peers_size() > static_cast<int>(limits::kPeerAddressesMax)) {
    return fail(Errc::kProtocol, fmt::format("it has {} addresses: at most {}",
                                             message->peers_size(), limits::kPeerAddressesMax));
  }
  std::vector<PeerAddress> peers;
  for (const proto::Peer& peer : message->peers()) {
    const auto id = peer.node_id().empty() ? NodeId{} : to_digest(peer.node_id());
    if (!id) return wrong_size("node id", peer.node_id().size());
    if (!peer.address().empty() && !valid_address(peer.address())) {
      return fail(Errc::kProtocol, "it has an address that is none");
    }
    peers.push_back(
        {.id = *id, .address = peer.address(), .connected = peer.connected(), .site = peer.site()});
  }
  return peers;
}

Result<std::uint64_t> decode_ping(std::span<const std::byte> body) {
  const auto message = parse<proto::Ping>(body);
  if (!message) return std::unexpected(message.error());
  return message->token();
}

Result<event::Closed> decode_close(std::span<const std::byte> body) {
  const auto message = parse<proto::Close>(body);
  if (!message) return std::unexpected(message.error());
  // A later version may close for reasons that this one has no name for.
  const bool known = message->reason() >= static_cast<std::uint32_t>(CloseReason::kDone) &&
                     message->reason() <= static_cast<std::uint32_t>(CloseReason::kInternal);
  return event::Closed{
      .reason = known ? static_cast<CloseReason>(message->reason()) : CloseReason::kInternal,
      .text = clean_text(message->text(), limits::kReasonBytesMax)};
}

std::string clean_text(std::string_view text, std::size_t bytes_max) {
  std::string clean(text.substr(0, bytes_max));
  std::replace_if(clean.begin(), clean.end(), [](char c) { return !printable(c); }, '?');
  return clean;
}

}  // namespace shardswarm::message
