#include "wire/frame.h"

#include <gmock/gmock.h>

namespace shardswarm {
namespace {

using ::testing::HasSubstr;

std::uint8_t type_of(FrameType type) { return static_cast<std::uint8_t>(type); }

std::string refusal(const FrameHeader& header) {
  const auto checked = check_frame_header(header);
  if (checked) return "accepted";
  EXPECT_EQ(checked.error().code, Errc::kProtocol);
  return checked.error().message;
}

TEST(Frame, LayoutIsLittleEndianInOrder) {  // WIRE-2
  const FrameHeader header{.length = 0x04030201,
                           .type = 0x05,
                           .flags = 0x06,
                           .handle = 0x0807,
                           .piece = 0x0c0b0a09,
                           .offset = 0x100f0e0d};
  const auto bytes = encode_frame_header(header);
  for (std::size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], std::byte(i + 1));
  EXPECT_EQ(decode_frame_header(bytes), header);
}

TEST(Frame, KnownTypesLoseTheirCriticalBit) {  // WIRE-5
  EXPECT_EQ(known_frame_type(0x81), FrameType::kHello);
  EXPECT_EQ(known_frame_type(0x40), FrameType::kData);
  EXPECT_EQ(known_frame_type(0xc1), FrameType::kBlob);
  for (const int unknown : {0x00, 0x80, 0x11, 0x3f, 0x42, 0x7f, 0xff}) {
    EXPECT_EQ(known_frame_type(static_cast<std::uint8_t>(unknown)), std::nullopt) << unknown;
  }
}

TEST(Frame, LengthIsBoundedByType) {  // WIRE-4
  for (int value = 1; value < 0x42; ++value) {
    const auto type = known_frame_type(static_cast<std::uint8_t>(value));
    if (!type) continue;
    const bool about_none = *type == FrameType::kHello || *type == FrameType::kUnknownModel ||
                            *type == FrameType::kPing || *type == FrameType::kPong ||
                            *type == FrameType::kClose;
    FrameHeader header{.length = frame_body_bytes_max(*type),
                       .type = type_of(*type),
                       .handle = static_cast<std::uint16_t>(about_none ? 0 : 1)};
    EXPECT_EQ(refusal(header), "accepted") << frame_type_name(*type);
    ++header.length;
    EXPECT_THAT(refusal(header), HasSubstr(std::string(frame_type_name(*type)) + " frame"));
    header.length = UINT32_MAX;
    EXPECT_THAT(refusal(header), HasSubstr("4294967295"));
    header.length = 1;
    header.handle = about_none ? 1 : 0;
    EXPECT_THAT(refusal(header), HasSubstr("handle")) << frame_type_name(*type);
    if (*type == FrameType::kData) continue;  // alone goes where its piece goes, not to memory
    EXPECT_LE(frame_body_bytes_max(*type), limits::kControlBytesMax);
  }
}

TEST(Frame, UnknownTypesAreBoundedToo) {  // WIRE-5
  EXPECT_EQ(refusal({.length = limits::kControlBytesMax, .type = 0x33, .flags = 9}), "accepted");
  EXPECT_THAT(refusal({.length = limits::kControlBytesMax + 1, .type = 0x33}), HasSubstr("0x33"));
}

TEST(Frame, UnusedFieldsMustBeZero) {  // WIRE-3
  const auto have = type_of(FrameType::kHave);
  EXPECT_THAT(refusal({.type = have, .flags = 1, .handle = 1}), HasSubstr("HAVE"));
  EXPECT_THAT(refusal({.type = have, .handle = 1, .piece = 1}), HasSubstr("HAVE"));
  EXPECT_THAT(refusal({.type = have, .handle = 1, .offset = 1}), HasSubstr("HAVE"));
}

TEST(Frame, DataStaysWithinAPiece) {  // WIRE-32, WIRE-34
  FrameHeader header{.length = limits::kDataBytesMax / 2,
                     .type = type_of(FrameType::kData),
                     .handle = 1,
                     .piece = limits::kPiecesMax - 1,
                     .offset = limits::kPieceBytesMax - limits::kDataBytesMax / 2};
  EXPECT_EQ(refusal(header), "accepted");
  ++header.offset;
  EXPECT_THAT(refusal(header), HasSubstr("beyond"));
  header.offset = UINT32_MAX;
  EXPECT_THAT(refusal(header), HasSubstr("beyond"));
  header.offset = 0;
  ++header.piece;
  EXPECT_THAT(refusal(header), HasSubstr("16777216"));
  header.piece = 0;
  header.length = 0;
  EXPECT_THAT(refusal(header), HasSubstr("without a body"));
  header.length = 1;
  header.flags = kBlobLast;
  EXPECT_THAT(refusal(header), HasSubstr("flags"));
}

TEST(Frame, BlobFramesHaveBytesUnlessTheBlobIsEmpty) {  // WIRE-42, WIRE-44
  const auto blob = type_of(FrameType::kBlob);
  EXPECT_EQ(refusal({.type = blob, .flags = kBlobLast, .handle = 1}), "accepted");
  EXPECT_THAT(refusal({.type = blob, .handle = 1}), HasSubstr("without a body"));
  EXPECT_THAT(refusal({.type = blob, .flags = kBlobLast, .handle = 1, .offset = 5}),
              HasSubstr("without a body"));
  EXPECT_THAT(refusal({.length = 1, .type = blob, .flags = 4, .handle = 1}), HasSubstr("flags"));
  EXPECT_THAT(
      refusal({.length = 1, .type = blob, .handle = 1, .piece = UINT32_MAX, .offset = UINT32_MAX}),
      HasSubstr("beyond"));
}

TEST(Frame, CompressedBlobFrames) {  // WIRE-45, WIRE-46
  FrameHeader header{
      .length = 1, .type = type_of(FrameType::kBlob), .flags = kBlobCompressed, .handle = 1};
  EXPECT_EQ(refusal(header), "accepted");
  header.offset = limits::kCompressedBlobBytesMax - 1;
  EXPECT_EQ(refusal(header), "accepted");
  ++header.offset;
  EXPECT_THAT(refusal(header), HasSubstr("16777216 bytes a compressed blob may have"));
  header.flags = kBlobLast;
  EXPECT_EQ(refusal(header), "accepted");
  // Nothing is no zstd frame.
  header = {.type = header.type, .flags = kBlobLast | kBlobCompressed, .handle = 1};
  EXPECT_THAT(refusal(header), HasSubstr("without a body"));
}

}  // namespace
}  // namespace shardswarm
