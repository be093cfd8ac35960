#include "storage/path_escape.h"

namespace shardswarm {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

bool plain(char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '%'; }

}  // namespace

std::string escape_path(std::string_view path) {
  std::string text;
  for (const char c : path) {
    if (plain(c)) {
      text += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      text += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return text;
}

std::optional<std::string> unescape_path(std::string_view text) {
  std::string path;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      path += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const std::size_t high = kHex.find(text[i + 1]);
    const std::size_t low = kHex.find(text[i + 2]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    path += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return path;
}

}  // namespace shardswarm
