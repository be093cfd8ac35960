// What the safetensors reader accepts, and how it reads it. What it refuses stands in
// safetensors_hostile_test.cc.
#include "piece/safetensors.h"

#include <gmock/gmock.h>

#include <iterator>
#include <set>
#include <string>

#include "base/limits.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

SafetensorsHeader parse(std::string_view json) {
  return must(parse_safetensors_header(header_of(json)));
}

struct DtypeRow {
  Dtype dtype;
  std::string_view name;
  std::uint32_t bits;
};
// The table of spec/manifest.md.
constexpr DtypeRow kRows[] = {
    {Dtype::kBool, "BOOL", 8},
    {Dtype::kF4, "F4", 4},
    {Dtype::kF6E2M3, "F6_E2M3", 6},
    {Dtype::kF6E3M2, "F6_E3M2", 6},
    {Dtype::kU8, "U8", 8},
    {Dtype::kI8, "I8", 8},
    {Dtype::kF8E5M2, "F8_E5M2", 8},
    {Dtype::kF8E4M3, "F8_E4M3", 8},
    {Dtype::kF8E8M0, "F8_E8M0", 8},
    {Dtype::kF8E4M3FNUZ, "F8_E4M3FNUZ", 8},
    {Dtype::kF8E5M2FNUZ, "F8_E5M2FNUZ", 8},
    {Dtype::kI16, "I16", 16},
    {Dtype::kU16, "U16", 16},
    {Dtype::kF16, "F16", 16},
    {Dtype::kBF16, "BF16", 16},
    {Dtype::kI32, "I32", 32},
    {Dtype::kU32, "U32", 32},
    {Dtype::kF32, "F32", 32},
    {Dtype::kC64, "C64", 64},
    {Dtype::kF64, "F64", 64},
    {Dtype::kI64, "I64", 64},
    {Dtype::kU64, "U64", 64},
};

// MAN-6
TEST(Safetensors, ReadsEveryDtype) {
  static_assert(std::size(kRows) == 22);
  std::set<Dtype> seen;
  for (const DtypeRow& row : kRows) {
    SCOPED_TRACE(row.name);
    seen.insert(row.dtype);
    EXPECT_EQ(dtype_name(row.dtype), row.name);
    EXPECT_EQ(dtype_from_name(row.name), row.dtype);
    EXPECT_EQ(dtype_bits(row.dtype), row.bits);
    // 24 elements are whole bytes for every width.
    const std::uint64_t bytes = 3 * row.bits;
    const SafetensorsHeader header =
        parse("{\"t\":{\"dtype\":\"" + std::string(row.name) +
              "\",\"shape\":[4,6],\"data_offsets\":[0," + std::to_string(bytes) + "]}}");
    ASSERT_THAT(header.tensors, SizeIs(1));
    EXPECT_EQ(header.tensors[0].dtype, row.dtype);
    EXPECT_THAT(header.tensors[0].shape, ElementsAre(4, 6));
    EXPECT_EQ(header.tensors[0].bytes(), bytes);
    EXPECT_EQ(header.data_bytes, bytes);
  }
  EXPECT_THAT(seen, SizeIs(22));
}

// MAN-6
TEST(Safetensors, DtypeNamesAreExact) {
  for (const char* name : {"", "bf16", "BF16 ", "F8", "F6", "F128", "U1", "float32"}) {
    EXPECT_EQ(dtype_from_name(name), std::nullopt) << name;
  }
}

// MAN-1
TEST(Safetensors, HeaderLengthCountsThePrefix) {
  EXPECT_EQ(must(safetensors_header_bytes(header_of("", 0))), 8U);
  EXPECT_EQ(must(safetensors_header_bytes(header_of("", 0x0102))), 0x010aU);
  EXPECT_EQ(must(safetensors_header_bytes(header_of("", 100'000'000))), 100'000'008U);
  // What follows the prefix does not matter.
  EXPECT_EQ(must(safetensors_header_bytes(header_of("{}", 500))), 508U);
}

