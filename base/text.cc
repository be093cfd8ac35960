#include "base/text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace shardswarm {
namespace {

struct Character {
  std::uint32_t code = 0;
  std::size_t bytes = 0;  // 0: the text does not begin with a character of UTF-8
};

// The first character of a text that is not empty. Refuses overlong forms and surrogates.
Character decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length == 0 || first > 0xf4 || text.size() < length) return {};
  std::uint32_t code = first & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  constexpr std::array<std::uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[length] || code > 0x10ffff || surrogate) return {};
  return {code, length};
}

// Characters that are invisible and change how what stands around them is shown.
bool misleads(std::uint32_t code) {
  return (code >= 0x80 && code < 0xa0) || code == 0x061c || code == 0x200e || code == 0x200f ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

void append_formatted(std::string& to, const char* format, std::uint32_t value) {
  std::array<char, 16> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), format, value);
  to.append(buffer.data(), static_cast<std::size_t>(length));
}

std::string escaped(std::string_view text, bool ascii) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const Character character = decode(text);
    const auto first = static_cast<unsigned char>(text.front());
    if (first == '\n' || first == '\r' || first == '\t') {
      shown += first == '\n' ? "\\n" : first == '\r' ? "\\r" : "\\t";
    } else if (character.bytes == 0 || first < ' ' || first == 0x7f) {
      append_formatted(shown, "\\x%02x", first);
    } else if (misleads(character.code) || (ascii && character.code > 0x7f)) {
      append_formatted(shown, "\\u{%x}", character.code);
    } else {
      shown += text.substr(0, character.bytes);
    }
    text.remove_prefix(character.bytes == 0 ? 1 : character.bytes);
  }
  return shown;
}

bool is_control(char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }

}  // namespace

std::string printable(std::string_view text) { return escaped(text, false); }

std::string printable_ascii(std::string_view text) { return escaped(text, true); }

std::string shown(std::string_view name) {
  constexpr std::size_t kBytesMax = 200;
  const bool cut = name.size() > kBytesMax;
  return "'" + printable(name.substr(0, kBytesMax)) + (cut ? "...'" : "'");
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool holds_key(std::string_view text) {
  return text.find("-----") != std::string_view::npos ||
         text.find("shardswarm-key:") != std::string_view::npos;
}

std::string count_text(std::uint64_t count, std::string_view noun) {
  return std::to_string(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

std::string shell_quoted(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const bool control = std::ranges::any_of(text, is_control);
  std::string quoted = control ? "$'" : "'";
  for (const char c : text) {
    if (control && is_control(c)) {
      const auto byte = static_cast<unsigned char>(c);
      quoted += {'\\', 'x', kDigits[byte / 16], kDigits[byte % 16]};
    } else if (control && (c == '\\' || c == '\'')) {
      quoted += {'\\', c};
    } else if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + '\'';
}

}  // namespace shardswarm
