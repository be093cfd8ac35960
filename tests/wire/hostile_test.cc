// Peers that break the protocol: each rule, and what is said of it.
#include "tests/wire/hostile.h"

#include <gmock/gmock.h>

#include <string>

#include "tests/wire/fields.h"
#include "wire/session.h"

namespace shardswarm {
namespace {

using test::blob;
using test::data;
using test::digest_of;
using test::End;
using test::Fields;
using test::frame;
using test::hello_frame;
using test::hello_of;
using test::open_frame;
using test::preamble;
using test::operator+=;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Bytes = std::vector<std::byte>;

// A session that takes whatever it is sent; pieces are said to have 1000 bytes.
class Victim : public End {
 public:
  explicit Victim(std::optional<NodeId> authenticated = {}, std::uint64_t features = 0)
      : End(hello_of(1, features), authenticated) {
    on_piece = [this](const event::PieceBegin&) { session.accept_piece(buffer_); };
  }

  // Preamble and HELLO; the model of digest_of(100) opened by both sides, by handle 1 of the peer.
  Victim& greet(std::uint64_t features = 0) {
    give_all(preamble());
    give_all(hello_frame(1, 1, features));
    session.open(digest_of(100));
    give_all(open_frame(1, 100));
    take_all_output();
    return *this;
  }

  // Feeds `bytes`, which must make the session fail; the message. A CLOSE that the other side
  // understands must be queued, with the reason given, and nothing be received any more.
  std::string failure(const Bytes& bytes, CloseReason reason = CloseReason::kProtocolError) {
    give_all(bytes);
    drain();
    const auto failed = all<event::Failed>();
    if (failed.size() != 1) return "did not fail";
    EXPECT_EQ(failed[0].reason, reason);
    EXPECT_EQ(failed[0].error.message.find('\n'), std::string::npos);
    EXPECT_TRUE(session.closing());
    EXPECT_TRUE(session.receive_spans()[0].empty());
    session.received(0);
    const Bytes out = take_all_output();
    const std::size_t events_before = events.size();
    give_all(hello_frame());
    EXPECT_EQ(events.size(), events_before);
    EXPECT_EQ(closed_text(out, reason), failed[0].error.message);
    return failed[0].error.message;
  }

 private:
  // The text of the CLOSE at the end of `out`.
  std::string closed_text(std::span<const std::byte> out, CloseReason reason) {
    if (out.size() > 8 && std::equal(kPreambleBytes.begin(), kPreambleBytes.end(), out.begin())) {
      out = out.subspan(8);
    }
    while (out.size() >= limits::kFrameHeaderBytes) {
      const FrameHeader header = decode_frame_header(out.first<limits::kFrameHeaderBytes>());
      const auto body = out.subspan(limits::kFrameHeaderBytes, header.length);
      out = out.subspan(limits::kFrameHeaderBytes + header.length);
      if (header.type != static_cast<std::uint8_t>(FrameType::kClose)) continue;
      EXPECT_TRUE(out.empty()) << "CLOSE is not the last frame";
      const auto closed = message::decode_close(body);
      EXPECT_EQ(closed->reason, reason);
      return closed->text;
    }
    return "no CLOSE";
  }

