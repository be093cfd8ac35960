// The canonical encoding of a manifest root: one content, one sequence of bytes, one id.
#include "piece/manifest.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include "base/limits.h"
#include "tests/piece/builder.h"
#include "tests/piece/golden.h"
#include "tests/piece/hand_encoder.h"
#include "tests/support/project.h"

namespace shardswarm::test {
namespace {

using ::testing::HasSubstr;

const Bytes& golden_root() {
  static const Bytes bytes = golden::from_hex(golden::kRoot);
  return bytes;
}

void expect_refused(const Bytes& bytes, Errc code, std::string_view what) {
  const auto root = decode_root(bytes);
  ASSERT_FALSE(root) << what;
  EXPECT_EQ(errc_name(root.error().code), errc_name(code)) << what << ": " << root.error().message;
  EXPECT_NE(root.error().message, "") << what;
  const auto manifest = Manifest::from_root(bytes);
  ASSERT_FALSE(manifest) << what;
  EXPECT_EQ(manifest.error().code, root.error().code) << what;
}

// MAN-30, MAN-50
TEST(ManifestRootBytes, OfTheWorkedExampleAreTheSpecifications) {
  EXPECT_EQ(must(encode_root(golden::root())), golden_root());
  EXPECT_EQ(must(decode_root(golden_root())), golden::root());
  const Manifest manifest = must(Manifest::from_root(golden_root()));
  EXPECT_EQ(to_hex(manifest.id()), golden::kId);
  EXPECT_EQ(manifest.root(), golden::root());
  EXPECT_EQ(*manifest.root_blob(), golden_root());
}

// The document's hex blocks by name.
std::map<std::string, Bytes> examples_of_the_specification(std::string& text) {
  std::ifstream file(project_root() / "spec" / "manifest.md");
  EXPECT_TRUE(file.is_open());
  std::map<std::string, Bytes> examples;
  const std::string mark = "```hex ";
  for (std::string line; std::getline(file, line);) {
    text += line + "\n";
    if (!line.starts_with(mark)) continue;
    std::string hex;
    for (std::string row; std::getline(file, row) && row != "```";) hex += row + "\n";
    examples[line.substr(mark.size())] = golden::from_hex(hex);
  }
  return examples;
}

TEST(ManifestRootBytes, StandInTheSpecificationAsTheyAreHere) {
  std::string text;
  const auto examples = examples_of_the_specification(text);
  EXPECT_EQ(examples.size(), 3U);
  EXPECT_EQ(examples.at("root"), golden_root());
  EXPECT_EQ(examples.at("header"), header_of(golden::kHeaderJson));
  EXPECT_EQ(examples.at("piece-list"), golden::from_hex(golden::kPieceList));
  EXPECT_THAT(text, HasSubstr(golden::kId));
}

// MAN-30
TEST(ManifestRootBytes, FollowTheRulesAndNotALibrary) {
  EXPECT_EQ(hand_encode(golden::root()), golden_root());
  ModelBuilder model;
  model.plain("a", 0).plain("a-b", 1).plain("a.b", 127).plain("b/c", 128).plain("b0", 16'384);
  model.plain("big.txt", (std::uint64_t{1} << 32) + 1);
  model.tensors("m.safetensors", {{"x", {300}}, {"y", {1 << 21}, Dtype::kBF16}});
  model.tensors("spare.safetensors", {{"x", {1 << 22}}}, FileKind::kSpareTensors);
  model.tensors("void.safetensors", {});
  model.plain("\xe5\xb1\x82.txt", 5);
  const Bytes bytes = must(encode_root(model.root()));
  EXPECT_EQ(bytes, hand_encode(model.root()));
  EXPECT_EQ(must(decode_root(bytes)), model.root());
}

// MAN-31
TEST(ManifestRootBytes, WithOverlongNumbersAreRefused) {
  const std::string rest = hand::file(2, hand::fields(golden::root().files[0]));
  EXPECT_TRUE(decode_root(bytes_of(hand::number(1, 1) + rest)));
  const auto refused = [](const std::string& bytes, std::string_view what) {
    expect_refused(bytes_of(bytes), Errc::kMalformed, what);
  };
  refused(std::string("\x08\x81\x00", 3) + rest, "version of two bytes");
  refused(std::string("\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11) + rest, "of ten bytes");
  refused(std::string("\x88\x00\x01", 3) + rest, "tag of two bytes");
  // The file's length, 51 bytes, as b3 00.
  refused(hand::number(1, 1) + "\x12" + std::string("\xb3\x00", 2) + rest.substr(2), "length");
  // Bits beyond the field's 32 fall away when it is read.
  std::string bits = "\x08";
  hand::varint(bits, (std::uint64_t{1} << 32) + 1);
  refused(bits + rest, "33 bits");
}

// MAN-31: every field of a file once more, with what it has, with its default, and before itself.
TEST(ManifestRootBytes, WithRepeatedFieldsAreRefused) {
  const ManifestRoot root = golden::root();
  for (const FileEntry& file : root.files) {
    const std::vector<std::string> fields = hand::fields(file);
    for (std::size_t i = 0; i < fields.size(); ++i) {
      auto twice = fields;
      twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(i), fields[i]);
      expect_refused(bytes_of(hand::number(1, 1) + hand::file(2, twice)), Errc::kMalformed,
                     file.path + " field " + std::to_string(i));
    }
    auto other_size = fields;
    other_size.insert(other_size.begin() + 1, hand::number(2, 77));
    if (file.size > 0) {
      expect_refused(bytes_of(hand::number(1, 1) + hand::file(2, other_size)), Errc::kMalformed,
                     "another size before");
    }
  }
  const std::string files = hand::file(2, hand::fields(root.files[0]));
  expect_refused(bytes_of(hand::number(1, 1) + hand::number(1, 1) + files), Errc::kMalformed,
                 "version twice");
}

// MAN-31
TEST(ManifestRootBytes, WithDefaultsWrittenOutAreRefused) {
  const auto fields = hand::fields(golden::root().files[0]);  // path, size, pieces, piece list
  ASSERT_EQ(fields.size(), 4U);
  const std::pair<std::size_t, std::string> extras[] = {
      {2, std::string("\x18\x00", 2)},  // kind
      {2, std::string("\x20\x00", 2)},  // header_bytes
      {2, std::string("\x2a\x00", 2)},  // header_digest
  };
  for (const auto& [at, extra] : extras) {
    auto with = fields;
    with.insert(with.begin() + static_cast<std::ptrdiff_t>(at), extra);
    expect_refused(bytes_of(hand::number(1, 1) + hand::file(2, with)), Errc::kMalformed,
                   "field " + std::to_string(extra[0] >> 3));
  }
  auto empty = hand::fields(golden::root().files[1]);  // path, piece list
  empty.insert(empty.begin() + 1, std::string("\x10\x00", 2));
  expect_refused(bytes_of(hand::number(1, 1) + hand::file(2, empty)), Errc::kMalformed, "size");
}

// MAN-31
TEST(ManifestRootBytes, WithUnknownFieldsAreRefused) {
  const auto fields = hand::fields(golden::root().files[0]);
  const std::string good = hand::number(1, 1) + hand::file(2, fields);
  for (const std::string& unknown :
       {hand::number(3, 1), hand::number(15, 0x1234), hand::bytes(8, "x"), hand::bytes(100, ""),
        std::string("\x4d\x01\x02\x03\x04", 5),                  // fixed32, field 9
        std::string("\x49\x01\x02\x03\x04\x05\x06\x07\x08", 9),  // fixed64, field 9
        std::string("\x4b\x08\x01\x4c", 4)}) {                   // a group, field 9
    expect_refused(bytes_of(good + unknown), Errc::kMalformed, "in the root");
    if (unknown[0] == '\x18') continue;  // field 3 of a file is known
    auto with = fields;
    with.push_back(unknown);
    expect_refused(bytes_of(hand::number(1, 1) + hand::file(2, with)), Errc::kMalformed,
                   "in a file");
  }
}

// MAN-31
TEST(ManifestRootBytes, InAnotherOrderAreRefused) {
  const ManifestRoot root = golden::root();
  const std::string version = hand::number(1, 1);
  const std::string first = hand::file(2, hand::fields(root.files[0]));
  const std::string second = hand::file(2, hand::fields(root.files[1]));
  EXPECT_TRUE(decode_root(bytes_of(version + first + second)));
  expect_refused(bytes_of(first + version), Errc::kMalformed, "version last");
  expect_refused(bytes_of(first + version + second), Errc::kMalformed, "version between");
  expect_refused(bytes_of(version + second + first), Errc::kMalformed, "files not sorted");
  expect_refused(bytes_of(version + first + first), Errc::kMalformed, "the same file twice");
  for (const FileEntry& file : root.files) {
    const auto fields = hand::fields(file);
    for (std::size_t i = 0; i + 1 < fields.size(); ++i) {
      auto swapped = fields;
      std::swap(swapped[i], swapped[i + 1]);
      expect_refused(bytes_of(version + hand::file(2, swapped)), Errc::kMalformed,
                     file.path + " field " + std::to_string(i));
    }
  }
}

// MAN-31
TEST(ManifestRootBytes, WithAnythingAfterThemAreRefused) {
  for (const Bytes& tail : {bytes_of(std::string(1, '\0')), bytes_of("\n"), bytes_of("\x12"),
                            bytes_of(std::string("\x12\x00", 2)), golden_root()}) {
    Bytes bytes = golden_root();
    bytes.insert(bytes.end(), tail.begin(), tail.end());
    expect_refused(bytes, Errc::kMalformed, "tail");
  }
}

// MAN-38
TEST(ManifestRootBytes, WithDigestsOfAnotherLengthAreRefused) {
  FileEntry file = golden::root().files[2];
  for (const std::size_t field : {4U, 6U}) {
    auto fields = hand::fields(file);
    const std::string full = fields[field].substr(2);
    for (const std::string& digest : {std::string(), full.substr(1), full + "x", full + full}) {
      fields[field] = hand::bytes(field == 4 ? 5 : 7, digest);
      expect_refused(bytes_of(hand::number(1, 1) + hand::file(2, fields)), Errc::kMalformed,
                     "field " + std::to_string(field) + " of " + std::to_string(digest.size()));
    }
  }
}

// What an accepted change must not do: mean the same content, or have the same id.
void expect_another_root(const Bytes& changed, std::string_view what) {
  const auto manifest = Manifest::from_root(changed);
  if (!manifest) {
    EXPECT_NE(manifest.error().message, "") << what;
    return;
  }
  EXPECT_NE(to_hex(manifest->id()), golden::kId) << what;
  EXPECT_NE(manifest->root(), golden::root()) << what;
  EXPECT_EQ(must(encode_root(manifest->root())), changed) << what;
}

// MAN-31
TEST(ManifestRootBytes, ChangedAnywhereAreRefusedOrAnotherRoot) {
  const Bytes& good = golden_root();
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const unsigned bits : {1U, 2U, 4U, 8U, 16U, 32U, 64U, 128U, 127U, 255U}) {
      Bytes changed = good;
      changed[at] ^= static_cast<std::byte>(bits);
      expect_another_root(changed, "byte " + std::to_string(at) + " ^ " + std::to_string(bits));
    }
  }
}

// MAN-31: each file's end is the only cut that leaves a root.
TEST(ManifestRootBytes, CutOrStretchedAnywhereAreRefusedOrAnotherRoot) {
  const Bytes& good = golden_root();
  std::set<std::size_t> accepted;
  for (std::size_t at = 0; at < good.size(); ++at) {
    const Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(at));
    if (decode_root(cut)) accepted.insert(at);
    expect_another_root(cut, "cut at " + std::to_string(at));
    Bytes shorter = good;
    shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(at));
    expect_another_root(shorter, "without byte " + std::to_string(at));
    Bytes longer = good;
    longer.insert(longer.begin() + static_cast<std::ptrdiff_t>(at), good[at]);
    expect_another_root(longer, "byte twice at " + std::to_string(at));
  }
  // 2 bytes of version, then 2 + 51, 2 + 50 and 2 + 96.
  EXPECT_EQ(accepted, (std::set<std::size_t>{55, 107}));
}

