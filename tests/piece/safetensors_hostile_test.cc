// Headers that break a rule of spec/manifest.md: each is refused, by the right code, and with the
// name of the tensor where there is one.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "piece/safetensors.h"
#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Bad {
  std::string json;
  std::string says;  // part of the message
  Errc code = Errc::kMalformed;
};

void expect_refused(std::span<const std::byte> header, const Bad& bad) {
  const auto parsed = parse_safetensors_header(header);
  ASSERT_FALSE(parsed) << bad.json.substr(0, 300);
  EXPECT_EQ(errc_name(parsed.error().code), errc_name(bad.code)) << bad.json.substr(0, 300);
  EXPECT_THAT(parsed.error().message, AllOf(HasSubstr(bad.says), Not(HasSubstr("\n"))))
      << bad.json.substr(0, 300);
}

void expect_refused(const std::vector<Bad>& headers) {
  for (const Bad& bad : headers) expect_refused(header_of(bad.json), bad);
}

std::string tensor(std::string_view name, std::string_view fields) {
  return "\"" + std::string(name) + "\":{" + std::string(fields) + "}";
}

// A header with a good tensor of 3 bytes before the bad one, "w".
Bad with(std::string_view fields, std::string says = "'w'", Errc code = Errc::kMalformed) {
  return {"{" + tensor("good", R"("dtype":"U8","shape":[3],"data_offsets":[0,3])") + "," +
              tensor("w", fields) + "}",
          std::move(says), code};
}

// MAN-1
TEST(HostileHeader, LengthNearTwoToThe64IsOverTheLimit) {
  for (const std::uint64_t length :
       {~std::uint64_t{0}, ~std::uint64_t{0} - 7, ~std::uint64_t{0} - 8, std::uint64_t{1} << 63,
        limits::kHeaderJsonBytesMax + 1}) {
    const Bytes header = header_of("{}", length);
    const auto bytes = safetensors_header_bytes(header);
    ASSERT_FALSE(bytes) << length;
    EXPECT_EQ(bytes.error().code, Errc::kLimit);
    EXPECT_THAT(bytes.error().message, HasSubstr(std::to_string(length)));
    expect_refused(header, {"{}", std::to_string(length), Errc::kLimit});
  }
}

// MAN-1
TEST(HostileHeader, LengthBesideTheBytesIsRefused) {
  expect_refused(header_of("{}", 3), {"{}", "stated length"});
  expect_refused(header_of("{}", 1), {"{}", "stated length"});
  expect_refused(header_of("{}", limits::kHeaderJsonBytesMax), {"{}", "stated length"});
  expect_refused(header_of("", 2), {"", "stated length"});
}

// MAN-1
TEST(HostileHeader, FewerThanEightBytesAreRefused) {
  const Bytes header = header_of("");
  for (std::size_t size = 0; size < 8; ++size) {
    expect_refused(std::span(header).first(size), {"", "too short"});
    EXPECT_FALSE(safetensors_header_bytes(std::span(header).first(size))) << size;
  }
}

// MAN-2
TEST(HostileHeader, AnythingButAnObjectIsRefused) {
  expect_refused({{"", "'{'"},
                  {" ", "'{'"},
                  {" \n\t", "'{'"},
                  {"\xef\xbb\xbf{}", "'{'"},
                  {" \xef\xbb\xbf{}", "'{'"},
                  {"\x0b{}", "'{'"},
                  {"\xc2\xa0{}", "'{'"},
                  {"[]", "'{'"},
                  {"[{}]", "'{'"},
                  {"null", "'{'"},
                  {"PK\x03\x04{}", "'{'"},
                  {std::string(16, '\0'), "'{'"},
                  {std::string("\0{}", 3), "'{'"}});
}

// MAN-2
TEST(HostileHeader, AnythingButWhiteSpaceAfterTheObjectIsRefused) {
  expect_refused({{"{}\x0b", "follows"},
                  {"{} x", "follows"},
                  {std::string("{}\0", 3), "zero bytes"},
                  {std::string("{}\0\n", 4), "zero bytes"},
                  {std::string("{} \0 ", 5), "zero bytes"},
                  {"{}{}", "JSON"},
                  {"{},{}", "JSON"},
                  {"{} {}  ", "JSON"},
                  {"{}\n{}", "JSON"},
                  {"{}}", "JSON"},
                  // A polyglot: something else behind the padding that ends as JSON does.
                  {"{}          <script>{}</script>{}", "JSON"}});
}

