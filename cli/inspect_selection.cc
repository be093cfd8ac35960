#include "cli/inspect_selection.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "base/text.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/left_out.h"

namespace shardswarm::cli {
namespace {

// Of one layer, what a tensor-parallel engine splits by columns: a slice along dim 0 does not help,
// every rank gets it whole.
struct ByColumns {
  std::uint64_t bytes = 0;
  std::set<std::string> tensors;  // names within the layer
  bool operator==(const ByColumns&) const = default;
};

// "experts.17.w2.weight" and its 255 brothers stand in one row.
std::string without_numbers(std::string_view name) {
  std::string text;
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t dot = std::min(name.find('.', at), name.size());
    const std::string_view word = name.substr(at, dot - at);
    if (!text.empty()) text += '.';
    text += word.find_first_not_of("0123456789") == std::string_view::npos ? "*" : word;
    at = dot + 1;
  }
  return text;
}

std::map<std::pair<std::uint32_t, std::uint32_t>, ByColumns> come_whole(
    const ResolvedSelection& chosen, const Manifest& manifest, const Outline& outline) {
  std::map<std::pair<FileIndex, TensorIndex>, const OutlineTensor*> by_key;
  for (const OutlineTensor& tensor : outline.tensors)
    by_key[{tensor.file, tensor.tensor}] = &tensor;
  std::map<std::pair<std::uint32_t, std::uint32_t>, ByColumns> layers;
  for (const TensorRows& rows : chosen.tensors) {
    const OutlineTensor& tensor = *by_key.at({rows.file, rows.tensor});
    const TensorInfo& info = info_of(manifest, rows);
    if (tensor.stack == kNoStack || !split_by_columns(info)) continue;
    if (rows.rows != Rows{0, row_count(info)}) continue;
    ByColumns& layer = layers[{tensor.stack, tensor.layer}];
    layer.bytes += info.bytes();
    // After "stack.7.", of a component without its folder.
    const std::string& stack = outline.stacks[tensor.stack].name;
    const std::size_t folder = outline.components[tensor.component].folder.size();
    const std::size_t from = stack.size() - folder + 2 + std::to_string(tensor.layer).size();
    layer.tensors.insert(
        without_numbers(std::string_view(info.name).substr(std::min(from, info.name.size()))));
  }
  return layers;
}

std::uint64_t bytes_of_pieces(const ResolvedSelection& chosen, const Manifest& manifest) {
  std::uint64_t bytes = 0;
  chosen.pieces.for_each([&](PieceIndex piece) { bytes += manifest.extent(piece).length; });
  return bytes;
}

std::vector<std::string> selected_files(const ResolvedSelection& chosen, const Manifest& manifest) {
  std::vector<std::string> paths;
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    if (chosen.files[i]) paths.push_back(manifest.file(FileIndex(i)).path);
  }
  return paths;
}

}  // namespace

std::string selection_text(const Selection& selection, const ResolvedSelection& chosen,
                           const Manifest& manifest, const Outline& outline) {
  const auto files = selected_files(chosen, manifest);
  const std::uint64_t pieces = bytes_of_pieces(chosen, manifest);
  std::string text = fmt::format(
      "{}: {} of {} in {}: {}, {}\n", describe(selection), bytes_text(chosen.bytes),
      bytes_text(manifest.data_bytes()), count_text(chosen.pieces.count(), "piece"),
      count_text(tensor_count(chosen.tensors), "tensor"), count_text(files.size(), "file"));
  if (pieces > chosen.bytes) {
    text += fmt::format("slices cut through pieces: {} are fetched\n", bytes_text(pieces));
  }
  text += preset_text(selection, chosen.parts, chosen.engine_setting);
  for (const std::string& file : files) text += fmt::format("  {}\n", printable(file));
  text += left_out_text(report_left_out(chosen, manifest));
  const auto layers = come_whole(chosen, manifest, outline);
  if (layers.empty()) return text;
  text += "\ncome whole to every tensor-parallel rank, as engines split them by columns:\n";
  // Layers that are alike stand in one row.
  for (auto first = layers.begin(); first != layers.end();) {
    auto last = first;
    for (auto next = std::next(first);
         next != layers.end() && next->first.first == first->first.first &&
         next->first.second == last->first.second + 1 && next->second == first->second;
         ++next) {
      last = next;
    }
    const auto [stack, layer] = first->first;
    text += printable(fmt::format("  {}.{}{}: {} each: {}", outline.stacks[stack].name, layer,
                                  last == first ? "" : fmt::format("-{}", last->first.second),
                                  bytes_text(first->second.bytes),
                                  fmt::join(first->second.tensors, ", "))) +
            "\n";
    first = std::next(last);
  }
  return text;
}

std::string selection_report(const Selection& selection, const ResolvedSelection& chosen,
                             const Manifest& manifest, const Outline& outline) {
  Json whole = Json::array();
  for (const auto& [key, layer] : come_whole(chosen, manifest, outline)) {
    whole.push_back({{"stack", outline.stacks[key.first].name},
                     {"layer", key.second},
                     {"bytes", layer.bytes},
                     {"tensors", layer.tensors}});
  }
  Json report = {{"schema", kJsonSchema},
                 {"id", to_hex(manifest.id())},
                 {"selection", describe(selection)},
                 {"selected_bytes", chosen.bytes},
                 {"wanted_bytes", bytes_of_pieces(chosen, manifest)},
                 {"tensors", tensor_count(chosen.tensors)},
                 {"pieces", chosen.pieces.count()},
                 {"files", selected_files(chosen, manifest)},
                 {"whole_by_columns", whole}};
  put_selection(report, chosen.parts, chosen.engine_setting, report_left_out(chosen, manifest));
  return json_text(report);
}

}  // namespace shardswarm::cli
