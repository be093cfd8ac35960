#include "piece/selection.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "piece/limits.h"

namespace shardswarm {
namespace {

// Weights of other formats: never unless asked for.
constexpr std::array<std::string_view, 8> kOtherWeights = {
    ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack", ".npz",
};

std::unexpected<Error> usage(std::string message) { return fail(Errc::kUsage, std::move(message)); }

std::optional<std::uint32_t> parse_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::string range_text(const LayerRange& range) {
  return range.first == range.last ? std::to_string(range.first)
                                   : std::to_string(range.first) + "-" + std::to_string(range.last);
}

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

bool comes_along(const FileEntry& file) {
  if (file.kind != FileKind::kPlain || file.size > limits::kSmallFileBytesMax) return false;
  return std::none_of(kOtherWeights.begin(), kOtherWeights.end(),
                      [&](std::string_view ending) { return file.path.ends_with(ending); });
}

bool named_by(const FileEntry& file, const std::vector<std::string>& globs) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& glob) { return glob_match(glob, file.path); });
}

// Bytes of layers [first, last] with the sides that come along at the ends.
std::uint64_t stage_bytes(const Outline& outline, std::uint32_t first, std::uint32_t end) {
  std::uint64_t bytes = 0;
  for (std::uint32_t layer = first; layer < end; ++layer) bytes += outline.layer_bytes[layer];
  if (first == 0) bytes += outline.input_bytes;
  if (end == outline.layers()) bytes += outline.output_bytes;
  return bytes;
}

// Stages under `most` bytes each, every stage as long as it may be while each later one keeps a
// layer; nothing if it cannot be done with `count` stages.
std::optional<std::vector<LayerRange>> pack(const Outline& outline, std::uint32_t count,
                                            std::uint64_t most) {
  std::vector<LayerRange> stages;
  const std::uint32_t layers = outline.layers();
  std::uint32_t first = 0;
  for (std::uint32_t stage = 0; stage < count; ++stage) {
    const std::uint32_t later = count - stage - 1;
    std::uint32_t end = first + 1;
    if (stage_bytes(outline, first, end) > most) return std::nullopt;
    std::uint64_t bytes = stage_bytes(outline, first, end);
    while (end + later < layers) {
      std::uint64_t more = outline.layer_bytes[end];
      if (end + 1 == layers) more += outline.output_bytes;
      if (bytes + more > most) break;
      bytes += more;
      ++end;
    }
    stages.push_back({first, end - 1});
    first = end;
  }
  if (first != layers) return std::nullopt;
  return stages;
}

// What of the model is wanted, by tensor.
class Resolver {
 public:
  Resolver(const Selection& selection, const Manifest& manifest, const Outline& outline)
      : selection_(selection), manifest_(manifest), outline_(outline) {
    result_.pieces = PieceSet(manifest.piece_count());
    result_.files.resize(manifest.file_count());
  }

  Result<ResolvedSelection> run() {
    if (auto done = find_layers(); !done) return std::unexpected(done.error());
    if (auto done = take_tensors(); !done) return std::unexpected(done.error());
    if (auto done = take_files(); !done) return std::unexpected(done.error());
    result_.everything =
        result_.pieces.complete() &&
        std::all_of(result_.files.begin(), result_.files.end(), [](bool taken) { return taken; });
    return std::move(result_);
  }

 private:
  Result<void> find_layers() {
    layers_.resize(outline_.layers());
    if ((!selection_.layers.empty() || !selection_.stages.empty()) && layers_.empty()) {
      return usage("this model has no numbered layers: select its tensors with --tensors GLOB");
    }
    std::vector<LayerRange> ranges = selection_.layers;
    for (const Stage& stage : selection_.stages) {
      const auto stages = split_stages(outline_, stage.count);
      if (!stages) return std::unexpected(stages.error());
      if (stage.index < 1 || stage.index > stage.count) {
        return usage("stage " + std::to_string(stage.index) + "/" + std::to_string(stage.count) +
                     " is none: stages count from 1");
      }
      ranges.push_back((*stages)[stage.index - 1]);
    }
    for (const LayerRange& range : ranges) {
      if (range.first > range.last || range.last >= outline_.layers()) {
        return usage("layers " + range_text(range) + " lie outside the model: it has layers 0-" +
                     std::to_string(outline_.layers() - 1) + " (" + outline_.stacks[0].name + ")");
      }
      std::fill(layers_.begin() + range.first, layers_.begin() + range.last + 1, true);
    }
    return {};
  }

  bool wants(const OutlineTensor& tensor) const {
    if (selection_.whole()) return true;
    const bool any = std::find(layers_.begin(), layers_.end(), true) != layers_.end();
    if (!any) return false;
    if (tensor.side == Side::kLayer) return layers_[tensor.layer];
    if (selection_.shared == SharedTensors::kAll) return true;
    switch (tensor.side) {
      case Side::kInput:
        return layers_.front();
      case Side::kOutput:
        return layers_.back();
      case Side::kBoth:
        return layers_.front() || layers_.back();
      default:
        return true;
    }
  }