// MAN-5
TEST(Safetensors, ReadsAnEmptyHeader) {
  const SafetensorsHeader header = parse("{}");
  EXPECT_EQ(header.header_bytes, 10U);
  EXPECT_EQ(header.data_bytes, 0U);
  EXPECT_THAT(header.tensors, IsEmpty());
}

// MAN-8
TEST(Safetensors, ReadsAScalar) {
  const SafetensorsHeader header =
      parse(R"({"scale":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})");
  ASSERT_THAT(header.tensors, SizeIs(1));
  EXPECT_THAT(header.tensors[0].shape, IsEmpty());
  EXPECT_EQ(header.data_bytes, 4U);
}

// MAN-8
TEST(Safetensors, ReadsTensorsWithoutBytes) {
  // The other dimensions do not matter, even where their product passes 2^64.
  for (const char* shape : {"0", "0,5", "3,0,7", "18446744073709551615,2,0"}) {
    const SafetensorsHeader header = parse(R"({"t":{"dtype":"F64","shape":[)" + std::string(shape) +
                                           R"(],"data_offsets":[0,0]}})");
    ASSERT_THAT(header.tensors, SizeIs(1)) << shape;
    EXPECT_EQ(header.tensors[0].bytes(), 0U) << shape;
  }
}

// MAN-10
TEST(Safetensors, OrdersTensorsByOffsetThenEmptyFirstThenByName) {
  const SafetensorsHeader header = parse(R"({
    "tail":{"dtype":"U8","shape":[0],"data_offsets":[7,7]},
    "b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]},
    "empty2":{"dtype":"U8","shape":[0],"data_offsets":[3,3]},
    "a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},
    "empty10":{"dtype":"F32","shape":[0,9],"data_offsets":[3,3]},
    "z":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})");
  std::vector<std::string> names;
  for (const TensorInfo& tensor : header.tensors) names.push_back(tensor.name);
  EXPECT_THAT(names, ElementsAre("z", "a", "empty10", "empty2", "b", "tail"));
  EXPECT_EQ(header.data_bytes, 7U);
}

// MAN-2
TEST(Safetensors, SpacesMayPadTheHeader) {
  const std::string json = R"({"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})";
  for (const std::size_t spaces : {1U, 7U, 4096U}) {
    const SafetensorsHeader header = parse(json + std::string(spaces, ' '));
    EXPECT_EQ(header.header_bytes, 8 + json.size() + spaces);
    EXPECT_EQ(header.data_bytes, 3U);
  }
}

// MAN-2: as the reference reader has it, whose writers pad to align.
TEST(Safetensors, WhiteSpaceMayStandAroundTheJson) {
  const std::string json = R"({"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})";
  for (const std::string& space : {std::string("\n"), std::string("\t"), std::string(" \r\n\t ")}) {
    for (const std::string& text : {space + json, json + space, space + json + space}) {
      const SafetensorsHeader header = parse(text);
      EXPECT_EQ(header.header_bytes, 8 + text.size());
      ASSERT_THAT(header.tensors, SizeIs(1));
      EXPECT_EQ(header.tensors[0].name, "t");
    }
  }
}

// MAN-4
TEST(Safetensors, MetadataMayBeNull) {
  const SafetensorsHeader header =
      parse(R"({"__metadata__":null,"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})");
  EXPECT_THAT(header.metadata, IsEmpty());
  EXPECT_THAT(header.tensors, SizeIs(1));
}

// MAN-5: whatever they hold, other numbers and keys named twice among it.
TEST(Safetensors, FurtherFieldsOfATensorArePassedOver) {
  for (const char* field :
       {R"("strides":[1])", R"("offset":-7)", R"("scale":-0.5)", R"("note":{"a":{"a":1},"b":[]})",
        R"("Dtype":"U9")", R"("x":1,"x":2)", R"("":null)"}) {
    const SafetensorsHeader header = parse(R"({"t":{"dtype":"U8",)" + std::string(field) +
                                           R"(,"shape":[3],"data_offsets":[0,3]}})");
    ASSERT_THAT(header.tensors, SizeIs(1)) << field;
    EXPECT_THAT(header.tensors[0].shape, ElementsAre(3)) << field;
  }
}

