// The rules that a root's content must follow, whoever encoded it: encode_root and decode_root
// refuse the same.
#include <gmock/gmock.h>

#include <functional>
#include <string>
#include <vector>

#include "base/limits.h"
#include "piece/manifest.h"
#include "tests/piece/builder.h"
#include "tests/piece/golden.h"
#include "tests/piece/hand_encoder.h"

namespace shardswarm::test {
namespace {

using ::testing::HasSubstr;

void expect_refused(const ManifestRoot& root, Errc code, std::string_view says) {
  const auto encoded = encode_root(root);
  ASSERT_FALSE(encoded) << says;
  EXPECT_EQ(errc_name(encoded.error().code), errc_name(code)) << encoded.error().message;
  EXPECT_THAT(encoded.error().message, HasSubstr(says));
  const auto decoded = decode_root(hand_encode(root));
  ASSERT_FALSE(decoded) << says;
  EXPECT_EQ(errc_name(decoded.error().code), errc_name(code)) << decoded.error().message;
}

// The worked example with one thing changed.
void expect_refused(const std::function<void(ManifestRoot&)>& change, std::string_view says,
                    Errc code = Errc::kMalformed) {
  ManifestRoot root = golden::root();
  change(root);
  expect_refused(root, code, says);
}

FileEntry empty_file(std::string path) {
  return {.path = std::move(path), .piece_list_digest = sha256({})};
}

// MAN-33
TEST(ManifestRules, FilesAreSomeSortedAndUnique) {
  expect_refused([](ManifestRoot& root) { root.files.clear(); }, "no file");
  expect_refused([](ManifestRoot& root) { std::swap(root.files[0], root.files[1]); },
                 "'config.json'");
  expect_refused([](ManifestRoot& root) { root.files[1].path = "config.json"; }, "'config.json'");
  // Bytes are compared as unsigned numbers, and a prefix comes first.
  const ManifestRoot good{.files = {empty_file("A"), empty_file("a"), empty_file("a b"),
                                    empty_file("a.b"), empty_file("aa"), empty_file("\xc3\xa9")}};
  EXPECT_EQ(must(decode_root(must(encode_root(good)))), good);
}

// MAN-33: no file system could hold both.
TEST(ManifestRules, NoPathIsAFolderOfAnother) {
  const auto root = [](std::vector<std::string> paths) {
    ManifestRoot made;
    for (std::string& path : paths) made.files.push_back(empty_file(std::move(path)));
    return made;
  };
  expect_refused(root({"a", "a/b"}), Errc::kMalformed, "'a'");
  expect_refused(root({"a/b", "a/b/c/d"}), Errc::kMalformed, "'a/b'");
  // Other paths may stand between the two.
  expect_refused(root({"a", "a-b", "a.b", "a/b"}), Errc::kMalformed, "'a'");
  EXPECT_TRUE(encode_root(root({"a", "ab/c", "b/a", "b/ab"})));
}

// MAN-34
TEST(ManifestRules, PathsAreStrict) {
  for (const std::string& path :
       {std::string(), std::string("/"), std::string("/etc/passwd"), std::string("a/"),
        std::string("a//b"), std::string("."), std::string(".."), std::string("./a"),
        std::string("a/./b"), std::string("../a"), std::string("a/.."), std::string("a/../b"),
        std::string(".git/config"), std::string("a/.hidden"), std::string("..."),
        std::string("a\0b", 3), std::string(1, '\0'), std::string(1025, 'a')}) {
    const auto checked = check_path(path);
    ASSERT_FALSE(checked) << path;
    EXPECT_EQ(checked.error().code, Errc::kMalformed) << path;
    EXPECT_THAT(checked.error().message, HasSubstr("path")) << path;
    if (path.empty()) continue;  // an empty field is absent: another encoding
    expect_refused(ManifestRoot{.files = {empty_file(path)}}, Errc::kMalformed, "");
  }
}

// MAN-34
TEST(ManifestRules, OtherPathsAreFine) {
  for (const std::string& path :
       {std::string("a"), std::string("a.b"), std::string("a..b/c..."), std::string("a b"),
        std::string("~"), std::string("-"), std::string("C:"), std::string("a:b|c?*\"<>"),
        std::string("\xe5\xb1\x82/\xc3\xa9"), std::string("a/b/c/d/e"), std::string(1024, 'a'),
        // What UNIX allows, however odd: who shows it escapes it.
        std::string("a\\b"), std::string("C:\\a"), std::string("a\nb"), std::string("a\tb"),
        std::string("a\x1f"), std::string("a\x7f"), std::string("a\x80"),
        std::string("latin\xe9.txt"), std::string("\xed\xa0\x80"), std::string("a/\xff"),
        std::string(" "), std::string("a/ ")}) {
    EXPECT_TRUE(check_path(path)) << path;
    EXPECT_TRUE(encode_root(ManifestRoot{.files = {empty_file(path)}})) << path;
  }
}

// MAN-39a
TEST(ManifestRules, CopiesAscendAndAreOfTensorsFiles) {
  const auto copies = [](std::vector<std::uint32_t> numbers, std::size_t file = 2) {
    return [numbers = std::move(numbers), file](ManifestRoot& root) {
      for (const std::uint32_t n : numbers) root.files[file].copies.emplace_back(n);
    };
  };
  expect_refused(copies({1, 0}), "ascending");
  expect_refused(copies({1, 1}), "ascending");
  expect_refused(copies({0, limits::kTensorsMax}), "impossible");
  expect_refused(copies({0}, 0), "copies");  // config.json
  expect_refused(
      [](ManifestRoot& root) {
        root.files[2].kind = FileKind::kSpareTensors;
        root.files[2].copies.emplace_back(0);
      },
      "copies");
  ManifestRoot good = golden::root();
  copies({0, 1})(good);
  EXPECT_EQ(must(decode_root(must(encode_root(good)))), good);
  EXPECT_EQ(must(encode_root(good)), hand_encode(good));
}

// MAN-39a: how many tensors the file has only its header tells.
TEST(ManifestRules, CopiesAreAmongTheTensorsOfTheFile) {
  for (const std::uint32_t copy : {1U, 2U}) {
    ModelBuilder builder;
    builder.tensors("model.safetensors",
                    {{.name = "a", .shape = {4}}, {.name = "b", .shape = {4}}});
    ManifestRoot root = builder.root();
    root.files[0].copies.emplace_back(copy);
    Manifest manifest = must(Manifest::from_root(must(encode_root(root))));
    const auto added =
        manifest.add_header(FileIndex(0), blob_of(builder.header("model.safetensors")));
    EXPECT_EQ(added.has_value(), copy == 1);
    if (!added) {
      EXPECT_EQ(added.error().code, Errc::kMalformed);
      continue;
    }
    EXPECT_FALSE(manifest.is_copy(FileIndex(0), TensorIndex(0)));
    EXPECT_TRUE(manifest.is_copy(FileIndex(0), TensorIndex(1)));
  }
}

// MAN-36
TEST(FolderOf, EndsWithItsSlash) {
  EXPECT_EQ(folder_of("vae/x.safetensors"), "vae/");
  EXPECT_EQ(folder_of("a/b/x"), "a/b/");
  EXPECT_EQ(folder_of("x.safetensors"), "");
  EXPECT_EQ(folder_of(""), "");
}

TEST(ManifestRules, PlainFilesHaveNoHeaderAndPiecesByTheirSize) {
  expect_refused([](ManifestRoot& root) { root.files[0].header_bytes = 10; }, "header");
  expect_refused([](ManifestRoot& root) { root.files[0].header_digest = sha256({}); }, "header");
  expect_refused([](ManifestRoot& root) { root.files[0].pieces = 2; }, "pieces");
  expect_refused([](ManifestRoot& root) { root.files[0].pieces = 0; }, "pieces");
  expect_refused([](ManifestRoot& root) { root.files[0].size = limits::kMiB + 1; }, "pieces");
  expect_refused([](ManifestRoot& root) { root.files[1].size = 1; }, "pieces");
  // 2^32 pieces too many are none.
  expect_refused([](ManifestRoot& root) { root.files[1].size = std::uint64_t{1} << 52; }, "pieces");
}

// MAN-37
TEST(ManifestRules, HeadersHaveAPossibleLength) {
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{9}, std::uint64_t{130}, limits::kHeaderBytesMax + 1}) {
    expect_refused([&](ManifestRoot& root) { root.files[2].header_bytes = bytes; },
                   "'model.safetensors'");
  }
  expect_refused(
      [](ManifestRoot& root) {
        root.files[2].size = limits::kGiB;
        root.files[2].pieces = 1024;
        root.files[2].header_bytes = limits::kHeaderBytesMax + 1;
      },
      "'model.safetensors'");
}