  Result<void> take_tensors() {
    std::vector<bool> matched(selection_.tensors.size());
    for (const OutlineTensor& tensor : outline_.tensors) {
      const TensorEntry& entry = manifest_.tensors(tensor.file)[tensor.tensor.value];
      bool taken = wants(tensor);
      for (std::size_t i = 0; i < selection_.tensors.size(); ++i) {
        if (!glob_match(selection_.tensors[i], entry.info.name)) continue;
        taken = matched[i] = true;
      }
      if (!taken) continue;
      ++result_.tensors;
      result_.bytes += entry.info.bytes();
      result_.files[tensor.file.value] = true;
      result_.pieces.insert(PieceRun{entry.first_piece, entry.pieces});
    }
    for (std::size_t i = 0; i < matched.size(); ++i) {
      if (!matched[i]) {
        return usage("tensor glob '" + selection_.tensors[i] + "' matches none of the model's " +
                     std::to_string(outline_.tensors.size()) + " tensors" + example());
      }
    }
    return {};
  }

  std::string example() const {
    if (outline_.tensors.empty()) return "";
    const OutlineTensor& first = outline_.tensors.front();
    return " (one is '" + manifest_.tensors(first.file)[first.tensor.value].info.name + "')";
  }

  Result<void> take_files() {
    std::vector<bool> matched(selection_.files.size());
    for (std::uint32_t i = 0; i < manifest_.file_count(); ++i) {
      const FileEntry& file = manifest_.file(FileIndex(i));
      bool taken = comes_along(file) || (selection_.whole() && file.kind == FileKind::kTensors);
      bool named = false;
      for (std::size_t g = 0; g < selection_.files.size(); ++g) {
        if (glob_match(selection_.files[g], file.path)) named = matched[g] = true;
      }
      if (!taken && !named) continue;
      result_.files[i] = true;
      if (file.kind == FileKind::kTensors && !named) continue;  // its tensors are taken already
      take_whole(FileIndex(i));
    }
    for (std::size_t g = 0; g < matched.size(); ++g) {
      if (!matched[g]) {
        return usage("file glob '" + selection_.files[g] + "' matches none of the model's " +
                     std::to_string(manifest_.file_count()) + " files");
      }
    }
    return {};
  }

  void take_whole(FileIndex index) {
    const FileEntry& file = manifest_.file(index);
    const PieceRun run{manifest_.first_piece(index), file.pieces};
    for (std::uint32_t i = 0; i < run.count; ++i) {
      const PieceIndex piece(run.first.value + i);
      if (result_.pieces.insert(piece)) result_.bytes += manifest_.extent(piece).length;
    }
  }

  const Selection& selection_;
  const Manifest& manifest_;
  const Outline& outline_;
  std::vector<bool> layers_;
  ResolvedSelection result_;
};

}  // namespace

Result<LayerRange> parse_layer_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_number(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_number(text.substr(dash + 1));
  if (!first || !last || *first > *last) {
    return usage("'" + std::string(text) + "' is no range of layers: write 8-15, or 7");
  }
  return LayerRange{*first, *last};
}

Result<Stage> parse_stage(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto index = parse_number(text.substr(0, slash));
  const auto count =
      slash == std::string_view::npos ? std::nullopt : parse_number(text.substr(slash + 1));
  if (!index || !count || *index < 1 || *index > *count) {
    return usage("'" + std::string(text) + "' is no stage: write 2/4 for the second of four");
  }
  return Stage{*index, *count};
}

std::string describe(const Selection& selection) {
  std::string text;
  const auto add = [&](std::string_view flag, const std::string& value) {
    if (!text.empty()) text += ' ';
    text += std::string(flag) + ' ' + value;
  };
  for (const LayerRange& range : selection.layers) add("--layers", range_text(range));
  for (const Stage& stage : selection.stages) {
    add("--stage", std::to_string(stage.index) + "/" + std::to_string(stage.count));
  }
  for (const std::string& glob : selection.tensors) add("--tensors", "'" + glob + "'");
  for (const std::string& glob : selection.files) add("--files", "'" + glob + "'");
  if (selection.shared == SharedTensors::kAll) add("--shared", "all");
  return text.empty() ? "everything" : text;
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
        (file.kind == FileKind::kSpareTensors && named_by(file, selection.files))) {
      files.push_back(FileIndex(i));
    }
  }
  return files;
}

Result<std::vector<LayerRange>> split_stages(const Outline& outline, std::uint32_t count) {
  const std::uint32_t layers = outline.layers();
  if (count == 0 || count > layers) {
    return usage(std::to_string(count) + " stages of a model with " + std::to_string(layers) +
                 " layers: at most " + std::to_string(layers) + " are possible");
  }
  std::uint64_t low = 0;
  std::uint64_t high = stage_bytes(outline, 0, layers);
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (pack(outline, count, middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return *pack(outline, count, low);
}

Result<ResolvedSelection> resolve(const Selection& selection, const Manifest& manifest,
                                  const Outline& outline) {
  return Resolver(selection, manifest, outline).run();
}

}  // namespace shardswarm
