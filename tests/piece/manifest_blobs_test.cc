// Headers and piece lists: what a manifest takes, and what it knows with them.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "piece/manifest.h"
#include "tests/piece/builder.h"
#include "tests/piece/golden.h"

namespace shardswarm::test {
namespace {

using limits::kMiB;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Plain files of 2, 0 and 1 pieces around two files of tensors; pieces 0-1, 2-7, 8-9 and 10.
ModelBuilder odd_model() {
  ModelBuilder made;
  made.plain("a.txt", kMiB + 5).plain("b.txt", 0);
  made.tensors("c.safetensors", {{"none0", {0}},
                                 {"big", {3, kMiB}},
                                 {"none1", {0, 7}},
                                 {"none2", {0}},
                                 {"scale", {2}, Dtype::kF32},
                                 {"pair", {2, 1 << 19}, Dtype::kBF16},
                                 {"none3", {0}}});
  made.tensors("d.safetensors", {{"x", {3}}, {"y", {}}}, FileKind::kSpareTensors);
  made.plain("e.txt", 1);
  return made;
}

void expect_error(const Result<void>& result, Errc code, std::string_view file,
                  std::string_view says) {
  ASSERT_FALSE(result) << says;
  EXPECT_EQ(errc_name(result.error().code), errc_name(code)) << result.error().message;
  EXPECT_THAT(result.error().message,
              AllOf(HasSubstr("'" + std::string(file) + "'"), HasSubstr(says)));
}

// MAN-26
TEST(Manifest, NumbersPiecesThroughAllFiles) {
  const Manifest manifest = odd_model().bare();
  EXPECT_EQ(manifest.file_count(), 5U);
  EXPECT_EQ(manifest.piece_count(), 11U);
  std::uint64_t bytes = 0;
  for (const FileEntry& file : manifest.root().files) bytes += file.size;
  EXPECT_EQ(manifest.total_bytes(), bytes);
  std::vector<std::uint32_t> first;
  for (std::uint32_t i = 0; i < 5; ++i) first.push_back(manifest.first_piece(FileIndex(i)).value);
  EXPECT_THAT(first, ElementsAre(0, 2, 2, 8, 10));
  std::vector<std::uint32_t> files;
  for (std::uint32_t i = 0; i < 11; ++i) files.push_back(manifest.file_of(PieceIndex(i)).value);
  EXPECT_THAT(files, ElementsAre(0, 0, 2, 2, 2, 2, 2, 2, 3, 3, 4));
}

TEST(Manifest, FindsFilesByPath) {
  const Manifest manifest = odd_model().bare();
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    EXPECT_EQ(manifest.find_file(manifest.file(FileIndex(i)).path), FileIndex(i));
  }
  for (const char* path : {"", "a", "a.txt ", "z", "b.tx", "A.txt"}) {
    EXPECT_EQ(manifest.find_file(path), std::nullopt) << path;
  }
}

struct Extent {
  std::uint32_t file;
  std::uint64_t offset;
  std::uint64_t length;
  friend bool operator==(const Extent&, const Extent&) = default;
};

// MAN-24, MAN-26: pieces by file and offset, tensors without bytes in between.
TEST(Manifest, KnowsWhereEachPieceLies) {
  const Manifest manifest = odd_model().build();
  const std::uint64_t c = manifest.file(FileIndex(2)).header_bytes;
  const std::uint64_t d = manifest.file(FileIndex(3)).header_bytes;
  std::vector<Extent> extents;
  for (std::uint32_t i = 0; i < manifest.piece_count(); ++i) {
    const PieceExtent extent = manifest.extent(PieceIndex(i));
    extents.push_back({extent.file.value, extent.offset, extent.length});
  }
  EXPECT_EQ(extents, (std::vector<Extent>{{0, 0, kMiB},
                                          {0, kMiB, 5},
                                          {2, c, kMiB},
                                          {2, c + kMiB, kMiB},
                                          {2, c + 2 * kMiB, kMiB},
                                          {2, c + 3 * kMiB, 8},
                                          {2, c + 3 * kMiB + 8, kMiB},
                                          {2, c + 4 * kMiB + 8, kMiB},
                                          {3, d, 3},
                                          {3, d + 3, 1},
                                          {4, 0, 1}}));
}

// MAN-10
TEST(Manifest, KnowsItsTensorsWithTheirPieces) {
  const Manifest manifest = odd_model().build();
  EXPECT_THAT(manifest.tensors(FileIndex(0)), IsEmpty());
  std::vector<std::string> names;
  std::vector<std::uint32_t> first;
  std::vector<std::uint32_t> pieces;
  for (const TensorEntry& tensor : manifest.tensors(FileIndex(2))) {
    names.push_back(tensor.info.name);
    first.push_back(tensor.first_piece.value);
    pieces.push_back(tensor.pieces);
    EXPECT_EQ(tensor.tiling.pieces(), tensor.pieces);
  }
  EXPECT_THAT(names, ElementsAre("none0", "big", "none1", "none2", "scale", "pair", "none3"));
  EXPECT_THAT(first, ElementsAre(2, 2, 5, 5, 5, 6, 8));
  EXPECT_THAT(pieces, ElementsAre(0, 3, 0, 0, 1, 2, 0));
  EXPECT_THAT(manifest.tensors(FileIndex(3)), SizeIs(2));
}

// MAN-41
TEST(Manifest, KnowsEachPiecesDigest) {
  const Manifest manifest = odd_model().build();
  EXPECT_EQ(manifest.digest(PieceIndex(0)), sha256(bytes_of("a.txt#0")));
  EXPECT_EQ(manifest.digest(PieceIndex(1)), sha256(bytes_of("a.txt#1")));
  EXPECT_EQ(manifest.digest(PieceIndex(7)), sha256(bytes_of("c.safetensors#5")));
  EXPECT_EQ(manifest.digest(PieceIndex(8)), sha256(bytes_of("d.safetensors#0")));
  EXPECT_EQ(manifest.digest(PieceIndex(10)), sha256(bytes_of("e.txt#0")));
}

TEST(Manifest, SaysWhichBlobsItNeeds) {
  const ModelBuilder made = odd_model();
  Manifest manifest = made.bare();
  const bool headers[] = {false, false, true, true, false};
  const bool lists[] = {true, false, true, true, true};
  for (std::uint32_t i = 0; i < 5; ++i) {
    const FileIndex file(i);
    const std::string path = manifest.file(file).path;
    SCOPED_TRACE(path);
    EXPECT_EQ(manifest.needs_header(file), headers[i]);
    EXPECT_EQ(manifest.needs_piece_list(file), lists[i]);
    EXPECT_EQ(manifest.header_blob(file), nullptr);
    EXPECT_EQ(manifest.piece_list_blob(file), nullptr);
    if (headers[i]) {
      must(manifest.add_header(file, blob_of(made.header(path))));
      EXPECT_EQ(*manifest.header_blob(file), made.header(path));
    }
    must(manifest.add_piece_list(file, blob_of(made.piece_list(path))));
    EXPECT_EQ(*manifest.piece_list_blob(file), made.piece_list(path));
    EXPECT_FALSE(manifest.needs_header(file));
    EXPECT_FALSE(manifest.needs_piece_list(file));
  }
}

TEST(Manifest, FindsBlobsByDigestOnceTheyAreHere) {
  const ModelBuilder made = odd_model();
  Manifest manifest = made.bare();
  const FileEntry file = manifest.file(FileIndex(2));
  EXPECT_EQ(manifest.find_blob(manifest.id()), manifest.root_blob());
  EXPECT_EQ(sha256(*manifest.root_blob()), manifest.id());
  EXPECT_EQ(manifest.find_blob(file.header_digest), nullptr);
  EXPECT_EQ(manifest.find_blob(file.piece_list_digest), nullptr);
  EXPECT_EQ(manifest.find_blob(Digest{}), nullptr);
  must(manifest.add_header(FileIndex(2), blob_of(made.header(file.path))));
  must(manifest.add_piece_list(FileIndex(2), blob_of(made.piece_list(file.path))));
  EXPECT_EQ(*manifest.find_blob(file.header_digest), made.header(file.path));
  EXPECT_EQ(*manifest.find_blob(file.piece_list_digest), made.piece_list(file.path));
  EXPECT_TRUE(manifest.is_piece_list(file.piece_list_digest));
  EXPECT_FALSE(manifest.is_piece_list(file.header_digest));
  EXPECT_FALSE(manifest.is_piece_list(manifest.id()));
  // A plain file's absent header has the digest zero: that names nothing.
  EXPECT_EQ(manifest.find_blob(Digest{}), nullptr);
}

TEST(Manifest, TakesABlobTwice) {
  const ModelBuilder made = odd_model();
  Manifest manifest = made.build();
  const Blob before = manifest.header_blob(FileIndex(2));
  EXPECT_TRUE(manifest.add_header(FileIndex(2), blob_of(made.header("c.safetensors"))));
  EXPECT_TRUE(manifest.add_piece_list(FileIndex(2), blob_of(made.piece_list("c.safetensors"))));
  EXPECT_EQ(manifest.header_blob(FileIndex(2)), before);
  EXPECT_THAT(manifest.tensors(FileIndex(2)), SizeIs(7));
}

// MAN-40, MAN-41
TEST(Manifest, RefusesBlobsThatDoNotMatchTheirDigest) {
  const ModelBuilder made = odd_model();
  Manifest manifest = made.bare();
  const FileIndex file(2);
  const auto damaged = [](Bytes bytes) {
    bytes.back() ^= std::byte{1};
    return blob_of(std::move(bytes));
  };
  const auto longer = [](Bytes bytes) {
    bytes.push_back(std::byte{' '});
    return blob_of(std::move(bytes));
  };
  const Bytes header = made.header("c.safetensors");
  const Bytes list = made.piece_list("c.safetensors");
  for (const Blob& bad : {damaged(header), longer(header), blob_of({}), blob_of(list),
                          blob_of(made.header("d.safetensors"))}) {
    expect_error(manifest.add_header(file, bad), Errc::kCorrupt, "c.safetensors", "header");
  }
  for (const Blob& bad : {damaged(list), longer(list), blob_of({}), blob_of(header),
                          blob_of(made.piece_list("d.safetensors"))}) {
    expect_error(manifest.add_piece_list(file, bad), Errc::kCorrupt, "c.safetensors", "list");
  }
  EXPECT_TRUE(manifest.needs_header(file));
  EXPECT_TRUE(manifest.needs_piece_list(file));
  EXPECT_TRUE(manifest.add_header(file, blob_of(header)));
  EXPECT_TRUE(manifest.add_piece_list(file, blob_of(list)));
}

// MAN-36
TEST(Manifest, RefusesAHeaderForAPlainFile) {
  Manifest manifest = odd_model().bare();
  expect_error(manifest.add_header(FileIndex(0), blob_of({})), Errc::kMalformed, "a.txt", "plain");
}

// The manifest of one file whose header has this JSON, whatever the root says of it.
Result<void> add_header(std::string_view json, std::uint64_t size_after_header,
                        std::uint32_t pieces) {
  const Bytes header = header_of(json);
  ManifestRoot root{.files = {{.path = "m.safetensors", .kind = FileKind::kTensors}}};
  FileEntry& file = root.files[0];
  file.size = header.size() + size_after_header;
  file.header_bytes = header.size();
  file.header_digest = sha256(header);
  file.pieces = pieces;
  file.piece_list_digest = pieces == 0 ? sha256({}) : Digest{};
  Manifest manifest = must(Manifest::from_root(must(encode_root(root))));
  const auto added = manifest.add_header(FileIndex(0), blob_of(header));
  EXPECT_EQ(manifest.needs_header(FileIndex(0)), !added);
  EXPECT_EQ(manifest.header_blob(FileIndex(0)) != nullptr, added.has_value());
  EXPECT_EQ(manifest.tensors(FileIndex(0)).empty(), !added);
  return added;
}

// MAN-40
TEST(Manifest, RefusesAHeaderThatDoesNotFillTheFile) {
  const std::string json = json_of({{"x", {100}}});
  EXPECT_TRUE(add_header(json, 100, 1));
  expect_error(add_header(json, 99, 1), Errc::kMalformed, "m.safetensors", "fill");
  expect_error(add_header(json, 101, 1), Errc::kMalformed, "m.safetensors", "fill");
  expect_error(add_header("{}", 1, 1), Errc::kMalformed, "m.safetensors", "fill");
}

// MAN-40
TEST(Manifest, RefusesAHeaderThatMakesOtherPiecesThanStated) {
  const std::vector<TensorSpec> tensors = {{"x", {100}}, {"y", {2, kMiB}}, {"z", {0}}};
  const std::uint64_t bytes = 100 + 2 * kMiB;
  EXPECT_TRUE(add_header(json_of(tensors), bytes, 3));
  for (const std::uint32_t pieces : {4U, 5U, limits::kPiecesMax}) {
    expect_error(add_header(json_of(tensors), bytes, pieces), Errc::kMalformed, "m.safetensors",
                 "pieces");
  }
  // A hundred tensors of a byte, stated as one piece.
  std::vector<TensorSpec> small;
  for (int i = 0; i < 100; ++i) small.push_back({std::to_string(i), {1}});
  expect_error(add_header(json_of(small), 100, 1), Errc::kMalformed, "m.safetensors", "pieces");
}

// MAN-40: the digest is right, so the seeder's file itself is bad.
TEST(Manifest, RefusesAMalformedHeaderNamingFileAndTensor) {
  expect_error(add_header(R"({"x":{"dtype":"Q4","shape":[1],"data_offsets":[0,1]}})", 1, 1),
               Errc::kMalformed, "m.safetensors", "'x'");
  expect_error(add_header("[1]", 1, 1), Errc::kMalformed, "m.safetensors", "'{'");
  const std::vector<std::uint64_t> shape(limits::kTensorRankMax + 1, 1);
  expect_error(add_header(json_of({{"x", shape}}), 1, 1), Errc::kLimit, "m.safetensors", "'x'");
}

// The worked example of spec/manifest.md with its blobs.
TEST(Manifest, OfTheWorkedExampleKnowsItsPieces) {
  Manifest manifest = must(Manifest::from_root(golden::from_hex(golden::kRoot)));
  const FileIndex file(2);
  EXPECT_TRUE(manifest.add_header(file, blob_of(header_of(golden::kHeaderJson))));
  EXPECT_TRUE(manifest.add_piece_list(file, blob_of(golden::from_hex(golden::kPieceList))));
  EXPECT_EQ(manifest.piece_count(), 3U);
  EXPECT_EQ(manifest.extent(PieceIndex(1)).offset, 120U);
  EXPECT_EQ(manifest.extent(PieceIndex(1)).length, 8U);
  EXPECT_EQ(manifest.digest(PieceIndex(1)), sha256(golden::from_hex("00 01 02 03 04 05 06 07")));
  EXPECT_EQ(manifest.extent(PieceIndex(2)).offset, 128U);
  EXPECT_EQ(manifest.digest(PieceIndex(2)), sha256(golden::from_hex("08")));
}

}  // namespace
}  // namespace shardswarm::test
