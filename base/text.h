// Text from outside, made fit to be shown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shardswarm {

// Returns `text` as one line that a terminal or a log shows and does not obey. File names, tensor
// names and peers' words come from strangers: raw, they could move the cursor, set the clipboard or
// pass for a line of our own. The result holds no control character:
//   - newline, carriage return and tab become \n, \r and \t;
//   - other control characters below U+0020, U+007F and bytes that are not UTF-8 become \x1b;
//   - U+0080 to U+009F, line and paragraph separators, and characters that change the direction of
//     writing become \u{202e}.
// Everything else stays, backslashes too: the result is for people, not to be parsed again.
std::string printable(std::string_view text);

// As printable(), for a terminal that shows nothing but ASCII: other characters become \u{6a21}.
std::string printable_ascii(std::string_view text);

// printable() between single quotes, of the first 200 bytes: how messages name files and tensors.
std::string shown(std::string_view name);

// "1 file", "2 files". `noun` in the singular, of which an "s" makes the plural.
std::string count_text(std::uint64_t count, std::string_view noun);

// Without the white space around it that comes with what people paste.
std::string_view trimmed(std::string_view text);

// Whether the text holds a cluster key, or part of one (identity/cluster_key.h): it is not shown.
bool holds_key(std::string_view text);

// As a POSIX shell takes it back: 'a b'. With control characters, which would break the line, as
// bash does: $'a\x0ab'.
std::string shell_quoted(std::string_view text);

}  // namespace shardswarm
