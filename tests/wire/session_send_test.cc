// What is sent when: control, blobs, pieces.
#include <gmock/gmock.h>

#include "tests/wire/pair.h"
#include "wire/session.h"

namespace shardswarm {
namespace {

using test::Acceptor;
using test::bytes_arrived;
using test::digest_of;
using test::End;
using test::kFull;
using test::Pair;
using ::testing::Ge;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Bytes = std::vector<std::byte>;

Blob blob_of(std::size_t bytes, std::uint8_t salt) {
  auto blob = std::make_shared<Bytes>(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    (*blob)[i] = static_cast<std::byte>((i * 31 + i / 251 + salt) & 0xff);
  }
  return blob;
}

// The chunks of one request, put together.
Bytes blob_received(const End& end, std::uint32_t request) {
  Bytes bytes;
  bool last = false;
  for (const auto& chunk : end.all<event::BlobChunk>()) {
    if (chunk.request != request) continue;
    EXPECT_EQ(chunk.offset, bytes.size());
    EXPECT_FALSE(last);
    bytes.insert(bytes.end(), chunk.bytes.begin(), chunk.bytes.end());
    last = chunk.last;
  }
  EXPECT_TRUE(last);
  return bytes;
}

TEST(SessionSend, ControlGoesBetweenDataFrames) {  // WIRE-67
  Pair pair(1, 1 << 20);
  const Channel channel = pair.open_model();
  Acceptor acceptor(pair.b, kFull);
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  while (bytes_arrived(pair.b) < 200'000) ASSERT_TRUE(pair.step());
  const std::uint64_t before = bytes_arrived(pair.b);
  pair.a.session.ping(1);
  while (pair.a.all<event::Pong>().empty()) ASSERT_TRUE(pair.step());
  EXPECT_LE(bytes_arrived(pair.b) - before, 3 * limits::kShortFrameBytes);
  EXPECT_THAT(pair.b.all<event::PieceEnd>(), IsEmpty());
  pair.run();
  EXPECT_TRUE(acceptor.holds(PieceIndex(1)));
}

TEST(SessionSend, ControlAndDataHeaderGoInOneWrite) {
  Pair pair;
  const Channel channel = pair.open_model();
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  pair.a.session.claim(channel, PieceIndex(1));
  const auto first = std::get<OutputBytes>(pair.a.session.next_output());
  EXPECT_TRUE(first.more);
  pair.a.session.sent(first.bytes.size());
  const auto extent = std::get<OutputExtent>(pair.a.session.next_output());
  EXPECT_EQ(extent.piece, PieceIndex(1));
  EXPECT_EQ(extent.offset, 0U);
  EXPECT_EQ(extent.length, limits::kShortFrameBytes);
  pair.a.session.sent(1000);
  const auto rest = std::get<OutputExtent>(pair.a.session.next_output());
  EXPECT_EQ(rest.offset, 1000U);
  EXPECT_EQ(rest.length, limits::kShortFrameBytes - 1000);
}

TEST(SessionSend, FramesAreAsLongAsIsSaid) {  // WIRE-30
  Pair pair(test::hello_of(1, kFeatures), test::hello_of(2, kFeatures));
  const Channel channel = pair.open_model();
  Acceptor acceptor(pair.b, kFull);
  pair.a.session.data_frames_up_to(limits::kDataBytesMax);
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  pair.a.session.send_piece(channel, PieceIndex(2), kFull);
  Bytes stream;
  pair.a.take_output(stream, 16);
  EXPECT_EQ(std::get<OutputExtent>(pair.a.session.next_output()).length, kFull);
  pair.a.session.data_frames_up_to(1000);  // from the next on
  const Bytes rest = pair.a.take_all_output();
  EXPECT_EQ(rest.size(), 2 * kFull + 16 * ((kFull + 999) / 1000));
  stream.insert(stream.end(), rest.begin(), rest.end());
  pair.b.give_all(stream);
  EXPECT_TRUE(acceptor.holds(PieceIndex(1)));
  EXPECT_TRUE(acceptor.holds(PieceIndex(2)));
}

TEST(SessionSend, FramesStayShortForWhoDoesNotKnowLongOnes) {  // WIRE-30
  Pair pair(test::hello_of(1, kFeatures), test::hello_of(2, kFeatureZstdBlobs));
  const Channel channel = pair.open_model();
  pair.a.session.data_frames_up_to(limits::kDataBytesMax);
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  Bytes header;
  pair.a.take_output(header, 16);
  EXPECT_EQ(std::get<OutputExtent>(pair.a.session.next_output()).length, limits::kShortFrameBytes);
}

TEST(SessionSend, PacedFramesKeepToTheLengthToo) {  // WIRE-30
  Pair pair(test::hello_of(1, kFeatures), test::hello_of(2, kFeatures));
  const Channel channel = pair.open_model();
  pair.a.session.pace_payload();
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  EXPECT_EQ(pair.a.session.begin_piece_frame(kFull), 16 + limits::kShortFrameBytes);
}

TEST(SessionSend, CloseWaitsForTheFrameUnderWayOnly) {  // WIRE-70
  Pair pair(2, 30'000);
  const Channel channel = pair.open_model();
  Acceptor acceptor(pair.b, kFull);
  pair.a.session.send_piece(channel, PieceIndex(1), kFull);
  while (bytes_arrived(pair.b) < 10'000) ASSERT_TRUE(pair.step());
  pair.a.session.close(CloseReason::kDone, "");
  pair.run();
  EXPECT_THAT(pair.b.all<event::Closed>(), SizeIs(1));
  EXPECT_THAT(pair.b.all<event::Failed>(), IsEmpty());
  EXPECT_EQ(bytes_arrived(pair.b), limits::kShortFrameBytes);
}

TEST(SessionSend, BlobsArriveInterleaved) {  // WIRE-41
  for (std::uint32_t seed = 0; seed < 5; ++seed) {
    Pair pair(seed, 100'000);
    const Channel channel = pair.open_model();
    const std::vector<Blob> blobs = {blob_of(500'000, 1), blob_of(limits::kShortFrameBytes, 2),
                                     blob_of(0, 3), blob_of(300'001, 4)};
    for (std::uint32_t i = 0; i < blobs.size(); ++i) {
      pair.b.session.request_blob(channel, 10 + i, digest_of(static_cast<std::uint8_t>(i)));
    }
    pair.b.session.request_blob(channel, 99, digest_of(77));
    pair.run();
    const auto requests = pair.a.all<event::BlobRequest>();
    ASSERT_THAT(requests, SizeIs(5));
    EXPECT_EQ(requests[2].digest, digest_of(2));
    Acceptor acceptor(pair.b, kFull);
    pair.a.session.send_piece(channel, PieceIndex(1), kFull);
    for (std::uint32_t i = 0; i < blobs.size(); ++i) {
      pair.a.session.send_blob(channel, 10 + i, blobs[i]);
    }
    pair.a.session.reject_blob(channel, 99);
    pair.run();
    for (std::uint32_t i = 0; i < blobs.size(); ++i) {
      EXPECT_EQ(blob_received(pair.b, 10 + i), *blobs[i]) << i;
    }
    EXPECT_EQ(pair.b.all<event::BlobReject>().at(0).request, 99U);
    EXPECT_TRUE(acceptor.holds(PieceIndex(1)));
    // Round robin: the second large blob began before the first one ended.
    const auto chunks = pair.b.all<event::BlobChunk>();
    ASSERT_THAT(chunks, SizeIs(Ge(4U)));
    EXPECT_EQ(chunks[0].request, 10U);
    EXPECT_EQ(chunks[1].request, 11U);
    EXPECT_EQ(chunks[2].request, 12U);
    EXPECT_EQ(chunks[3].request, 13U);
  }
}

TEST(SessionSend, CompressedBlobsSayThatTheyAre) {  // WIRE-45
  Pair pair(test::hello_of(1, kFeatureZstdBlobs), test::hello_of(2, kFeatureZstdBlobs));
  const Channel channel = pair.open_model();
  EXPECT_EQ(pair.a.session.features_in_use(), kFeatureZstdBlobs);
  const std::vector<Blob> blobs = {blob_of(300'000, 1), blob_of(300'001, 2)};
  for (std::uint32_t i = 0; i < blobs.size(); ++i) {
    pair.b.session.request_blob(channel, i, digest_of(static_cast<std::uint8_t>(i)));
  }
  pair.run();
  // The session carries the bytes; what is in them is its caller's part.
  pair.a.session.send_blob(channel, 0, blobs[0], true);
  pair.a.session.send_blob(channel, 1, blobs[1]);
  pair.run();
  EXPECT_THAT(pair.b.all<event::Failed>(), IsEmpty());
  for (std::uint32_t i = 0; i < blobs.size(); ++i) {
    EXPECT_EQ(blob_received(pair.b, i), *blobs[i]) << i;
  }
  for (const auto& chunk : pair.b.all<event::BlobChunk>()) {
    EXPECT_EQ(chunk.compressed, chunk.request == 0);
  }
}

TEST(SessionSend, OpenBlobRequestsAreBounded) {  // WIRE-43
  Pair pair;
  const Channel channel = pair.open_model();
  for (std::uint32_t i = 0; i < limits::kBlobRequestsPerPeerMax + 3; ++i) {
    pair.b.session.request_blob(channel, i, digest_of(1));
  }
  pair.run();
  EXPECT_THAT(pair.a.all<event::BlobRequest>(), SizeIs(limits::kBlobRequestsPerPeerMax));
  EXPECT_THAT(pair.b.all<event::BlobReject>(), SizeIs(3));
  // An answer makes room, and frees its number.
  pair.a.session.send_blob(channel, 0, blob_of(10, 1));
  pair.run();
  pair.b.session.request_blob(channel, 0, digest_of(1));
  pair.run();
  EXPECT_THAT(pair.b.all<event::BlobReject>(), SizeIs(3));
  EXPECT_THAT(pair.a.all<event::BlobRequest>(), SizeIs(limits::kBlobRequestsPerPeerMax + 1));
}

}  // namespace
}  // namespace shardswarm
