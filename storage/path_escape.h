// Paths in text files of ours. A path is any bytes; JSON holds UTF-8 and lines end somewhere.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace shardswarm {

// STO-40: every byte that is not printable ASCII, and `"`, `\` and `%`, becomes %xx, xx being two
// lower-case hex digits.
std::string escape_path(std::string_view path);
// Nothing when a '%' is not followed by two such digits.
std::optional<std::string> unescape_path(std::string_view text);

}  // namespace shardswarm
