#include "wire/send_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "wire/frame.h"

namespace shardswarm {
namespace {

constexpr Channel kChannel{3};
constexpr PieceIndex kPiece{7};
constexpr std::uint32_t kPieceBytes = 200 * 1024;  // two frames

class SendQueueTest : public testing::Test {
 protected:
  // All bytes until the next extent of a piece, or the end.
  std::vector<std::byte> take_bytes() {
    std::vector<std::byte> all;
    while (true) {
      const Output output = queue_.next();
      const auto* bytes = std::get_if<OutputBytes>(&output);
      if (bytes == nullptr) return all;
      all.insert(all.end(), bytes->bytes.begin(), bytes->bytes.end());
      queue_.sent(bytes->bytes.size());
    }
  }
  std::optional<OutputExtent> extent() {
    const Output output = queue_.next();
    const auto* found = std::get_if<OutputExtent>(&output);
    return found == nullptr ? std::nullopt : std::optional(*found);
  }
  void add_control(std::size_t bytes) {
    queue_.control().resize(queue_.control().size() + bytes, std::byte{1});
  }
  static Blob blob_of(std::size_t bytes) {
    return std::make_shared<const std::vector<std::byte>>(bytes);
  }

  SendQueue queue_;
};

TEST_F(SendQueueTest, ControlGoesFirstThenBlobsThenPieces) {
  queue_.add_piece(kChannel, kPiece, 1000);
  queue_.owe({kChannel, 1});
  queue_.add_blob({kChannel, 1}, blob_of(50), false);
  add_control(5);
  EXPECT_EQ(queue_.bytes(), 5U);
  // Control, the blob's header and body, and the header of the piece's frame.
  EXPECT_EQ(take_bytes().size(), 5U + 16 + 50 + 16);
  ASSERT_TRUE(extent());
  EXPECT_EQ(extent()->piece, kPiece);
  EXPECT_EQ(extent()->length, 1000U);
}

TEST_F(SendQueueTest, APieceIsCutIntoFramesAndControlGoesBetween) {
  queue_.add_piece(kChannel, kPiece, kPieceBytes);
  take_bytes();
  ASSERT_EQ(extent()->length, limits::kShortFrameBytes);
  add_control(9);
  EXPECT_FALSE(queue_.sent(1000));
  EXPECT_EQ(extent()->offset, 1000U);
  EXPECT_FALSE(queue_.sent(limits::kShortFrameBytes - 1000));
  EXPECT_EQ(take_bytes().size(), 9U + 16);
  const auto ended = queue_.sent(extent()->length);
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->piece, kPiece);
  EXPECT_FALSE(ended->aborted);
  EXPECT_FALSE(queue_.has_output());
}

TEST_F(SendQueueTest, WhatIsNotUnderWayIsAbortedAtOnce) {
  queue_.add_piece(kChannel, kPiece, kPieceBytes);
  EXPECT_EQ(queue_.abort_piece(kChannel, PieceIndex(8)), SendQueue::Aborted::kNo);
  EXPECT_EQ(queue_.abort_piece(kChannel, kPiece), SendQueue::Aborted::kAtOnce);
  EXPECT_FALSE(queue_.has_output());
}

TEST_F(SendQueueTest, WhatIsUnderWayIsAbortedAfterItsFrame) {
  queue_.add_piece(kChannel, kPiece, kPieceBytes);
  take_bytes();
  EXPECT_EQ(queue_.abort_piece(kChannel, kPiece), SendQueue::Aborted::kSoon);
  const auto ended = queue_.sent(extent()->length);
  ASSERT_TRUE(ended);
  EXPECT_TRUE(ended->aborted);
  EXPECT_FALSE(queue_.has_output());
}

TEST_F(SendQueueTest, ItsLastFrameGoesOut) {
  queue_.add_piece(kChannel, kPiece, 1000);
  take_bytes();
  EXPECT_EQ(queue_.abort_piece(kChannel, kPiece), SendQueue::Aborted::kNo);
  EXPECT_FALSE(queue_.sent(1000)->aborted);
}

TEST_F(SendQueueTest, ABlobIsOwedUntilItsLastFrameBegins) {
  const BlobRequestKey key{kChannel, 1};
  queue_.owe(key);
  queue_.add_blob(key, blob_of(limits::kShortFrameBytes + 1), false);
  EXPECT_TRUE(queue_.owes(key));
  queue_.sent(std::get<OutputBytes>(queue_.next()).bytes.size());  // the first header
  EXPECT_TRUE(queue_.owes(key));
  take_bytes();
  EXPECT_FALSE(queue_.owes(key));
  EXPECT_EQ(queue_.owed(), 0U);
  EXPECT_FALSE(queue_.drop_blob(key));
}

TEST_F(SendQueueTest, PacedFramesBeginWhenTheyAreTold) {
  queue_.pace();
  queue_.add_piece(kChannel, kPiece, 1000);
  EXPECT_FALSE(queue_.has_output());
  EXPECT_TRUE(queue_.piece_frame_waits());
  EXPECT_FALSE(queue_.blob_frame_waits());
  EXPECT_EQ(queue_.begin_piece_frame(300), 300U + 16);
  EXPECT_FALSE(queue_.piece_frame_waits()) << "one is under way";
  EXPECT_EQ(take_bytes().size(), 16U);
  EXPECT_EQ(extent()->length, 300U);
  queue_.sent(300);
  EXPECT_TRUE(queue_.piece_frame_waits());
}

TEST_F(SendQueueTest, StoppedPayloadEndsWithTheFrameUnderWay) {
  queue_.add_piece(kChannel, kPiece, kPieceBytes);
  take_bytes();
  queue_.stop_payload();
  add_control(4);
  EXPECT_FALSE(queue_.sent(extent()->length));
  EXPECT_EQ(take_bytes().size(), 4U);
  EXPECT_FALSE(queue_.has_output());
  queue_.stop();
  add_control(4);
  EXPECT_FALSE(queue_.has_output());
  EXPECT_TRUE(std::holds_alternative<std::monostate>(queue_.next()));
}

}  // namespace
}  // namespace shardswarm
