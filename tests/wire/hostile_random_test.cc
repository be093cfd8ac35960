// Streams broken at random, in random chunking: no crash, and at most one word about why it ended.
#include <gmock/gmock.h>

#include <memory>

#include "tests/wire/hostile.h"
#include "wire/session.h"

namespace shardswarm {
namespace {

using test::blob;
using test::data;
using test::digest_of;
using test::End;
using test::frame;
using test::hello_frame;
using test::hello_of;
using test::open_frame;
using test::preamble;
using test::run_of;
using test::operator+=;
using Bytes = std::vector<std::byte>;

// A peer's side of a conversation in which everything occurs.
Bytes valid_stream() {
  Bytes s = preamble();
  s += hello_frame();
  s += open_frame(1, 100);
  s += open_frame(900, 101);
  const std::vector<PieceRun> runs = {run_of(0, 5), run_of(90, 1)};
  std::vector<PieceRun> dense;
  for (std::uint32_t i = 0; i < 300; ++i) dense.push_back(run_of(40 + 2 * i, 1));
  for (const FrameType type :
       {FrameType::kHave, FrameType::kLost, FrameType::kWant, FrameType::kRequest,
        FrameType::kClaim, FrameType::kCancel, FrameType::kReject}) {
    message::append_piece_list(s, type, 1, runs, {.reason = RejectReason::kBusy});
    message::append_piece_list(s, type, 1, dense, {.reason = RejectReason::kNotHere});
  }
  message::append_blob_request(s, 1, 4, digest_of(1));
  const PeerAddress peer{.id = digest_of(4), .address = "192.0.2.3:9", .connected = true};
  message::append_peers(s, 1, {&peer, 1});
  message::append_ping(s, FrameType::kPing, 7);
  s += data(1, 3, 0, 600);
  message::append_ping(s, FrameType::kPong, 7);
  s += data(1, 3, 600, 400);
  s += data(1, 4, 0, 500);
  message::append_piece_list(s, FrameType::kReject, 1, std::vector{run_of(4, 1)},
                             {.reason = RejectReason::kCancelled});
  s += data(900, 5, 0, 1000);
  s += blob(1, 0, 300, false);
  s += blob(2, 0, 100, true);
  s += blob(1, 300, 50, true);
  message::append_blob_reject(s, 1, 3);
  message::append_unknown_model(s, digest_of(100));
  s += frame(FrameHeader{.type = 0x22}, Bytes(50));
  message::append_close(s, CloseReason::kDone, "bye");
  return s;
}

// Feeds `stream` in random parts to a session that answers this way and that; `events`, if not
// null, gets what happened.
void converse(std::span<const std::byte> stream, std::mt19937& random,
              std::vector<SessionEvent>* events) {
  End end(hello_of(1));
  std::vector<std::unique_ptr<Bytes>> buffers;
  end.on_piece = [&](const event::PieceBegin&) {
    if (random() % 3 == 0) {
      end.session.discard_piece(1000);
    } else {
      buffers.push_back(std::make_unique<Bytes>(1000));
      end.session.accept_piece(*buffers.back());
    }
  };
  bool greeted = false;
  Bytes out;
  while (!stream.empty()) {
    const std::size_t n = end.give_input(stream, 1 + random() % 700);
    if (n == 0) break;
    stream = stream.subspan(n);
    if (!greeted && !end.all<event::Ready>().empty()) {
      greeted = true;
      const Channel channel = end.session.open(digest_of(100));
      for (std::uint8_t i = 1; i <= 3; ++i) end.session.request_blob(channel, i, digest_of(i));
      end.session.send_piece(channel, PieceIndex(1), random() % 16 == 0 ? 140'000 : 2000);
    }
    if (random() % 8 == 0) end.session.drop_receive();
    if (random() % 2 == 0) end.take_output(out, 1 + random() % 50'000);
  }
  // Either it goes on, or it ends with exactly one word about why.
  const std::size_t ends = end.all<event::Failed>().size() + end.all<event::Closed>().size();
  EXPECT_EQ(ends, end.session.closing() ? 1U : 0U);
  if (events != nullptr) *events = std::move(end.events);
}

TEST(HostileRandom, TheValidStreamIsValid) {
  const Bytes stream = valid_stream();
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    std::vector<SessionEvent> events;
    converse(stream, random, &events);
    ASSERT_FALSE(events.empty());
    const auto* failed = std::get_if<event::Failed>(&events.back());
    ASSERT_TRUE(std::holds_alternative<event::Closed>(events.back()))
        << (failed != nullptr ? failed->error.message : "");
  }
}

TEST(HostileRandom, MutatedStreams) {
  const Bytes valid = valid_stream();
  for (std::uint32_t seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    Bytes stream = valid;
    for (std::uint32_t i = 0; i <= random() % 4; ++i) {
      const std::size_t at = random() % stream.size();
      switch (random() % 4) {
        case 0:
          stream[at] ^= std::byte{1} << (random() % 8);
          break;
        case 1:
          stream[at] = std::byte(random() & 0xff);
          break;
        case 2:
          stream.erase(stream.begin() + static_cast<std::ptrdiff_t>(at));
          break;
        default:
          stream.resize(at + 1);
          break;
      }
    }
    converse(stream, random, nullptr);
  }
}

TEST(HostileRandom, Garbage) {
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    std::mt19937 random(seed);
    Bytes stream = preamble();
    if (seed % 2 == 0) stream += hello_frame();
    if (seed % 4 == 0) stream += open_frame(1, 100);
    for (int frames = 0; frames < 6; ++frames) {
      Bytes body(random() % 200);
      for (auto& byte : body) byte = std::byte(random() & (seed % 3 == 0 ? 0x0f : 0xff));
      stream += frame(FrameHeader{.type = static_cast<std::uint8_t>(random() % 0x48),
                                  .handle = static_cast<std::uint16_t>(random() % 2),
                                  .piece = static_cast<std::uint32_t>(random() % 3),
                                  .offset = static_cast<std::uint32_t>(random() % 3)},
                      body);
    }
    converse(stream, random, nullptr);
  }
}

}  // namespace
}  // namespace shardswarm
