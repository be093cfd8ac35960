// The encoding of spec/manifest.md, section "root", by hand: an implementation of its own to
// compare with, and the means to break its rules one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/piece/builder.h"

namespace shardswarm::test {
namespace hand {

inline void varint(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out += static_cast<char>((value & 127) | 128);
  out += static_cast<char>(value);
}

inline std::string number(std::uint32_t field, std::uint64_t value) {
  std::string out;
  varint(out, field << 3);
  varint(out, value);
  return out;
}

inline std::string bytes(std::uint32_t field, std::string_view value) {
  std::string out;
  varint(out, field << 3 | 2);
  varint(out, value.size());
  return out.append(value);
}

inline std::string text_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

// The fields of a file that are there, in order.
inline std::vector<std::string> fields(const FileEntry& file) {
  std::vector<std::string> out{bytes(1, file.path)};
  if (file.size != 0) out.push_back(number(2, file.size));
  if (file.kind != FileKind::kPlain) {
    out.push_back(number(3, static_cast<std::uint64_t>(file.kind)));
  }
  if (file.header_bytes != 0) out.push_back(number(4, file.header_bytes));
  if (file.kind != FileKind::kPlain || file.header_digest != Digest{}) {
    out.push_back(bytes(5, text_of(file.header_digest)));
  }
  if (file.pieces != 0) out.push_back(number(6, file.pieces));
  out.push_back(bytes(7, text_of(file.piece_list_digest)));
  if (!file.copies.empty()) {
    std::string numbers;
    for (const TensorIndex copy : file.copies) varint(numbers, copy.value);
    out.push_back(bytes(8, numbers));
  }
  return out;
}

inline std::string file(std::uint32_t field, const std::vector<std::string>& fields) {
  std::string all;
  for (const std::string& one : fields) all += one;
  return bytes(field, all);
}

}  // namespace hand

inline Bytes hand_encode(const ManifestRoot& root) {
  std::string out;
  if (root.tiling_version != 0) out += hand::number(1, root.tiling_version);
  for (const FileEntry& file : root.files) out += hand::file(2, hand::fields(file));
  return bytes_of(out);
}

}  // namespace shardswarm::test
