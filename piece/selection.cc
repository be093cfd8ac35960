#include "piece/selection.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "piece/selection_parts.h"

namespace shardswarm {
namespace {

std::optional<std::uint32_t> parse_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

using Numbers = std::optional<std::pair<std::uint32_t, std::uint32_t>>;

// "8-15", or "7" for 7-7.
Numbers parse_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_number(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_number(text.substr(dash + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return std::pair(*first, *last);
}

// "2/4".
Numbers parse_part(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto index = parse_number(text.substr(0, slash));
  const auto count = parse_number(text.substr(slash + 1));
  if (!index || !count) return std::nullopt;
  return std::pair(*index, *count);
}

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

// One character of a pattern against one of the text; `next` is where the pattern goes on. A '['
// without its ']' stands for itself.
bool match_one(std::string_view pattern, std::size_t at, char c, std::size_t& next) {
  next = at + 1;
  if (pattern[at] == '?') return true;
  if (pattern[at] != '[') return pattern[at] == c;
  std::size_t i = at + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  const std::size_t close = pattern.find(']', i + 1);
  if (close == std::string_view::npos) return c == '[';
  next = close + 1;
  bool in = false;
  while (i < close) {
    if (i + 2 < close && pattern[i + 1] == '-') {
      in |= pattern[i] <= c && c <= pattern[i + 2];
      i += 3;
    } else {
      in |= pattern[i] == c;
      ++i;
    }
  }
  return in != negated;
}

}  // namespace

std::unexpected<Error> usage(std::string message) { return fail(Errc::kUsage, std::move(message)); }

std::string range_text(std::uint32_t first, std::uint32_t last) {
  return first == last ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(last);
}

std::string part_text(std::uint32_t index, std::uint32_t count) {
  return std::to_string(index) + "/" + std::to_string(count);
}

bool named_by(const FileEntry& file, const std::vector<std::string>& globs) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& glob) { return glob_match(glob, file.path); });
}

Result<LayerRange> parse_layer_range(std::string_view text) {
  const Numbers range = parse_range(text);
  if (!range) return usage(quoted(text) + " is not a range of layers: write 8-15, or 7");
  return LayerRange{range->first, range->second};
}

Result<ExpertRange> parse_expert_range(std::string_view text) {
  const Numbers range = parse_range(text);
  if (!range) return usage(quoted(text) + " is not a range of experts: write 0-31, or 7");
  return ExpertRange{range->first, range->second};
}

Result<Stage> parse_stage(std::string_view text) {
  const Numbers part = parse_part(text);
  if (!part || part->first < 1 || part->first > part->second) {
    return usage(quoted(text) + " is not a stage: write 2/4 for the second of four");
  }
  return Stage{part->first, part->second};
}

Result<Slice> parse_slice(std::string_view text) {
  // The last ':': a tensor's name may have one, the numbers have none.
  const std::size_t colon = text.rfind(':');
  const Numbers part =
      colon == std::string_view::npos ? std::nullopt : parse_part(text.substr(colon + 1));
  if (!part || colon == 0 || part->first >= part->second) {
    return usage(quoted(text) +
                 " is not a slice: write '*.q_proj.weight:0/2' for the first half of " +
                 "these tensors' rows (ranks count from 0)");
  }
  return Slice{std::string(text.substr(0, colon)), part->first, part->second};
}

bool glob_match(std::string_view pattern, std::string_view text) {
  // Only the last '*' is ever gone back to: linear in pattern x text, never exponential.
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_text = 0;
  while (t < text.size()) {
    std::size_t next = 0;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && match_one(pattern, p, text[t], next)) {
      p = next;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<FileIndex> headers_needed(const Selection& selection, const ManifestRoot& root) {
  std::vector<FileIndex> files;
  for (std::uint32_t i = 0; i < root.files.size(); ++i) {
    const FileEntry& file = root.files[i];
    if (file.kind == FileKind::kTensors ||
        (file.kind == FileKind::kSpareTensors &&
         (selection.whole() || named_by(file, selection.files)))) {
      files.push_back(FileIndex(i));
    }
  }
  return files;
}

}  // namespace shardswarm
