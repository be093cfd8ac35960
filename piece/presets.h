// What inference engines need of a model, rank by rank: how each splits the layers over the ranks
// of a pipeline, and which tensors outside the layers it reads on which rank. The rules are the
// engines' own; docs/engines.md names the file and function of each. Ranks of tensor parallelism
// need no rule here: each of them reads all tensors of its pipeline rank.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "piece/outline.h"
#include "piece/selection.h"

namespace shardswarm {

// "mlx-lm".
std::string_view engine_name(Engine engine);
// kUsage naming all engines for any other text.
Result<Engine> parse_engine(std::string_view text);

// More ranks than this are a mistake. It keeps sums of weights below 2^53, exact in a double.
inline constexpr std::uint32_t kRanksMax = 1024;
inline constexpr std::uint64_t kWeightMax = std::uint64_t{1} << 42;

// Sets rank and ranks of a preset from "0/3". kUsage unless 0 <= R < N <= kRanksMax.
Result<void> parse_rank(Preset& preset, std::string_view text);
// "64,32,16": whole numbers from 1 to kWeightMax.
Result<std::vector<std::uint64_t>> parse_weights(std::string_view text);

// How many of `layers` layers each rank runs, by rank. Their sum is `layers`, and none is 0.
// `weights`: relative memory of the ranks, or empty; weights that add up to `layers` are the
// counts. REQUIRES: 1 <= ranks <= layers; as many weights as ranks or none, none of them 0 or
// larger than kWeightMax.
std::vector<std::uint32_t> layer_counts(Engine engine, std::uint32_t layers, std::uint32_t ranks,
                                        std::span<const std::uint64_t> weights);

// The layers of this rank. REQUIRES: `counts` is what layer_counts() gave for this engine.
LayerRange layers_of_rank(Engine engine, std::span<const std::uint32_t> counts, std::uint32_t rank);

// The selection with its preset written as layers and a policy for the tensors outside them; the
// selection itself if it has none. A model without numbered layers has one rank, with all tensors.
// kUsage when the preset is incomplete (a rank without an engine), contradicts itself (as many
// weights as ranks), does not fit the model (more ranks than layers), or stands beside --layers,
// --stage or several stacks.
Result<Selection> without_preset(const Selection& selection, const Outline& outline);

// How the engine is told to split the layers as this preset does, where it does not do so by
// itself: "VLLM_PP_LAYER_PARTITION=16,8,4". Empty when there is nothing to tell.
// REQUIRES: without_preset() accepted the selection.
std::string engine_setting(const Selection& selection, const Outline& outline);

}  // namespace shardswarm
