#include "piece/outline_experts.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "piece/outline_roles.h"
#include "piece/outline_steps.h"

namespace shardswarm {
namespace {

// An expert's number beyond this is none, as with layers.
constexpr std::uint64_t kExpertsMax = 100'000;

// A word within the layer and what stands around it.
struct Place {
  std::string_view above;  // the module above, with its '.'
  std::string_view below;  // the words below it
};

// Looks at kWordsMax words, like the other rules.
template <class F>
std::optional<Place> find_word(std::string_view name, std::size_t inside, F&& is) {
  std::size_t from = inside;
  for (std::size_t words = 0; words < kWordsMax && from < name.size(); ++words) {
    const std::size_t end = std::min(name.find('.', from), name.size());
    if (is(name.substr(from, end - from))) {
      return Place{name.substr(0, from), name.substr(std::min(end + 1, name.size()))};
    }
    from = end + 1;
  }
  return std::nullopt;
}

std::optional<Place> experts_of(std::string_view name, std::size_t inside) {
  return find_word(name, inside,
                   [](std::string_view word) { return word == "experts" || word == "switch_mlp"; });
}

// "mlp.gate.weight", "ffn.router.layer.weight", "experts.router.layer.weight"; a scale beside it
// may have other rows.
std::optional<Place> router_of(std::string_view name, std::size_t inside, const TensorInfo& info) {
  if (info.shape.size() < 2 || !name.ends_with(".weight")) return std::nullopt;
  return find_word(name, inside,
                   [](std::string_view word) { return word == "router" || word == "gate"; });
}

// "experts.3", and "experts.expert_3" as Switch Transformers names them.
std::optional<std::uint32_t> number_of(std::string_view words) {
  constexpr std::string_view kPrefix = "expert_";
  std::string_view word = words.substr(0, words.find('.'));
  if (word.starts_with(kPrefix)) word.remove_prefix(kPrefix.size());
  std::uint32_t number = 0;
  const auto parsed = std::from_chars(word.data(), word.data() + word.size(), number);
  if (word.empty() || parsed.ec != std::errc{} || parsed.ptr != word.data() + word.size()) {
    return std::nullopt;
  }
  return number;
}

// JetMoE keeps the router of its attention among the experts; experts' gates are not called so.
bool is_router(std::string_view below) {
  return !number_of(below) &&
         find_word(below, 0, [](std::string_view word) { return word == "router"; });
}

Experts stacked(std::uint64_t count, std::uint64_t rows) {
  if (count == 0 || count > kExpertsMax || rows == 0) return {};
  return {.first = 0, .count = static_cast<std::uint32_t>(count), .rows = rows};
}

}  // namespace

void ExpertFinder::learn(std::string_view name, std::size_t inside, const TensorInfo& info) {
  if (info.shape.size() < 2) return;
  const auto experts = experts_of(name, inside);
  if (experts && !is_router(experts->below)) {
    if (info.shape.size() > 2 && !number_of(experts->below)) {
      stacked_.try_emplace(experts->above, info.shape[0]);
    }
    return;
  }
  const auto router = router_of(name, inside, info);
  if (router) routed_.try_emplace(router->above, info.shape[0]);
}

Experts ExpertFinder::find(std::string_view name, std::size_t inside,
                           const TensorInfo& info) const {
  const auto experts = experts_of(name, inside);
  if (!experts) return beside_router(name, inside, info);
  if (is_router(experts->below)) return {};
  if (const auto number = number_of(experts->below)) {
    return *number < kExpertsMax ? Experts{.first = *number, .count = 1} : Experts{};
  }
  if (info.shape.empty()) return {};
  const std::uint64_t rows = info.shape[0];
  if (info.shape.size() > 2) return stacked(rows, 1);
  auto known = routed_.find(experts->above);
  if (known == routed_.end()) {
    known = stacked_.find(experts->above);
    if (known == stacked_.end()) return {};
  }
  const std::uint64_t count = known->second;
  if (rows == count) return stacked(count, 1);
  const bool matrix = info.shape.size() == 2 && count > 0 && rows % count == 0;
  return matrix ? stacked(count, rows / count) : Experts{};
}

// GraniteMoE and JetMoE: "block_sparse_moe.input_linear.weight" with "block_sparse_moe.router".
Experts ExpertFinder::beside_router(std::string_view name, std::size_t inside,
                                    const TensorInfo& info) const {
  if (info.shape.size() < 3) return {};
  bool beside = false;
  (void)find_word(name, inside, [&](std::string_view word) {
    // Every token goes through these, whatever their shape.
    if (word.starts_with("shared_expert")) return true;
    const auto above = static_cast<std::size_t>(word.data() - name.data());
    const auto known = routed_.find(name.substr(0, above));
    beside = known != routed_.end() && known->second == info.shape[0];
    return beside;
  });
  return beside ? stacked(info.shape[0], 1) : Experts{};
}

void find_experts(const Manifest& manifest, Outline& outline) {
  const auto inside = [&](const OutlineTensor& tensor) {
    const std::size_t bytes = bare_name(outline, outline.stacks[tensor.stack]).size();
    return inside_layer(info_of(manifest, tensor).name, bytes);
  };
  std::vector<ExpertFinder> finders(outline.components.size());
  for (const OutlineTensor& tensor : outline.tensors) {
    if (tensor.stack == kNoStack) continue;
    const TensorInfo& info = info_of(manifest, tensor);
    finders[tensor.component].learn(info.name, inside(tensor), info);
  }
  for (OutlineTensor& tensor : outline.tensors) {
    if (tensor.stack == kNoStack) continue;
    const TensorInfo& info = info_of(manifest, tensor);
    tensor.experts = finders[tensor.component].find(info.name, inside(tensor), info);
    if (tensor.experts.count == 0) continue;
    std::uint32_t& most = outline.stacks[tensor.stack].experts;
    most = std::max(most, tensor.experts.first + tensor.experts.count);
  }
}

}  // namespace shardswarm