  Bytes buffer_ = Bytes(1000);
};

std::string failure_of(const Bytes& bytes) { return Victim().greet().failure(bytes); }

TEST(Hostile, AnotherProtocol) {  // WIRE-1
  const std::string http = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  Bytes bytes;
  for (const char c : http) bytes.push_back(static_cast<std::byte>(c));
  EXPECT_EQ(Victim().failure(bytes), "not a shardswarm peer");
}

// An alert has 7 bytes, one fewer than the preamble that is waited for.
TEST(Hostile, TlsIsKnownByItsFirstBytes) {  // WIRE-1a
  const Bytes answer(kTlsAlertBytes.begin(), kTlsAlertBytes.end());
  Bytes other_alert = answer;
  other_alert.back() = std::byte{40};
  Bytes client_hello = {std::byte{0x16}, std::byte{3}, std::byte{1}, std::byte{2}};
  client_hello.resize(300, std::byte{1});
  for (const Bytes& bytes : {answer, other_alert, client_hello}) {
    Victim victim;
    const std::string said = victim.failure(bytes);
    // Anybody may speak TLS; only a node with a key answers in this way.
    EXPECT_EQ(said.starts_with("it has a cluster key and this node has none"), bytes == answer)
        << said;
    EXPECT_EQ(said.starts_with("it speaks TLS, as a node with a cluster key does"),
              bytes != answer);
    EXPECT_THAT(said, testing::EndsWith("start this node again"));
    EXPECT_EQ(victim.all<event::Failed>()[0].error.code, Errc::kRefused);
  }
}

TEST(Hostile, AnotherFraming) {  // WIRE-1
  Bytes bytes = preamble();
  bytes.back() = std::byte{2};
  Victim victim;
  EXPECT_THAT(victim.failure(bytes, CloseReason::kVersion), HasSubstr("framing 2, this node 1"));
  EXPECT_EQ(victim.all<event::Failed>()[0].error.code, Errc::kVersion);
}

TEST(Hostile, NoCommonVersion) {  // WIRE-11
  Victim victim;
  victim.give_all(preamble());
  const std::string message = victim.failure(hello_frame(2, 3), CloseReason::kVersion);
  EXPECT_THAT(message, HasSubstr("2 to 3"));
  EXPECT_THAT(message, HasSubstr("1 to 1"));
  EXPECT_EQ(victim.all<event::Failed>()[0].error.code, Errc::kVersion);
  EXPECT_THAT(victim.all<event::Ready>(), IsEmpty());
}

TEST(Hostile, NewerPeersThatStillSpeakThisVersionAreWelcome) {  // WIRE-11
  Victim victim;
  victim.give_all(preamble());
  victim.give_all(hello_frame(1, 9));
  EXPECT_EQ(victim.all<event::Ready>().at(0).version, 1U);
}

TEST(Hostile, VersionsAreComparedBeforeTheRestIsRead) {  // WIRE-11
  Victim victim;
  victim.give_all(preamble());
  const Bytes body = Fields().number(1, 7).number(2, 8).text(4, "new kind of id").bytes();
  EXPECT_THAT(victim.failure(frame(FrameType::kHello, 0, body), CloseReason::kVersion),
              HasSubstr("7 to 8"));
}

TEST(Hostile, AnotherFrameBeforeHello) {  // WIRE-10
  for (const Bytes& first : {open_frame(1, 100), frame(FrameType::kPing, 0), data(1, 0, 0, 1)}) {
    Victim victim;
    victim.give_all(preamble());
    EXPECT_THAT(victim.failure(first), HasSubstr("before HELLO"));
  }
  Victim victim;
  victim.give_all(preamble());
  EXPECT_THAT(victim.failure(frame(FrameHeader{.type = 0x3f})), HasSubstr("before HELLO"));
}

TEST(Hostile, ASecondHello) { EXPECT_THAT(failure_of(hello_frame()), HasSubstr("second HELLO")); }

TEST(Hostile, SomebodyElsesNodeId) {  // WIRE-13
  Victim victim(digest_of(3));
  victim.give_all(preamble());
  const std::string message = victim.failure(hello_frame());
  EXPECT_THAT(message, HasSubstr(to_hex(digest_of(2))));
  EXPECT_THAT(message, HasSubstr(to_hex(digest_of(3))));
  Victim honest(digest_of(2));
  honest.give_all(preamble());
  honest.give_all(hello_frame());
  EXPECT_THAT(honest.all<event::Ready>(), SizeIs(1));
}

TEST(Hostile, HelloWithoutSense) {
  Victim victim;
  victim.give_all(preamble());
  EXPECT_THAT(victim.failure(frame(FrameType::kHello, 0, Bytes(9, std::byte{0xff}))),
              HasSubstr("HELLO frame: its body is not a Protobuf message"));
}

TEST(Hostile, HandlesThatWereNeverOpened) {  // WIRE-22
  const Bytes pieces = Fields().packed(1, {0, 1}).number(6, 1).bytes();
  for (const FrameType type :
       {FrameType::kHave, FrameType::kLost, FrameType::kWant, FrameType::kRequest,
        FrameType::kClaim, FrameType::kCancel, FrameType::kReject, FrameType::kBlobRequest,
        FrameType::kBlobReject, FrameType::kPeers}) {
    EXPECT_THAT(failure_of(frame(type, 2, pieces)), HasSubstr("handle 2")) << frame_type_name(type);
  }
  EXPECT_THAT(failure_of(data(2, 0, 0, 1)), HasSubstr("handle 2"));
}

TEST(Hostile, HandlesThatChangeTheirModel) {  // WIRE-21
  EXPECT_THAT(failure_of(open_frame(1, 101)), HasSubstr("handle 1 for a second model"));
  EXPECT_THAT(failure_of(open_frame(2, 100)), HasSubstr("second handle, 2"));
  EXPECT_EQ(failure_of(open_frame(1, 100)), "did not fail");
  EXPECT_THAT(failure_of(frame(FrameType::kOpen, 5, Fields().text(1, "abc").bytes())),
              HasSubstr("OPEN frame: its model id has 3 bytes"));
}

TEST(Hostile, TooManyModels) {  // WIRE-21
  Victim victim;
  victim.greet();
  Bytes opens;
  for (std::uint32_t i = 0; i < limits::kModelsPerConnectionMax; ++i) {
    Digest id = digest_of(1);
    id.bytes[0] = std::byte(i & 0xff);
    id.bytes[1] = std::byte(i >> 8);
    message::append_open(opens, static_cast<std::uint16_t>(i + 2), id);
  }
  EXPECT_THAT(victim.failure(opens), HasSubstr("more than 1024 models"));
  EXPECT_THAT(victim.all<event::Opened>(), SizeIs(limits::kModelsPerConnectionMax));
}

TEST(Hostile, ModelsThatThisNodeDidNotOpen) {  // WIRE-23, WIRE-24
  const Bytes pieces = Fields().packed(1, {0, 1}).bytes();
  const Bytes ask = Fields().number(1, 5).text(2, std::string(32, 'd')).bytes();
  for (const Bytes& asked :
       {frame(FrameType::kRequest, 2, pieces), frame(FrameType::kCancel, 2, pieces),
        frame(FrameType::kBlobRequest, 2, ask)}) {
    Bytes bytes = open_frame(2, 101);
    bytes += asked;
    EXPECT_THAT(failure_of(bytes), HasSubstr("did not open"));
  }
  Bytes unknown;
  message::append_unknown_model(unknown, digest_of(55));
  EXPECT_THAT(failure_of(unknown), HasSubstr("UNKNOWN_MODEL"));
  Bytes not_opened_by_us = open_frame(2, 101);
  message::append_unknown_model(not_opened_by_us, digest_of(101));
  EXPECT_THAT(failure_of(not_opened_by_us), HasSubstr("UNKNOWN_MODEL"));
}

TEST(Hostile, CriticalFramesOfTheFuture) {  // WIRE-5
  EXPECT_THAT(failure_of(frame(FrameHeader{.type = 0xb3})), HasSubstr("unknown type 0xb3"));
}

TEST(Hostile, OtherFramesOfTheFutureAreSkipped) {  // WIRE-5
  Victim victim;
  victim.greet();
  Bytes bytes = frame(FrameHeader{.type = 0x33, .flags = 3, .handle = 9, .piece = 9, .offset = 9},
                      Bytes(limits::kControlBytesMax, std::byte{1}));
  bytes += frame(FrameHeader{.type = 0x70});
  message::append_ping(bytes, FrameType::kPong, 5);
  victim.give_all(bytes);
  EXPECT_THAT(victim.all<event::Failed>(), IsEmpty());
  EXPECT_THAT(victim.all<event::Pong>(), SizeIs(1));
}

TEST(Hostile, LengthsThatNobodyMayBelieve) {  // WIRE-4
  for (int type = 0; type < 256; ++type) {
    Bytes bytes;
    message::append_header(
        bytes, {.length = UINT32_MAX, .type = static_cast<std::uint8_t>(type), .handle = 1});
    EXPECT_THAT(failure_of(bytes), HasSubstr("4294967295")) << type;
  }
}

TEST(Hostile, DataOutOfOrder) {  // WIRE-31, WIRE-33
  EXPECT_THAT(failure_of(data(1, 5, 10, 1)), HasSubstr("piece 5 begins at byte 10"));
  for (const Bytes& second : {data(1, 5, 101, 1), data(1, 5, 99, 1), data(1, 5, 0, 1)}) {
    Bytes bytes = data(1, 5, 0, 100);
    bytes += second;
    EXPECT_THAT(failure_of(bytes), HasSubstr("100 came before"));
  }
  Bytes other = data(1, 5, 0, 100);
  other += data(1, 6, 0, 100);
  EXPECT_THAT(failure_of(other), HasSubstr("piece 6 while piece 5 is under way"));
}

TEST(Hostile, DataBeyondThePiece) {  // WIRE-32
  EXPECT_THAT(failure_of(data(1, 5, 0, 1001)), HasSubstr("piece 5 goes beyond its 1000 bytes"));
  Bytes bytes = data(1, 5, 0, 600);
  bytes += data(1, 5, 600, 401);
  EXPECT_THAT(failure_of(bytes), HasSubstr("piece 5 goes beyond its 1000 bytes"));
}

TEST(Hostile, BlobsThatNobodyAskedFor) {  // WIRE-42
  EXPECT_THAT(failure_of(blob(3, 0, 10, true)), HasSubstr("request 3"));
  EXPECT_THAT(failure_of(frame(FrameType::kBlobReject, 1, Fields().number(1, 3).bytes())),
              HasSubstr("request 3"));
  Victim victim;
  victim.greet().session.request_blob(Channel(1), 3, digest_of(9));
  Bytes bytes = blob(3, 0, 10, true);
  bytes += blob(3, 10, 10, true);
  EXPECT_THAT(victim.failure(bytes), HasSubstr("was answered"));
  EXPECT_THAT(victim.all<event::BlobChunk>(), SizeIs(1));
}

TEST(Hostile, BlobsWithGaps) {  // WIRE-42
  for (const std::uint32_t offset : {0U, 9U, 11U}) {
    Victim victim;
    victim.greet().session.request_blob(Channel(1), 3, digest_of(9));
    Bytes bytes = blob(3, 0, 10, false);
    bytes += blob(3, offset, 10, true);
    EXPECT_THAT(victim.failure(bytes), HasSubstr("10 came before"));
  }
}

TEST(Hostile, CompressedBlobsThatWereNotAgreedOn) {  // WIRE-12, WIRE-45
  for (const auto& [ours, theirs] :
       {std::pair{0U, 0U}, std::pair{1U, 0U}, std::pair{0U, 1U}, std::pair{1U, 2U}}) {
    Victim victim({}, ours);
    victim.greet(theirs).session.request_blob(Channel(1), 3, digest_of(9));
    EXPECT_THAT(victim.failure(blob(3, 0, 10, true, true)), HasSubstr("request 3 is compressed"));
  }
}

TEST(Hostile, BlobsThatAreCompressedInPart) {  // WIRE-45
  for (const bool first : {false, true}) {
    Victim victim({}, kFeatureZstdBlobs);
    victim.greet(kFeatureZstdBlobs).session.request_blob(Channel(1), 3, digest_of(9));
    Bytes bytes = blob(3, 0, 10, false, first);
    bytes += blob(3, 10, 10, true, !first);
    EXPECT_THAT(victim.failure(bytes), HasSubstr("part of its frames only"));
    EXPECT_THAT(victim.all<event::BlobChunk>(), SizeIs(1));
  }
}

TEST(Hostile, OneBlobRequestTwice) {  // WIRE-40
  const Bytes ask = Fields().number(1, 5).text(2, std::string(32, 'd')).bytes();
  Bytes bytes = frame(FrameType::kBlobRequest, 1, ask);
  bytes += frame(FrameType::kBlobRequest, 1, ask);
  EXPECT_THAT(failure_of(bytes), HasSubstr("BLOB_REQUEST 5"));
}

TEST(Hostile, SetsOfPiecesWithoutSense) {  // WIRE-50
  EXPECT_THAT(failure_of(frame(FrameType::kHave, 1, Fields().packed(1, {7}).bytes())),
              HasSubstr("HAVE frame: its runs are not pairs"));
  EXPECT_THAT(failure_of(frame(FrameType::kClaim, 1)),
              HasSubstr("CLAIM frame: it names no pieces"));
}

TEST(Hostile, WantsThatDoNotFitTogether) {  // WIRE-52
  const auto part = [](std::uint16_t handle, std::uint32_t first, bool more) {
    return frame(FrameType::kWant, handle,
                 Fields().packed(1, {first, 10}).number(7, more ? 1 : 0).bytes());
  };
  Bytes backwards = part(1, 50, true);
  backwards += part(1, 55, false);
  EXPECT_THAT(failure_of(backwards), HasSubstr("ascending"));
  Bytes mixed = open_frame(2, 101);
  mixed += part(1, 50, true);
  mixed += part(2, 90, false);
  EXPECT_THAT(failure_of(mixed), HasSubstr("between the parts"));
}

TEST(Hostile, WantsOfEndlessParts) {  // WIRE-53
  Bytes bytes;
  for (std::uint32_t part = 0; part < 9; ++part) {
    std::vector<std::uint32_t> runs;
    for (std::uint32_t i = 0; i < 130'000; ++i) {
      runs.push_back(i == 0 ? part * 300'000 : 1);
      runs.push_back(1);
    }
    bytes += frame(FrameType::kWant, 1, Fields().packed(1, runs).number(7, 1).bytes());
  }
  EXPECT_THAT(failure_of(bytes), HasSubstr("more than 1048576 runs"));
}

TEST(Hostile, PingsWithoutReadingThePongs) {  // WIRE-7
  Victim victim;
  victim.greet();
  Bytes pings;
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    message::append_ping(pings, FrameType::kPing, UINT64_MAX);
  }
  for (int round = 0; round < 100 && !victim.session.closing(); ++round) {
    victim.give_all(pings);
    EXPECT_LE(victim.session.queue().bytes(), limits::kSendQueueBytesMax);
  }
  EXPECT_THAT(victim.failure({}), HasSubstr("peer does not read"));
}

}  // namespace
}  // namespace shardswarm