// MAN-2
TEST(HostileHeader, BrokenJsonIsRefused) {
  expect_refused({{"{", ""},
                  {"{\"a\":}", "JSON"},
                  {"{a:{}}", "JSON"},
                  {"{'a':{}}", "JSON"},
                  {"{,}", "JSON"},
                  {"{/**/}", "JSON"},
                  with(R"("dtype":"U8","shape":[3,],"data_offsets":[3,6])", "JSON"),
                  with(R"("dtype":"U8","shape":[3],"data_offsets":[3,6],)", "JSON"),
                  with(R"("dtype":"U8","shape":[03],"data_offsets":[3,6])", "JSON"),
                  with(R"("dtype":"U8","shape":[NaN],"data_offsets":[3,6])", "JSON"),
                  with("\"dtype\":\"U8\n\",\"shape\":[3],\"data_offsets\":[3,6]", "JSON")});
}

// MAN-2
TEST(HostileHeader, BytesThatAreNoUtf8AreRefused) {
  const std::string fields = R"("dtype":"U8","shape":[3],"data_offsets":[0,3])";
  // A lone continuation, an overlong '/', a surrogate, a cut sequence, beyond U+10FFFF.
  for (const char* name : {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xe5\xb1", "\xf4\x90\x80\x80",
                           "\xff", R"(\ud800)", R"(\udc00x)"}) {
    expect_refused({{"{" + tensor(name, fields) + "}", "JSON"}});
    expect_refused({{"{\"__metadata__\":{\"a\":\"" + std::string(name) + "\"}}", "JSON"}});
  }
}

