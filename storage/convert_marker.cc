#include "storage/convert_marker.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "base/file.h"
#include "base/limits.h"
#include "piece/manifest.h"
#include "storage/meta_dir.h"
#include "storage/path_escape.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMarkerBytesMax = 256 * limits::kMiB;
constexpr std::string_view kModel = "model ";
constexpr std::string_view kMove = "move ";
constexpr std::string_view kTake = "take ";
constexpr std::string_view kRemove = "remove ";
constexpr std::string_view kChecksum = "checksum ";

std::string checksum_line(std::string_view text) {
  return fmt::format("{}{:016x}\n", kChecksum, xxh3_64(std::as_bytes(std::span(text))));
}

// Just what write_conversion_marker() writes for the model whose root is here.
std::optional<ConversionMarker> parse_marker(std::string_view text, const ModelId& model) {
  const std::size_t end = text.rfind(kChecksum);
  if (end == std::string_view::npos || text.substr(end) != checksum_line(text.substr(0, end))) {
    return std::nullopt;
  }
  text = text.substr(0, end);
  const std::string first = std::string(kModel) + to_hex(model) + "\n";
  if (!text.starts_with(first)) return std::nullopt;
  ConversionMarker marker;
  for (std::size_t at = first.size(); at < text.size();) {
    const std::size_t stop = text.find('\n', at);
    if (stop == std::string_view::npos) return std::nullopt;
    const std::string_view line = text.substr(at, stop - at);
    at = stop + 1;
    const std::string_view word = line.substr(0, std::min(line.find(' ') + 1, line.size()));
    const auto unescaped = unescape_path(line.substr(word.size()));
    if (!unescaped) return std::nullopt;
    const std::string& what = *unescaped;
    if (word == kTake) {
      if (std::ranges::find(kOfLayout, what) == kOfLayout.end()) return std::nullopt;
      marker.taken.insert(what);
    } else if ((word == kMove || word == kRemove) && check_path(what)) {
      (word == kMove ? marker.moved : marker.removed).insert(what);
    } else {
      return std::nullopt;
    }
  }
  return marker;
}

}  // namespace

fs::path conversion_marker_path() { return fs::path(kMetaDirName) / "converted"; }

Result<void> write_conversion_marker(int root, const ModelId& model,
                                     const ConversionMarker& marker) {
  std::string text;
  const auto line = [&](std::string_view word, std::string_view what) {
    text.append(word).append(escape_path(what)).append("\n");
  };
  line(kModel, to_hex(model));
  for (const std::string& path : marker.moved) line(kMove, path);
  for (const std::string& name : marker.taken) line(kTake, name);
  for (const std::string& path : marker.removed) line(kRemove, path);
  text += checksum_line(text);
  return replace_file_beneath(root, conversion_marker_path(), std::as_bytes(std::span(text)));
}

Result<ConversionMarker> read_conversion_marker(int root, const fs::path& directory) {
  const std::string name = (directory / conversion_marker_path()).string();
  const auto fd = open_beneath(root, conversion_marker_path(), O_RDONLY | O_NONBLOCK);
  if (!fd) return std::unexpected(fd.error());
  const auto identity = identity_of(fd->get(), name);
  if (!identity) return std::unexpected(identity.error());
  if (identity->size > kMarkerBytesMax) return fail(Errc::kLimit, name + " is too large");
  std::string text(identity->size, '\0');
  if (auto read = read_exactly(fd->get(), 0, std::as_writable_bytes(std::span(text)), name);
      !read) {
    return std::unexpected(read.error());
  }
  const auto model = read_small_file(directory / kMetaDirName / "root", limits::kRootBytesMax);
  if (!model) return std::unexpected(model.error());
  auto marker = parse_marker(text, sha256(*model));
  if (!marker) {
    return fail(Errc::kMalformed, name +
                                      " is damaged, or of another model: nothing was changed; "
                                      "remove it if it was copied here");
  }
  return std::move(*marker);
}

}  // namespace shardswarm