// MAN-36, MAN-37
TEST(ManifestRules, KindsAreTheKnownOnes) {
  expect_refused([](ManifestRoot& root) { root.files[2].kind = static_cast<FileKind>(3); }, "");
  expect_refused([](ManifestRoot& root) { root.files[2].kind = static_cast<FileKind>(255); }, "");
}

// MAN-38
TEST(ManifestRules, AFileWithoutPiecesHasTheListOfNothing) {
  expect_refused([](ManifestRoot& root) { root.files[1].piece_list_digest = {}; },
                 "'docs/empty.txt'");
  expect_refused(
      [](ManifestRoot& root) {
        root.files[2].size = 120;
        root.files[2].pieces = 0;
      },
      "'model.safetensors'");
}

// MAN-35
TEST(ManifestRules, LimitsAreEnforced) {
  expect_refused([](ManifestRoot& root) { root.files[2].size = limits::kFileBytesMax + 1; },
                 "'model.safetensors'", Errc::kLimit);
  expect_refused([](ManifestRoot& root) { root.files[2].size = ~std::uint64_t{0}; },
                 "'model.safetensors'", Errc::kLimit);
  expect_refused([](ManifestRoot& root) { root.files[2].pieces = limits::kPiecesMax; }, "pieces",
                 Errc::kLimit);
  ManifestRoot many;
  for (std::uint32_t i = 0; i <= limits::kFilesMax; ++i) {
    many.files.push_back(empty_file(std::to_string(100'000 + i)));
  }
  expect_refused(many, Errc::kLimit, "files");
  many.files.pop_back();
  EXPECT_EQ(must(decode_root(must(encode_root(many)))), many);
}

// MAN-37: 2,049 such files would add up to 2^53 bytes modulo 2^64, and the space that a download
// needs is taken from the root alone.
TEST(ManifestRules, FilesHaveNoMoreBytesThanTheirPiecesHold) {
  expect_refused([](ManifestRoot& root) { root.files[2].size = 120 + 2 * limits::kMiB + 1; },
                 "'model.safetensors'");
  ManifestRoot root;
  for (int i = 0; i < 2'049; ++i) {
    FileEntry file = golden::root().files[2];
    file.path = std::to_string(10'000 + i) + ".safetensors";
    file.size = limits::kFileBytesMax;
    root.files.push_back(std::move(file));
  }
  expect_refused(root, Errc::kMalformed, "'10000.safetensors'");
}

// MAN-35
TEST(ManifestRules, ARootAtThePieceLimitIsFine) {
  ManifestRoot root{.files = {empty_file("a.bin")}};
  root.files[0].size = limits::kPiecesMax * limits::kMiB;
  root.files[0].pieces = limits::kPiecesMax;
  const Manifest manifest = must(Manifest::from_root(must(encode_root(root))));
  EXPECT_EQ(manifest.piece_count(), limits::kPiecesMax);
  EXPECT_EQ(manifest.total_bytes(), root.files[0].size);
}

// Roots come from strangers: what is wrong with one is told by the error, not printed.
TEST(ManifestRules, ABadRootIsRefusedSilently) {
  ::testing::internal::CaptureStderr();
  EXPECT_FALSE(decode_root(hand_encode({.files = {empty_file("../\x80")}})));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace shardswarm::test
