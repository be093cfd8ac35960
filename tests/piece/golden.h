// The worked example of spec/manifest.md, worked out there by hand: three files, their header,
// piece list and root.
#pragma once

#include <sstream>
#include <string>
#include <string_view>

#include "tests/piece/builder.h"

namespace shardswarm::test::golden {

inline Bytes from_hex(std::string_view text) {
  Bytes bytes;
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;) bytes.push_back(std::byte(std::stoi(word, nullptr, 16)));
  return bytes;
}

inline constexpr std::string_view kConfig = "{\"layers\":1}\n";

// The tensors of model.safetensors are the bytes 00 to 08.
inline constexpr std::string_view kHeaderJson =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
    R"("b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}       )";

inline constexpr std::string_view kPieceList = R"(
8a 85 1f f8 2e e7 04 8a d0 9e c3 84 7f 1d df 44
94 41 04 d2 cb d1 7e f4 e3 db 22 c6 78 5a 0d 45
be ea d7 79 94 cf 57 33 41 ec 17 b5 8b bf 7e b3
4d 27 11 c9 93 c1 d9 76 b1 28 b3 18 8d c1 82 9a
)";

inline constexpr std::string_view kRoot = R"(
08 01 12 33 0a 0b 63 6f 6e 66 69 67 2e 6a 73 6f
6e 10 0d 30 01 3a 20 1e 13 71 d8 f5 28 52 ac 6e
1d 82 b7 c1 15 ef 0b d1 63 07 e7 9e 42 9e 85 29
57 1d a1 9f 8e a4 ec 12 32 0a 0e 64 6f 63 73 2f
65 6d 70 74 79 2e 74 78 74 3a 20 e3 b0 c4 42 98
fc 1c 14 9a fb f4 c8 99 6f b9 24 27 ae 41 e4 64
9b 93 4c a4 95 99 1b 78 52 b8 55 12 60 0a 11 6d
6f 64 65 6c 2e 73 61 66 65 74 65 6e 73 6f 72 73
10 81 01 18 01 20 78 2a 20 3d 70 28 b0 bf 3c ed
f3 d2 39 89 c1 76 02 28 5d 87 2f 7e f1 c2 ef 67
af 2a 6a a0 82 7c c5 03 06 30 02 3a 20 97 eb 5f
fc 20 0f 11 f1 70 85 4a cb 90 e0 b9 23 7a c7 18
f0 72 20 66 a6 38 8e bb 05 2c b2 f8 ab
)";

inline constexpr std::string_view kId =
    "3cee8431feaed574fd287189fdd5b302e3000e667757a43359a2ad2ebe68ee35";

// The root as values, its digests taken from the content.
inline ManifestRoot root() {
  const auto list_digest = [](const std::vector<Bytes>& pieces) {
    Bytes list;
    for (const Bytes& piece : pieces) {
      const Digest digest = sha256(piece);
      list.insert(list.end(), digest.bytes.begin(), digest.bytes.end());
    }
    return sha256(list);
  };
  return {.files = {{.path = "config.json",
                     .size = 13,
                     .pieces = 1,
                     .piece_list_digest = list_digest({bytes_of(kConfig)})},
                    {.path = "docs/empty.txt", .piece_list_digest = list_digest({})},
                    {.path = "model.safetensors",
                     .size = 129,
                     .kind = FileKind::kTensors,
                     .header_bytes = 120,
                     .header_digest = sha256(header_of(kHeaderJson)),
                     .pieces = 2,
                     .piece_list_digest =
                         list_digest({from_hex("00 01 02 03 04 05 06 07"), from_hex("08")})}}};
}

}  // namespace shardswarm::test::golden