// MAN-2
TEST(Safetensors, NestsAsDeepAsTheReferenceReaderFollows) {
  const auto nested = [](std::size_t depth) {  // the header and its tensor are two levels
    return R"({"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3],"x":)" +
           std::string(depth - 2, '[') + std::string(depth - 2, ']') + "}}";
  };
  EXPECT_THAT(parse(nested(127)).tensors, SizeIs(1));
  EXPECT_FALSE(parse_safetensors_header(header_of(nested(128))));
}

// MAN-2
TEST(Safetensors, WhitespaceMayStandInsideTheJson) {
  const SafetensorsHeader header =
      parse("{ \"t\"\t:\n{\"shape\" : [ 3 ],\r\n \"data_offsets\":[0 ,3], \"dtype\": \"U8\" } \n}");
  ASSERT_THAT(header.tensors, SizeIs(1));
  EXPECT_EQ(header.tensors[0].name, "t");
}

// MAN-4
TEST(Safetensors, MetadataIsNoTensor) {
  const SafetensorsHeader header = parse(R"({"__metadata__":{"format":"pt","note":"{\"a\":[1]}"},)"
                                         R"("t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})");
  ASSERT_THAT(header.tensors, SizeIs(1));
  EXPECT_EQ(header.tensors[0].name, "t");
  EXPECT_THAT(parse(R"({"__metadata__":{}})").tensors, IsEmpty());
}

// MAN-5
TEST(Safetensors, NamesAreAnyTextAndUnescaped) {
  const SafetensorsHeader header =
      parse(R"({"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
            R"("a\u0062\"\\":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)"
            "\"\xe5\xb1\x82 \xf0\x9f\x90\x9d\":"
            R"({"dtype":"U8","shape":[1],"data_offsets":[2,3]}})");
  ASSERT_THAT(header.tensors, SizeIs(3));
  EXPECT_EQ(header.tensors[0].name, "");
  EXPECT_EQ(header.tensors[1].name, "ab\"\\");
  EXPECT_EQ(header.tensors[2].name, "\xe5\xb1\x82 \xf0\x9f\x90\x9d");
}

// MAN-8
TEST(Safetensors, SubByteTensorsTotalWholeBytes) {
  // 2 x 3 x 4 bits = 3 bytes although a row is not whole bytes; 4 x 6 bits = 3 bytes.
  const SafetensorsHeader header =
      parse(R"({"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},)"
            R"("b":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[3,6]},)"
            R"("c":{"dtype":"F6_E3M2","shape":[2,2,3],"data_offsets":[6,15]}})");
  ASSERT_THAT(header.tensors, SizeIs(3));
  EXPECT_EQ(header.data_bytes, 15U);
}

// MAN-5: the limits are inclusive.
TEST(Safetensors, AcceptsWhatJustMeetsTheLimits) {
  const std::string name(limits::kTensorNameBytesMax, 'n');
  const std::vector<std::uint64_t> shape(limits::kTensorRankMax, 1);
  const SafetensorsHeader header = parse(json_of({{.name = name, .shape = shape}}));
  ASSERT_THAT(header.tensors, SizeIs(1));
  EXPECT_EQ(header.tensors[0].name, name);
  EXPECT_EQ(header.tensors[0].shape, shape);
}

// MAN-8: the largest tensor whose bits fit 64 bits.
TEST(Safetensors, CountsBitsUpToTheLastOne) {
  const SafetensorsHeader header = parse(R"({"t":{"dtype":"U8","shape":[2305843009213693951],)"
                                         R"("data_offsets":[0,2305843009213693951]}})");
  EXPECT_EQ(header.data_bytes, (std::uint64_t{1} << 61) - 1);
}

}  // namespace
}  // namespace shardswarm::test
