// A session fed with anything, in any chunking, answered in any way. The first byte of the input
// tells how: its bits choose whether preamble and HELLO are given for free, and how events are
// answered; the rest is the peer's stream, each read as long as the stream's own bytes say.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "wire/messages.h"
#include "wire/session.h"

namespace shardswarm {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint8_t kGreeted = 0x01;
constexpr std::uint8_t kDiscard = 0x02;
constexpr std::uint8_t kDrop = 0x04;
constexpr std::uint8_t kSend = 0x08;
constexpr std::uint8_t kAnswerBlobs = 0x10;
constexpr std::uint8_t kWholeReads = 0x20;

ModelId model_id() {
  ModelId id;
  id.bytes.fill(std::byte{0x61});
  return id;
}

class Conversation {
 public:
  explicit Conversation(std::uint8_t ways)
      : ways_(ways),
        session_(Hello{.agent = "fuzz", .advertised = {}, .features = kFeatureZstdBlobs},
                 std::nullopt) {
    if ((ways_ & kGreeted) == 0) return;
    Bytes greeting(kPreambleBytes.begin(), kPreambleBytes.end());
    Hello peer{.agent = "peer", .advertised = {}, .features = kFeatureZstdBlobs};
    peer.node_id.bytes.fill(std::byte{0x62});
    message::append_hello(greeting, peer, {});
    message::append_open(greeting, 1, model_id());
    feed(greeting);
  }

  void feed(std::span<const std::byte> stream) {
    while (!stream.empty()) {
      std::size_t most = std::to_integer<std::size_t>(stream.front()) + 1;
      if ((ways_ & kWholeReads) != 0) most = stream.size();
      const std::size_t n = give(stream.first(std::min(most, stream.size())));
      if (n == 0) break;
      stream = stream.subspan(n);
      answer();
      send(most * 100);
    }
    send(SIZE_MAX);
  }

 private:
  std::size_t give(std::span<const std::byte> from) {
    std::size_t n = 0;
    for (const auto& span : session_.receive_spans()) {
      const std::size_t part = std::min(span.size(), from.size() - n);
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(n), part, span.begin());
      n += part;
    }
    session_.received(n);
    return n;
  }

  void answer() {
    while (auto event = session_.next_event()) {
      if (std::holds_alternative<event::Ready>(*event)) {
        begin();
      } else if (std::holds_alternative<event::PieceBegin>(*event)) {
        if ((ways_ & kDiscard) != 0) {
          session_.discard_piece(700);
        } else {
          session_.accept_piece(piece_);
          if ((ways_ & kDrop) != 0) session_.drop_receive();
        }
      } else if (const auto* ask = std::get_if<event::BlobRequest>(&*event)) {
        if ((ways_ & kAnswerBlobs) != 0) session_.send_blob(ask->channel, ask->request, blob_);
      } else if (const auto* opened = std::get_if<event::Opened>(&*event)) {
        if (opened->model != model_id()) session_.unknown_model(opened->channel);
      }
    }
  }

  void begin() {
    const Channel channel = session_.open(model_id());
    for (std::uint32_t request = 0; request < 3; ++request) {
      session_.request_blob(channel, request, model_id());
    }
    if ((ways_ & kSend) == 0) return;
    session_.send_piece(channel, PieceIndex(1), 300'000);
    session_.send_piece(channel, PieceIndex(2), 1);
    session_.abort_piece(channel, PieceIndex(2));
  }

  void send(std::size_t most) {
    while (most > 0) {
      const Output output = session_.next_output();
      std::size_t n = 0;
      if (const auto* bytes = std::get_if<OutputBytes>(&output)) n = bytes->bytes.size();
      if (const auto* extent = std::get_if<OutputExtent>(&output)) n = extent->length;
      if (n == 0) return;
      n = std::min(n, most);
      session_.sent(n);
      most -= n;
    }
  }

  std::uint8_t ways_;
  std::array<std::byte, 700> piece_{};
  Blob blob_ = std::make_shared<Bytes>(200'000);
  Session session_;
};

}  // namespace
}  // namespace shardswarm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  shardswarm::Conversation conversation(data[0]);
  conversation.feed(std::as_bytes(std::span(data + 1, size - 1)));
  return 0;
}
