#include "cli/holds.h"

#include <fmt/format.h>

#include <vector>

#include "base/text.h"
#include "cli/format.h"
#include "cli/json.h"

namespace shardswarm::cli {
namespace {

// More names than that say less than their number.
constexpr std::size_t kNamesMax = 3;

// "layers 8-15" or, of another stack than the one that --layers means, "layers 0-3 of encoder".
std::string layers_text(const std::string& ranges, const HeldLayers& layers) {
  const bool many = ranges.find_first_of("-,") != std::string::npos;
  return fmt::format("layer{} {}{}", many ? "s" : "", ranges,
                     layers.main_stack ? "" : " of " + layers.stack);
}

}  // namespace

std::string holds_text(const HeldDirectory& held) {
  if (held.complete) return "everything";
  if (!held.parts) return {};
  std::vector<std::string> parts;
  for (const HeldLayers& layers : held.parts->layers) {
    if (!layers.whole.empty()) parts.push_back(layers_text(layers.whole, layers));
    if (!layers.in_part.empty()) parts.push_back(layers_text(layers.in_part, layers) + " in part");
  }
  const auto& outside = held.parts->outside;
  if (outside.size() > kNamesMax) {
    parts.push_back(fmt::format("{} of {} outside the layers", outside.size(),
                                count_text(held.parts->outside_of, "tensor")));
  } else {
    parts.insert(parts.end(), outside.begin(), outside.end());
  }
  if (parts.empty()) parts.emplace_back("no tensors");
  if (const auto& files = held.parts->files; files.size() < held.parts->files_of) {
    parts.push_back(
        fmt::format("{} of {}", files.size(), count_text(held.parts->files_of, "other file")));
  }
  return printable(fmt::format("{}", fmt::join(parts, ", ")));
}

Json holds_json(const HeldDirectory& held) {
  if (held.complete || !held.parts) return nullptr;
  Json stacks = Json::array();
  for (const HeldLayers& layers : held.parts->layers) {
    stacks.push_back({{"name", layers.stack},
                      {"layers", layers.whole},
                      {"layers_in_part", layers.in_part},
                      {"of", layers.of}});
  }
  return {{"stacks", stacks},
          {"outside", held.parts->outside},
          {"outside_of", held.parts->outside_of},
          {"files", held.parts->files},
          {"files_of", held.parts->files_of}};
}

}  // namespace shardswarm::cli
