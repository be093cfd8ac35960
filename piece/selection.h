// What a node wants of a model, and what that means in pieces.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "piece/manifest.h"
#include "piece/outline.h"
#include "piece/piece_set.h"

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

// Policy for tensors outside the main stack, with layers and stages.
enum class SharedTensors : std::uint8_t {
  kEdges,  // input side with the first layer, output side with the last, tied with both, unknown
           // ones with everybody
  kAll,    // all of them with any layer (engines that want embedding and head on every rank)
};

// A union of its parts; with no layers, stages and tensors it means the whole model. Every
// selection brings the small plain files (see resolve).
struct Selection {
  std::vector<LayerRange> layers;
  std::vector<Stage> stages;
  std::vector<std::string> tensors;  // globs over tensor names: * ? [set]; alone they bring no
                                     // other tensor
  std::vector<std::string> files;    // globs over paths, beside the small ones: '*' crosses '/'
  SharedTensors shared = SharedTensors::kEdges;

  bool whole() const { return layers.empty() && stages.empty() && tensors.empty(); }
  friend bool operator==(const Selection&, const Selection&) = default;
};

// "8-15" or "7". kUsage with an example otherwise.
Result<LayerRange> parse_layer_range(std::string_view text);
// "2/4". kUsage unless 1 <= K <= N.
Result<Stage> parse_stage(std::string_view text);
// One line, as the command line would take it: "--layers 8-15 --shared all"; "everything".
std::string describe(const Selection& selection);

// Shell-style match over the whole text; '*' matches any run, also of '.' and '/'.
bool glob_match(std::string_view pattern, std::string_view text);

// A selection applied to a model.
struct ResolvedSelection {
  PieceSet pieces;          // size: manifest.piece_count()
  std::vector<bool> files;  // by FileIndex: to be made, even with no pieces (empty files)
  std::uint64_t bytes = 0;  // of the selected tensors and plain files
  std::uint32_t tensors = 0;
  bool everything = false;  // each file of the model is wanted whole
};

// Files whose header resolve() needs: all kTensors files, and kSpareTensors ones named by a glob.
std::vector<FileIndex> headers_needed(const Selection& selection, const ManifestRoot& root);

// Layer ranges of stages 1..count: contiguous, the largest stage's bytes as small as possible
// (tensors outside counted with their side), on ties the earlier stage gets more. kUsage if count
// exceeds the layers.
Result<std::vector<LayerRange>> split_stages(const Outline& outline, std::uint32_t count);

// REQUIRES: the headers of headers_needed() are there. kUsage, naming what the model has (valid
// range, stacks), when a part of the selection matches nothing or lies outside the model.
// Beside the tensors it brings every plain file of at most kSmallFileBytesMax that is not weights
// of another format (*.bin *.pt *.pth *.gguf *.onnx *.h5 *.msgpack *.npz), and those that a file
// glob names.
Result<ResolvedSelection> resolve(const Selection& selection, const Manifest& manifest,
                                  const Outline& outline);

}  // namespace shardswarm