// MAN-2
TEST(HostileHeader, DeepNestingIsRefused) {
  for (const std::size_t depth : {2'000U, 1'000'000U}) {
    const std::string arrays = std::string(depth, '[') + std::string(depth, ']');
    expect_refused({{"{\"w\":" + arrays + "}", ""},
                    with("\"dtype\":\"U8\",\"data_offsets\":[3,6],\"shape\":" + arrays, "")});
  }
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  expect_refused({{objects + "1" + std::string(100'000, '}'), ""}});
}

// MAN-3
TEST(HostileHeader, KeysNamedTwiceAreRefused) {
  const std::string none = R"("dtype":"U8","shape":[0],"data_offsets":[0,0])";
  expect_refused({
      {"{" + tensor("w", none) + "," + tensor("w", none) + "}", "'w'"},
      {"{" + tensor("w", none) + "," + tensor(R"(\u0077)", none) + "}", "'w'"},
      {R"({"__metadata__":{},"__metadata__":{}})", "__metadata__"},
      {R"({"__metadata__":{"format":"pt","x":"","format":"pt"}})", "'format'"},
      {R"({"__metadata__":{"format":"pt","f\u006frmat":"mlx"}})", "'format'"},
      with(R"("dtype":"U8","dtype":"U8","shape":[3],"data_offsets":[3,6])"),
      with(R"("dtype":"U8","shape":[3],"shape":[3],"data_offsets":[3,6])"),
      with(R"("dtype":"U8","shape":[3],"data_offsets":[3,6],"data_offsets":[3,6])"),
      with(R"("dtype":"U8","shape":[3],"data_offsets":[3,6],"\u0064type":"U8")"),
  });
}

// MAN-4
TEST(HostileHeader, MetadataThatIsNoObjectOfStringsIsRefused) {
  for (const char* value : {"1", "null", "true", "[]", "{}", "0.5"}) {
    expect_refused(
        {{R"({"__metadata__":{"good":"x","bad":)" + std::string(value) + "}}", "'bad'"}});
  }
  for (const char* value : {"1", "true", "\"text\"", "[]"}) {
    expect_refused({{R"({"__metadata__":)" + std::string(value) + "}", "__metadata__"}});
  }
}

// MAN-5
TEST(HostileHeader, MissingFieldsAreRefused) {
  expect_refused({with(""), with(R"("shape":[3],"data_offsets":[3,6])"),
                  with(R"("dtype":"U8","data_offsets":[3,6])"), with(R"("dtype":"U8","shape":[3])"),
                  // Nothing stands for them either.
                  with(R"("dtype":"U8","shape":[0])")});
}

// MAN-5
TEST(HostileHeader, TensorsThatAreNoObjectAreRefused) {
  for (const char* value : {"1", "null", "\"U8\"", "[]", "[{}]", "true"}) {
    expect_refused({{"{\"w\":" + std::string(value) + "}", "'w'"}});
  }
}

// MAN-6
TEST(HostileHeader, UnknownDtypesAreRefused) {
  for (const char* dtype : {"\"F128\"", "\"bf16\"", "\"\"", "\"U8 \"", "8", "null", "[\"U8\"]"}) {
    expect_refused(
        {with("\"dtype\":" + std::string(dtype) + R"(,"shape":[3],"data_offsets":[3,6])")});
  }
}

// MAN-7
TEST(HostileHeader, OffsetsThatAreNotTwoWholeNumbersAreRefused) {
  for (const char* offsets :
       {"[3]", "[]", "[3,6,9]", "3", "null", "\"3,6\"", "{\"begin\":3}", "[-3,6]", "[-1,-1]",
        "[3.0,6]", "[3,6.5]", "[3,6e0]", "[\"3\",\"6\"]", "[null,6]", "[[3],[6]]", "[true,6]"}) {
    expect_refused({with(R"("dtype":"U8","shape":[3],"data_offsets":)" + std::string(offsets))});
  }
  // 2^64 does not fit.
  const auto parsed = parse_safetensors_header(header_of(
      with(R"("dtype":"U8","shape":[3],"data_offsets":[18446744073709551616,18446744073709551619])")
          .json));
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, Errc::kMalformed);
}

// MAN-7
TEST(HostileHeader, OffsetsThatRunBackwardsAreRefused) {
  expect_refused({with(R"("dtype":"U8","shape":[3],"data_offsets":[6,3])", "'w'"),
                  // End minus begin is 3 modulo 2^64.
                  with(R"("dtype":"U8","shape":[3],"data_offsets":[18446744073709551615,2])")});
}

// MAN-7
TEST(HostileHeader, ShapesThatAreNoWholeNumbersAreRefused) {
  for (const char* shape : {"3", "null", "\"3\"", "{}", "[-3]", "[3.0]", "[3e0]", "[\"3\"]",
                            "[null]", "[[3]]", "[true]", "[3,-1]"}) {
    expect_refused({with(R"("dtype":"U8","data_offsets":[3,6],"shape":)" + std::string(shape))});
  }
}

// MAN-7: a sign is refused even where it changes nothing.
// No tensor is named: the parser takes it for 0, so it is found by another look at the text.
TEST(HostileHeader, NegativeZeroIsRefused) {
  expect_refused({with(R"("dtype":"U8","shape":[-0],"data_offsets":[3,3])", "negative"),
                  {R"({"w":{"dtype":"U8","shape":[3],"data_offsets":[-0,3]}})", "negative"}});
}

// MAN-8
TEST(HostileHeader, DtypeTimesShapeThatIsNotTheLengthIsRefused) {
  expect_refused({with(R"("dtype":"U8","shape":[4],"data_offsets":[3,6])"),
                  with(R"("dtype":"U8","shape":[2],"data_offsets":[3,6])"),
                  with(R"("dtype":"BF16","shape":[3],"data_offsets":[3,6])"),
                  with(R"("dtype":"U8","shape":[],"data_offsets":[3,6])"),
                  with(R"("dtype":"U8","shape":[],"data_offsets":[3,3])"),
                  with(R"("dtype":"U8","shape":[0,3],"data_offsets":[3,6])"),
                  with(R"("dtype":"F32","shape":[2,2],"data_offsets":[3,20])")});
}

// MAN-8
TEST(HostileHeader, ProductsThatOverflowAreRefused) {
  expect_refused({
      // Modulo 2^64 each is what the offsets say: 0 elements, 0 bits, 3 bytes.
      with(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[3,3])"),
      with(R"("dtype":"U64","shape":[288230376151711744],"data_offsets":[3,3])"),
      with(R"("dtype":"U8","shape":[2305843009213693955],"data_offsets":[3,6])"),
      with(R"("dtype":"F4","shape":[4611686018427387906],"data_offsets":[3,4])"),
  });
}

// MAN-8
TEST(HostileHeader, PartialBytesAreRefused) {
  // 12, 4, 6, 18 and 30 bits, with the length rounded down and up.
  expect_refused({with(R"("dtype":"F4","shape":[3],"data_offsets":[3,4])"),
                  with(R"("dtype":"F4","shape":[3],"data_offsets":[3,5])"),
                  with(R"("dtype":"F4","shape":[],"data_offsets":[3,3])"),
                  with(R"("dtype":"F4","shape":[],"data_offsets":[3,4])"),
                  with(R"("dtype":"F6_E2M3","shape":[1],"data_offsets":[3,4])"),
                  with(R"("dtype":"F6_E2M3","shape":[1,3],"data_offsets":[3,5])"),
                  with(R"("dtype":"F6_E3M2","shape":[5],"data_offsets":[3,6])"),
                  with(R"("dtype":"F6_E3M2","shape":[5],"data_offsets":[3,7])")});
}

// MAN-9
TEST(HostileHeader, HolesAndOverlapsAreRefused) {
  expect_refused({
      with(R"("dtype":"U8","shape":[3],"data_offsets":[4,7])", "'w' begins at 4 where 3 is due"),
      with(R"("dtype":"U8","shape":[3],"data_offsets":[2,5])", "'w' begins at 2 where 3 is due"),
      // Inside the other, the same range, an empty one inside, an empty one after a hole.
      with(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])", "overlap"),
      with(R"("dtype":"U8","shape":[3],"data_offsets":[0,3])", "'w'"),
      with(R"("dtype":"U8","shape":[0],"data_offsets":[1,1])", "overlap"),
      with(R"("dtype":"U8","shape":[0],"data_offsets":[4,4])", "'w' begins at 4 where 3 is due"),
  });
}

// MAN-9
TEST(HostileHeader, DataThatDoesNotBeginAtZeroIsRefused) {
  expect_refused({{R"({"w":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}})", "'w' begins at 1"},
                  {R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[8,8]}})", "'w' begins at 8"}});
}

// MAN-9: known from a scanner's report with ten million of them in a header of 1 GB.
TEST(HostileHeader, ManyTensorsOfOneRangeAreRefused) {
  std::string json = "{";
  for (int i = 0; i < 100'000; ++i) {
    if (i > 0) json += ',';
    json += tensor(std::to_string(i), R"("dtype":"U8","shape":[3],"data_offsets":[0,3])");
  }
  expect_refused({{json + "}", "overlap"}});
}

// MAN-5: not parsed at all, so that a header of 100 MB costs little more than its bytes.
TEST(HostileHeader, TooManyTensorsAreRefusedBeforeTheyAreParsed) {
  // The header, __metadata__ and each tensor open one brace.
  const auto braces = [](std::size_t count) { return std::string(count, '{') + "}"; };
  expect_refused({{braces(limits::kTensorsMax + 3), "1048576 tensors", Errc::kLimit},
                  {braces(limits::kTensorsMax + 2), "JSON", Errc::kMalformed}});
}

// MAN-5
TEST(HostileHeader, LimitsOfOneTensorAreEnforced) {
  const std::string name(limits::kTensorNameBytesMax + 1, 'n');
  const std::vector<std::uint64_t> shape(limits::kTensorRankMax + 1, 1);
  expect_refused({{json_of({{.name = name, .shape = {1}}}), "'nnn", Errc::kLimit},
                  {json_of({{.name = "w", .shape = shape}}), "'w'", Errc::kLimit}});
}

// Names come from strangers: a message shows them short and without control characters.
TEST(HostileHeader, MessagesShowNamesShortAndPrintable) {
  expect_refused({{R"({"a\n\u001b[31m\u007f":{}})", "'a\\n\\x1b[31m\\x7f'"}});
  const auto parsed = parse_safetensors_header(
      header_of("{\"" + std::string(limits::kTensorNameBytesMax, 'n') + "\":{}}"));
  ASSERT_FALSE(parsed);
  EXPECT_LT(parsed.error().message.size(), 300U);
}

// Whatever single byte is changed or cut off, the reader answers; what it accepts it reads whole.
TEST(HostileHeader, NoChangedByteIsReadWrong) {
  const Bytes good = header_of(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
      R"("b":{"dtype":"F4","shape":[2],"data_offsets":[12,13]}}  )");
  int refused = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    EXPECT_FALSE(parse_safetensors_header(std::span(good).first(at))) << at;
    for (int value = 0; value < 256; ++value) {
      Bytes changed = good;
      changed[at] = static_cast<std::byte>(value);
      const auto parsed = parse_safetensors_header(changed);
      if (!parsed) {
        ++refused;
        EXPECT_NE(parsed.error().message, "");
        continue;
      }
      EXPECT_EQ(parsed->header_bytes, good.size());
      std::uint64_t end = 0;
      for (const TensorInfo& info : parsed->tensors) {
        EXPECT_EQ(info.begin, std::exchange(end, info.end)) << at << " " << value;
      }
      EXPECT_EQ(parsed->data_bytes, end);
    }
  }
  EXPECT_GT(refused, static_cast<int>(good.size()) * 128);
}

}  // namespace
}  // namespace shardswarm::test