// MAN-32
TEST(ManifestRootBytes, OfAnotherTilingVersionSaySo) {
  ManifestRoot root = golden::root();
  for (const std::uint32_t version : {0U, 2U, 4'000'000'000U}) {
    root.tiling_version = version;
    expect_refused(hand_encode(root), Errc::kVersion, std::to_string(version));
    const auto encoded = encode_root(root);
    ASSERT_FALSE(encoded);
    EXPECT_EQ(encoded.error().code, Errc::kVersion);
    EXPECT_THAT(encoded.error().message, HasSubstr(std::to_string(version)));
  }
}

// MAN-32: a later version may know further kinds, fields and digests. What does not fit this
// version must not hide that it is another one.
TEST(ManifestRootBytes, OfAnotherTilingVersionSaySoWhateverElseTheyHold) {
  auto fields = hand::fields(golden::root().files[0]);
  fields.push_back(hand::bytes(9, "new"));
  expect_refused(bytes_of(hand::number(1, 2) + hand::file(2, fields)), Errc::kVersion, "field");
  auto kind = hand::fields(golden::root().files[2]);
  kind[2] = hand::number(3, 7);
  expect_refused(bytes_of(hand::number(1, 2) + hand::file(2, kind)), Errc::kVersion, "kind");
  auto digest = hand::fields(golden::root().files[0]);
  digest.back() = hand::bytes(7, std::string(64, 'd'));
  expect_refused(bytes_of(hand::number(1, 2) + hand::file(2, digest)), Errc::kVersion, "digest");
}

// MAN-35
TEST(ManifestRootBytes, OverTheirLimitAreRefusedUnread) {
  expect_refused(Bytes(limits::kRootBytesMax + 1), Errc::kLimit, "zeros");
  ModelBuilder model;
  for (int i = 0; i < 17'000; ++i) {
    model.plain(std::to_string(100'000 + i) + std::string(960, 'p'), 0);
  }
  const auto encoded = encode_root(model.root());
  ASSERT_FALSE(encoded);
  EXPECT_EQ(encoded.error().code, Errc::kLimit);
}

}  // namespace
}  // namespace shardswarm::test
