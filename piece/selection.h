// What a node wants of a model, and what that means in tensors and pieces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "piece/manifest.h"
#include "piece/outline.h"
#include "piece/piece_set.h"
#include "piece/tensor_set.h"

namespace shardswarm {

// Layers first..last, both inclusive, counted from 0.
struct LayerRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  friend bool operator==(const LayerRange&, const LayerRange&) = default;
};

// Pipeline stage `index` of `count`, counted from 1.
struct Stage {
  std::uint32_t index = 1;
  std::uint32_t count = 1;
  friend bool operator==(const Stage&, const Stage&) = default;
};

// Experts first..last, both inclusive, counted from 0.
struct ExpertRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  friend bool operator==(const ExpertRange&, const ExpertRange&) = default;
};

// Of the tensors that the glob names, rank `rank` (counted from 0) of `count` equal parts of dim 0.
struct Slice {
  std::string tensors;
  std::uint32_t rank = 0;
  std::uint32_t count = 1;
  friend bool operator==(const Slice&, const Slice&) = default;
};

// Policy for tensors outside the layers, with layers and stages.
enum class SharedTensors : std::uint8_t {
  kEdges,   // The input side comes with the first layer, the output side with the last, tied
            // embeddings with both, and tensors of unknown use with every part.
  kTowers,  // As kEdges, but vision and audio towers, and other encoders that run before the
            // layers, come with every part (engines that build them on every rank).
  kAll,     // All of the component's come with any layer of any stack (engines that want embedding
            // and head on every rank); with layers of the main stack, those of other stacks, too.
};

// The inference engines that presets know; what each needs is in presets.h.
enum class Engine : std::uint8_t { kExo, kMlxLm, kVllm, kSglang, kTransformers };

// The part of one pipeline rank of an engine. Which layers that is depends on the model, so it is
// resolve() that finds out.
struct Preset {
  std::optional<Engine> engine;
  std::uint32_t rank = 0;   // counted from 0, as the engines count
  std::uint32_t ranks = 1;  // of one model in the pipeline; 1: the engine runs on one machine
  // Relative memory of each rank's machine, by rank. Empty: the engine's own split of equal ones.
  std::vector<std::uint64_t> weights;

  bool empty() const { return !engine && ranks == 1 && rank == 0 && weights.empty(); }
  friend bool operator==(const Preset&, const Preset&) = default;
};

// A union of parts (layers, stages, tensors, stacks, files, an engine's preset), narrowed by
// filters (experts, slices, excludes). With neither it means every file of the model. Stacks named
// without layers or stages come whole, beside the tensors that globs name; files named alone bring
// no tensors. Filters without a part narrow all tensors. Every part brings the configuration and
// the small files (see resolve).
struct Selection {
  std::vector<LayerRange> layers;
  std::vector<Stage> stages;
  std::vector<std::string> tensors;  // globs over tensor names: * ? [set]; alone they bring no
                                     // other tensor; of a component's: "vae/" and the name
  std::vector<std::string> stacks;   // what layers and stages count in; none: the main stack
  std::vector<ExpertRange> experts;  // of experts' tensors only these
  std::vector<Slice> slices;
  std::vector<std::string> excludes;  // globs over tensor names: these not
  std::vector<std::string> files;     // globs over paths, beside the small ones: '*' crosses '/'
  SharedTensors shared = SharedTensors::kEdges;
  Preset preset;

  bool filtered() const { return !experts.empty() || !slices.empty() || !excludes.empty(); }
  // Whether it has a part that names tensors.
  bool names_tensors() const {
    return !layers.empty() || !stages.empty() || !tensors.empty() || !stacks.empty() ||
           !preset.empty();
  }
  // Every file of the model.
  bool whole() const { return !names_tensors() && !filtered() && files.empty(); }
  friend bool operator==(const Selection&, const Selection&) = default;
};

// "8-15" or "7". kUsage with an example otherwise.
Result<LayerRange> parse_layer_range(std::string_view text);
Result<ExpertRange> parse_expert_range(std::string_view text);
// "2/4". kUsage unless 1 <= K <= N.
Result<Stage> parse_stage(std::string_view text);
// "*.q_proj.weight:0/2". kUsage unless R < N.
Result<Slice> parse_slice(std::string_view text);

// Shell-style match over the whole text; '*' matches any run, also of '.' and '/'.
bool glob_match(std::string_view pattern, std::string_view text);

// Why a selection that is not the whole model left a file out.
enum class WhyLeftOut : std::uint8_t {
  kOtherFormat,  // weights of another format than safetensors
  kLarge,        // larger than limits::kSmallFileBytesMax and not configuration by its name
  kSecondCopy,   // safetensors that the index beside them does not name
  kComponent,    // safetensors of a component of which no part names a tensor
};

struct LeftOutFile {
  FileIndex file;
  WhyLeftOut why = WhyLeftOut::kOtherFormat;
  friend bool operator==(const LeftOutFile&, const LeftOutFile&) = default;
};

// A selection applied to a model.
struct ResolvedSelection {
  TensorSet tensors;        // of kTensors files
  PieceSet pieces;          // every piece with a byte of these; size: manifest.piece_count()
  std::vector<bool> files;  // by FileIndex: has something selected, even with no pieces
  std::uint64_t bytes = 0;  // of the selected rows and plain files: at most that of the pieces
  bool everything = false;  // each kTensors file is wanted whole, whatever else is left out
  // Files that a part does not bring for reasons of their own, by path. What is not here because
  // its layers were not asked for is not among them. Empty for the whole model.
  std::vector<LeftOutFile> left_out;
  // What was resolved, a preset written out as the layers and tensors that it stands for. This form
  // is kept on disk: it says what was fetched whatever rule an engine has later.
  Selection parts;
  // How the preset's engine is told to split the layers so, where it would not by itself:
  // "VLLM_PP_LAYER_PARTITION=16,8,4". Empty when there is nothing to tell.
  std::string engine_setting;
};

// Files whose header resolve() needs: all kTensors files, and the kSpareTensors ones that come (all
// of them with the whole model, else those named by a glob).
std::vector<FileIndex> headers_needed(const Selection& selection, const ManifestRoot& root);

// Layer ranges of stages 1..count of a stack: contiguous, the largest stage's bytes as small as
// possible (tensors outside counted with their side), on ties the earlier stage gets more. kUsage
// if count exceeds the layers.
Result<std::vector<LayerRange>> split_stages(const Stack& stack, std::uint32_t count);

// REQUIRES: the headers of headers_needed() are there. kUsage, naming what the model has (valid
// ranges, stacks, experts, divisors), when a part of the selection matches nothing, lies outside
// the model, contradicts another part, or leaves nothing; or when a glob is not UTF-8.
// The last stage of a stack brings the MTP layers behind it, a layer range those it names; they
// bring the embedding and head that they read. Other components come when named, or with the whole
// model. Tensors files that a file glob names come whole: filters do not apply to them.
// The whole model brings every file. A part brings, beside its tensors, the configuration, the
// small files that are not weights of another format (file_roles.h), and the files that a glob
// names.
Result<ResolvedSelection> resolve(const Selection& selection, const Manifest& manifest,
                                  const Outline& outline);
// The same for rows that are known already, with these files beside the small ones. kUsage also for
// rows that the model has not. Any order, overlaps allowed.
Result<ResolvedSelection> resolve_tensors(const TensorSet& tensors,
                                          const std::vector<std::string>& files,
                                          const Manifest& manifest);

}  // namespace shardswarm
