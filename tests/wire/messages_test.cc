#include "wire/messages.h"

#include <gmock/gmock.h>

#include "tests/wire/fields.h"
#include "tests/wire/pair.h"

namespace shardswarm::message {
namespace {

using test::digest_of;
using test::Fields;
using test::run_of;
using ::testing::HasSubstr;

// Splits what an encoder made into frames, each checked as a receiver would.
struct Frame {
  FrameHeader header;
  Bytes body;
};
std::vector<Frame> frames_of(const Bytes& bytes) {
  std::vector<Frame> frames;
  std::span<const std::byte> rest = bytes;
  while (!rest.empty()) {
    Frame frame;
    frame.header = decode_frame_header(rest.first<limits::kFrameHeaderBytes>());
    EXPECT_TRUE(check_frame_header(frame.header).has_value());
    const auto body = rest.subspan(limits::kFrameHeaderBytes, frame.header.length);
    frame.body.assign(body.begin(), body.end());
    rest = rest.subspan(limits::kFrameHeaderBytes + frame.header.length);
    frames.push_back(std::move(frame));
  }
  return frames;
}

Frame only_frame(const Bytes& bytes) {
  auto frames = frames_of(bytes);
  EXPECT_EQ(frames.size(), 1U);
  return frames.empty() ? Frame{} : frames[0];
}

template <class T>
std::string refusal(const Result<T>& result) {
  if (result) return "accepted";
  EXPECT_EQ(result.error().code, Errc::kProtocol);
  return result.error().message;
}

constexpr std::string_view kNodeId = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";

// A HELLO that is right but for what is added or, with other arguments, changed.
Fields hello(std::uint32_t version_min = 1, std::string_view node_id = kNodeId) {
  return Fields().number(1, version_min).number(2, 1).text(4, node_id);
}

TEST(Messages, HelloRoundTrip) {
  const Hello self{.node_id = digest_of(9),
                   .agent = "shardswarm/0.1",
                   .listen_port = 65535,
                   .advertised = {"192.0.2.1:7777", "[2001:db8::1]:7777"},
                   .features = 0x8000000000000001,
                   .site = "fra/rack-1"};
  Bytes out;
  append_hello(out, self, {.min = 2, .max = 5});
  const Frame frame = only_frame(out);
  EXPECT_EQ(frame.header.type, 0x81);
  const auto versions = decode_hello_versions(frame.body);
  ASSERT_TRUE(versions.has_value());
  EXPECT_EQ(versions->min, 2U);
  EXPECT_EQ(versions->max, 5U);
  const auto back = decode_hello(frame.body);
  ASSERT_TRUE(back.has_value()) << back.error().message;
  EXPECT_EQ(back->node_id, self.node_id);
  EXPECT_EQ(back->agent, self.agent);
  EXPECT_EQ(back->listen_port, self.listen_port);
  EXPECT_EQ(back->advertised, self.advertised);
  EXPECT_EQ(back->features, self.features);
  EXPECT_EQ(back->site, self.site);
}

TEST(Messages, HelloIsCutToWhatAReceiverTakes) {  // WIRE-15
  Hello self{.node_id = digest_of(9), .agent = std::string(5000, 'a'), .advertised = {}};
  self.advertised = {"", "with space:1", std::string(limits::kAddressBytesMax + 1, 'x')};
  for (int i = 0; i < 40; ++i) {
    self.advertised.emplace_back(limits::kAddressBytesMax, static_cast<char>('a' + i % 26));
  }
  Bytes out;
  append_hello(out, self, {});
  const auto back = decode_hello(only_frame(out).body);
  ASSERT_TRUE(back.has_value()) << back.error().message;
  EXPECT_EQ(back->advertised.size(), limits::kHelloAddressesMax);
  EXPECT_EQ(back->agent.size(), limits::kAgentBytesMax);
}

TEST(Messages, HelloIsChecked) {  // WIRE-11, WIRE-13, WIRE-15, WIRE-17
  const auto refused = [](const Fields& fields) { return refusal(decode_hello(fields.bytes())); };
  EXPECT_EQ(refused(hello()), "accepted");
  EXPECT_THAT(refused(hello(1, "short")), HasSubstr("node id has 5 bytes"));
  EXPECT_EQ(refused(hello().number(5, 65535)), "accepted");
  EXPECT_THAT(refused(hello().number(5, 65536)), HasSubstr("port"));
  EXPECT_THAT(refused(hello().text(6, "a b:1")), HasSubstr("address"));
  EXPECT_THAT(refused(hello().text(6, "")), HasSubstr("address"));
  EXPECT_EQ(refused(hello().text(8, "Fra/rack_1.b-2")), "accepted");
  EXPECT_EQ(refused(hello().text(8, std::string(limits::kSiteBytesMax, 'x'))), "accepted");
  EXPECT_THAT(refused(hello().text(8, std::string(limits::kSiteBytesMax + 1, 'x'))),
              HasSubstr("site"));
  EXPECT_THAT(refused(hello().text(8, "rack 1")), HasSubstr("site"));
  Fields crowded = hello();
  for (int i = 0; i < 17; ++i) crowded.text(6, "a:1");
  EXPECT_THAT(refused(crowded), HasSubstr("17 addresses"));
  EXPECT_THAT(refusal(decode_hello_versions(hello(2).bytes())), HasSubstr("2 to 1"));
  EXPECT_THAT(refusal(decode_hello_versions({})), HasSubstr("0 to 0"));
  const Bytes garbage(20, std::byte{0xff});
  EXPECT_THAT(refusal(decode_hello_versions(garbage)), HasSubstr("Protobuf"));
}

TEST(Messages, ASiteThatIsNoLabelIsNotTold) {  // WIRE-17
  Bytes out;
  append_hello(out, {.node_id = digest_of(9), .agent = "", .advertised = {}, .site = "a b"}, {});
  EXPECT_EQ(decode_hello(only_frame(out).body)->site, "");
}

TEST(Messages, ASiteTagIsTheBeginningOfADigest) {  // WIRE-65
  EXPECT_EQ(site_tag(""), 0U);
  EXPECT_EQ(site_tag("abc"), 0xbf1678baU);  // SHA-256 begins ba 78 16 bf
}

TEST(Messages, AgentIsCleaned) {  // WIRE-16
  EXPECT_EQ(decode_hello(hello().text(7, "a\x1b[31m\n\xc3\xa9~").bytes())->agent, "a?[31m???~");
}

TEST(Messages, ModelRoundTrip) {
  Bytes out;
  append_open(out, 7, digest_of(50));
  append_unknown_model(out, digest_of(51));
  const auto frames = frames_of(out);
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[0].header.handle, 7);
  EXPECT_EQ(decode_model(frames[0].body), digest_of(50));
  EXPECT_EQ(frames[1].header.handle, 0);
  EXPECT_EQ(decode_model(frames[1].body), digest_of(51));
  EXPECT_THAT(refusal(decode_model({})), HasSubstr("model id has 0 bytes"));
}

TEST(Messages, PieceListsRoundTrip) {
  const std::vector<PieceRun> pieces = {run_of(3, 2), run_of(900, 1)};
  for (const FrameType type :
       {FrameType::kHave, FrameType::kLost, FrameType::kWant, FrameType::kRequest,
        FrameType::kClaim, FrameType::kCancel, FrameType::kReject}) {
    Bytes out;
    append_piece_list(out, type, 3, pieces,
                      {.credit_bytes = 77, .any = true, .reason = RejectReason::kBusy});
    const Frame frame = only_frame(out);
    EXPECT_EQ(frame.header.type, static_cast<std::uint8_t>(type));
    EXPECT_EQ(frame.header.handle, 3);
    const auto back = decode_piece_list(type, frame.body);
    ASSERT_TRUE(back.has_value()) << back.error().message;
    EXPECT_EQ(back->pieces, pieces);
    EXPECT_FALSE(back->more);
    const bool credit = type == FrameType::kRequest || type == FrameType::kCancel;
    EXPECT_EQ(back->fields.credit_bytes, credit ? 77U : 0U);
    EXPECT_EQ(back->fields.any, type == FrameType::kRequest);
    EXPECT_EQ(back->fields.reason,
              type == FrameType::kReject ? RejectReason::kBusy : RejectReason{});
  }
}

TEST(Messages, CreditGoesWithTheFirstFrameOnly) {  // WIRE-52
  std::vector<PieceRun> pieces;
  for (std::uint32_t i = 0; i < 400'000; ++i) pieces.push_back(run_of(2 * i, 1));
  for (const FrameType type : {FrameType::kRequest, FrameType::kWant}) {
    Bytes out;
    append_piece_list(out, type, 1, pieces, {.credit_bytes = 5, .any = true});
    const auto frames = frames_of(out);
    ASSERT_GT(frames.size(), 2U);
    std::uint64_t credit = 0;
    std::vector<PieceRun> all;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const auto part = decode_piece_list(type, frames[i].body);
      ASSERT_TRUE(part.has_value()) << part.error().message;
      credit += part->fields.credit_bytes;
      all.insert(all.end(), part->pieces.begin(), part->pieces.end());
      EXPECT_EQ(part->more, type == FrameType::kWant && i + 1 < frames.size());
      EXPECT_EQ(part->fields.any, type == FrameType::kRequest);
    }
    EXPECT_EQ(credit, type == FrameType::kRequest ? 5U : 0U);
    EXPECT_EQ(all, pieces);
  }
}

TEST(Messages, PieceListsAreChecked) {  // WIRE-50, WIRE-54, WIRE-61, WIRE-64
  const auto refused = [](FrameType type, const Fields& fields) {
    return refusal(decode_piece_list(type, fields.bytes()));
  };
  for (const FrameType type : {FrameType::kWant, FrameType::kRequest, FrameType::kCancel}) {
    EXPECT_EQ(refused(type, {}), "accepted");
  }
  EXPECT_THAT(refused(FrameType::kWant, Fields().number(7, 1)), HasSubstr("no pieces"));
  for (const FrameType type :
       {FrameType::kHave, FrameType::kLost, FrameType::kClaim, FrameType::kReject}) {
    EXPECT_THAT(refused(type, Fields().number(6, 1)), HasSubstr("no pieces"));
  }
  const Fields list = Fields().packed(1, {0, 1});
  EXPECT_EQ(refused(FrameType::kReject, Fields(list).number(6, 4)), "accepted");
  for (const std::uint32_t reason : {0U, 5U, UINT32_MAX}) {
    EXPECT_THAT(refused(FrameType::kReject, Fields(list).number(6, reason)), HasSubstr("reason"));
  }
  EXPECT_EQ(refused(FrameType::kRequest, Fields(list).number(4, limits::kCreditBytesMax)),
            "accepted");
  EXPECT_THAT(refused(FrameType::kRequest, Fields(list).number(4, limits::kCreditBytesMax + 1)),
              HasSubstr("credit"));
  EXPECT_THAT(refused(FrameType::kHave, Fields().packed(1, {0, 1, 0})), HasSubstr("pairs"));
  EXPECT_THAT(refused(FrameType::kHave, Fields(list).text(3, "\x01")), HasSubstr("both"));
}

TEST(Messages, UnknownFieldsAreSkipped) {  // WIRE-6
  EXPECT_EQ(decode_ping(Fields().number(1, 300).text(31, "xyz").number(1000, 7).bytes()), 300U);
}

TEST(Messages, BlobRequestsRoundTrip) {
  Bytes out;
  append_blob_request(out, 2, 4'000'000'000, digest_of(1));
  append_blob_reject(out, 2, 17);
  const auto frames = frames_of(out);
  ASSERT_EQ(frames.size(), 2U);
  const auto ask = decode_blob_request(frames[0].body);
  ASSERT_TRUE(ask.has_value());
  EXPECT_EQ(ask->request, 4'000'000'000U);
  EXPECT_EQ(ask->digest, digest_of(1));
  EXPECT_EQ(decode_blob_reject(frames[1].body), 17U);
  EXPECT_THAT(refusal(decode_blob_request(frames[1].body)), HasSubstr("digest has 0 bytes"));
}

TEST(Messages, PeersRoundTrip) {
  const std::vector<PeerAddress> peers = {
      {.id = digest_of(1), .address = "192.0.2.7:1", .connected = true, .site = 0xfedcba98},
      {.id = {}, .address = "host.example:65535", .connected = false},
      {.id = digest_of(3), .address = "", .connected = true}};
  Bytes out;
  append_peers(out, 1, peers);
  const auto back = decode_peers(only_frame(out).body);
  ASSERT_TRUE(back.has_value()) << back.error().message;
  ASSERT_EQ(back->size(), peers.size());
  for (std::size_t i = 0; i < peers.size(); ++i) {
    EXPECT_EQ((*back)[i].id, peers[i].id);
    EXPECT_EQ((*back)[i].address, peers[i].address);
    EXPECT_EQ((*back)[i].connected, peers[i].connected);
    EXPECT_EQ((*back)[i].site, peers[i].site);
  }
}

TEST(Messages, MostPeersFitTheirFrame) {  // WIRE-65
  const PeerAddress longest{.id = digest_of(1),
                            .address = std::string(limits::kAddressBytesMax, 'x'),
                            .connected = true,
                            .site = 0xffffffff};
  std::vector<PeerAddress> peers(limits::kPeerAddressesMax + 9, longest);
  peers[0].address = "new\nline:1";
  Bytes out;
  append_peers(out, 1, peers);
  const auto back = decode_peers(only_frame(out).body);
  ASSERT_TRUE(back.has_value()) << back.error().message;
  EXPECT_EQ(back->size(), limits::kPeerAddressesMax);
}

TEST(Messages, PeersAreChecked) {  // WIRE-65
  const auto refused = [](const Fields& peer) {
    return refusal(decode_peers(Fields().message(1, peer).bytes()));
  };
  EXPECT_EQ(refused({}), "accepted");
  EXPECT_THAT(refused(Fields().text(2, std::string(limits::kAddressBytesMax + 1, 'x'))),
              HasSubstr("address"));
  EXPECT_THAT(refused(Fields().text(2, "tab\t:1")), HasSubstr("address"));
  EXPECT_THAT(refused(Fields().text(1, "123")), HasSubstr("node id has 3 bytes"));
  Fields crowd;
  for (std::uint32_t i = 0; i <= limits::kPeerAddressesMax; ++i) crowd.message(1, {});
  EXPECT_THAT(refusal(decode_peers(crowd.bytes())), HasSubstr("257 addresses"));
}

TEST(Messages, CloseIsBoundedAndCleaned) {  // WIRE-16, WIRE-70
  Bytes out;
  append_close(out, CloseReason::kBadData, std::string(5000, 'x') + "end");
  const auto back = decode_close(only_frame(out).body);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->reason, CloseReason::kBadData);
  EXPECT_EQ(back->text, std::string(limits::kReasonBytesMax, 'x'));

  const Fields close =
      Fields().number(1, 4711).text(2, std::string_view("\x1b]0;owned\x07\0\x7f", 12));
  const auto hostile = decode_close(close.bytes());
  ASSERT_TRUE(hostile.has_value());
  EXPECT_EQ(hostile->reason, CloseReason::kInternal);
  EXPECT_EQ(hostile->text, "?]0;owned???");
}

}  // namespace
}  // namespace shardswarm::message
