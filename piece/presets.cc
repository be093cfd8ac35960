#include "piece/presets.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "piece/selection_parts.h"

namespace shardswarm {
namespace {

struct EngineRule {
  Engine engine;
  std::string_view name;
  SharedTensors shared;
  bool mtp_layers;  // reads MTP layers, numbered behind the model's own, on its last rank
  // How unequal counts are given to it; empty if it takes memory itself, or cannot be told.
  std::string_view setting;
  bool takes_weights = true;
};

// By Engine.
constexpr std::array<EngineRule, 5> kRules = {{
    {Engine::kExo, "exo", SharedTensors::kAll, false, ""},
    {Engine::kMlxLm, "mlx-lm", SharedTensors::kAll, false, "split="},
    {Engine::kVllm, "vllm", SharedTensors::kTowers, true, "VLLM_PP_LAYER_PARTITION="},
    {Engine::kSglang, "sglang", SharedTensors::kEdges, true, "SGLANG_PP_LAYER_PARTITION="},
    {Engine::kTransformers, "transformers", SharedTensors::kEdges, false, "", false},
}};

const EngineRule& rule_of(Engine engine) { return kRules[static_cast<std::size_t>(engine)]; }

std::string engine_names() {
  std::string names;
  for (std::size_t i = 0; i < kRules.size(); ++i) {
    names += i == 0 ? "" : i + 1 == kRules.size() ? " or " : ", ";
    names += kRules[i].name;
  }
  return names;
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

// In proportion to the weights: each share is rounded down, and the layers that are left go to the
// shares that lost most, to the earlier rank among equals. Nobody stays without a layer. Fractions
// are doubles because exo's are: with integers, machines of 64, 16 and 16 GB would tie for a layer
// that exo gives to the second.
std::vector<std::uint32_t> proportional(std::uint32_t layers,
                                        std::span<const std::uint64_t> weights) {
  const auto total =
      static_cast<double>(std::accumulate(weights.begin(), weights.end(), std::uint64_t{0}));
  std::vector<std::uint32_t> counts;
  std::vector<double> lost;
  for (const std::uint64_t weight : weights) {
    const double share = static_cast<double>(weight) / total * layers;
    // modf() takes the share as it was rounded: with a subtraction here, processors that multiply
    // and subtract in one step would leave another rest.
    double whole = 0;
    lost.push_back(std::modf(share, &whole));
    counts.push_back(static_cast<std::uint32_t>(whole));
  }
  std::vector<std::uint32_t> order(counts.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, [&](std::uint32_t a, std::uint32_t b) {
    return lost[a] != lost[b] ? lost[a] > lost[b] : a < b;
  });
  const std::uint32_t given = std::accumulate(counts.begin(), counts.end(), 0U);
  for (std::uint32_t i = 0; i < layers - std::min(layers, given); ++i) ++counts[order[i]];
  for (std::uint32_t& count : counts) {
    if (count > 0) continue;
    --*std::ranges::max_element(counts);
    count = 1;
  }
  return counts;
}

// As even as possible, the layers that are left over one each to the ranks from `first_larger` on.
std::vector<std::uint32_t> even(std::uint32_t layers, std::uint32_t ranks,
                                std::uint32_t first_larger) {
  std::vector<std::uint32_t> counts(ranks, layers / ranks);
  for (std::uint32_t i = 0; i < layers % ranks; ++i) ++counts[first_larger + i];
  return counts;
}

// Which stack the engine splits: the named one, else the main one, which is the language model's.
Result<std::uint32_t> split_stack(const Selection& selection, const Outline& outline) {
  if (selection.stacks.size() > 1) {
    return usage("--for splits the layers of one stack: name one with --stack, not " +
                 std::to_string(selection.stacks.size()));
  }
  if (!selection.stacks.empty()) return stack_named(outline, selection.stacks.front());
  return 0U;
}

// What does not depend on the model.
Result<void> check(const Preset& preset) {
  if (!preset.engine) {
    return usage(
        "--rank and --weights say which part of an engine's pipeline is meant: name the "
        "engine with --for (" +
        engine_names() + ")");
  }
  const std::string name(rule_of(*preset.engine).name);
  if (preset.ranks == 0 || preset.ranks > kRanksMax || preset.rank >= preset.ranks) {
    return usage("rank " + part_text(preset.rank, preset.ranks) +
                 " does not exist: ranks count from 0, so three are 0/3, 1/3 and 2/3; at most " +
                 std::to_string(kRanksMax) + " are possible");
  }
  if (preset.weights.empty()) return {};
  if (!rule_of(*preset.engine).takes_weights) {
    return usage(name + " gives every rank as many layers: leave --weights out");
  }
  if (preset.weights.size() != preset.ranks) {
    return usage("--weights names " + std::to_string(preset.weights.size()) +
                 " machines, and --rank " + part_text(preset.rank, preset.ranks) +
                 " says that there are " + std::to_string(preset.ranks) +
                 ": give one weight for each rank, in their order");
  }
  for (std::size_t i = 0; i < preset.weights.size(); ++i) {
    if (preset.weights[i] > 0 && preset.weights[i] <= kWeightMax) continue;
    return usage("the weight of rank " + std::to_string(i) + " is " +
                 std::to_string(preset.weights[i]) + ": every rank runs a layer at least, so " +
                 "weights are whole numbers from 1 to " + std::to_string(kWeightMax));
  }
  return {};
}

}  // namespace

std::string_view engine_name(Engine engine) { return rule_of(engine).name; }

Result<Engine> parse_engine(std::string_view text) {
  const auto rule = std::ranges::find(kRules, text, &EngineRule::name);
  if (rule != kRules.end()) return rule->engine;
  return usage("'" + std::string(text) + "' is not an engine that presets know: --for takes " +
               engine_names());
}

Result<void> parse_rank(Preset& preset, std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto rank = parse_number<std::uint32_t>(text.substr(0, slash));
  const auto ranks = slash == std::string_view::npos
                         ? std::nullopt
                         : parse_number<std::uint32_t>(text.substr(slash + 1));
  if (!rank || !ranks || *rank >= *ranks || *ranks > kRanksMax) {
    return usage("'" + std::string(text) +
                 "' is not a rank: write 0/3, 1/3 or 2/3 for one of three (ranks count from 0; at "
                 "most " +
                 std::to_string(kRanksMax) + " are possible)");
  }
  preset.rank = *rank;
  preset.ranks = *ranks;
  return {};
}

Result<std::vector<std::uint64_t>> parse_weights(std::string_view text) {
  std::vector<std::uint64_t> weights;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t comma = std::min(text.find(',', from), text.size());
    const auto weight = parse_number<std::uint64_t>(text.substr(from, comma - from));
    if (!weight || *weight == 0 || *weight > kWeightMax) {
      return usage("'" + std::string(text) +
                   "' are not weights: write the memory of each machine by rank, such as 64,32,16 "
                   "(whole numbers from 1)");
    }
    weights.push_back(*weight);
    from = comma + 1;
  }
  return weights;
}

std::vector<std::uint32_t> layer_counts(Engine engine, std::uint32_t layers, std::uint32_t ranks,
                                        std::span<const std::uint64_t> weights) {
  if (!weights.empty()) return proportional(layers, weights);
  const std::uint32_t left = layers % ranks;
  switch (engine) {
    case Engine::kExo:
      return proportional(layers, std::vector<std::uint64_t>(ranks, 1));
    case Engine::kMlxLm:
      return even(layers, ranks, 0);
    case Engine::kVllm:
      // The last rank has the head: the ones before it get the rest.
      return even(layers, ranks, left == 0 ? 0 : ranks - 1 - left);
    case Engine::kSglang:
      return even(layers, ranks, ranks - left);
    case Engine::kTransformers:
      break;
  }
  std::vector<std::uint32_t> counts(ranks, layers / ranks);
  counts.back() += left;
  return counts;
}

LayerRange layers_of_rank(Engine engine, std::span<const std::uint32_t> counts,
                          std::uint32_t rank) {
  // mlx-lm's rank 0 runs the last layers.
  const auto before = engine == Engine::kMlxLm ? counts.subspan(rank + 1) : counts.first(rank);
  const std::uint32_t first = std::accumulate(before.begin(), before.end(), 0U);
  return {first, first + counts[rank] - 1};
}

Result<Selection> without_preset(const Selection& selection, const Outline& outline) {
  const Preset& preset = selection.preset;
  if (preset.empty()) return selection;
  if (auto good = check(preset); !good) return std::unexpected(good.error());
  if (!selection.layers.empty() || !selection.stages.empty()) {
    return usage("--for finds out the layers of a rank: leave --layers and --stage out, or --for");
  }
  const EngineRule& rule = rule_of(*preset.engine);
  Selection parts = selection;
  parts.preset = {};
  if (outline.stacks.empty()) {
    if (preset.ranks > 1 && !outline.tensors.empty()) {
      return usage("this model has no numbered layers that " + std::string(rule.name) +
                   " could split over " + std::to_string(preset.ranks) +
                   " ranks: leave --rank out");
    }
    parts.tensors.emplace_back("*");
    return parts;
  }
  const auto index = split_stack(selection, outline);
  if (!index) return std::unexpected(index.error());
  const Stack& stack = outline.stacks[*index];
  if (preset.ranks > stack.layers) {
    return usage(stack.name + " has " + std::to_string(stack.layers) +
                 " layers, too few for rank " + part_text(preset.rank, preset.ranks) +
                 ": every rank runs a layer at least");
  }
  const auto counts = layer_counts(rule.engine, stack.layers, preset.ranks, preset.weights);
  LayerRange range = layers_of_rank(rule.engine, counts, preset.rank);
  if (rule.mtp_layers && range.last + 1 == stack.layers) range.last = stack.numbered - 1;
  parts.layers = {range};
  // Without a name, layers count in the largest stack.
  if (*index != 0) parts.stacks = {stack.name};
  if (parts.shared != SharedTensors::kAll) parts.shared = rule.shared;
  return parts;
}

std::string engine_setting(const Selection& selection, const Outline& outline) {
  const Preset& preset = selection.preset;
  if (!preset.engine || preset.weights.empty() || outline.stacks.empty()) return {};
  const EngineRule& rule = rule_of(*preset.engine);
  const auto index = split_stack(selection, outline);
  if (rule.setting.empty() || !index) return {};
  std::string text(rule.setting);
  const std::uint32_t layers = outline.stacks[*index].layers;
  for (const std::uint32_t count :
       layer_counts(rule.engine, layers, preset.ranks, preset.weights)) {
    text += (text.back() == '=' ? "" : ",") + std::to_string(count);
  }
  return text;
}

}  // namespace shardswarm
