// The model of a scenario: a real manifest of content that does not exist.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "piece/manifest.h"
#include "simulator/scenario.h"

namespace shardswarm::sim {

// "config.json" and one tensors file: an embedding, a head, and the other tensors spread evenly
// over the layers ("model.layers.N.wK"). A tensor is eight rows, each a piece (one row if eight
// would fit into one piece). Headers and root are real; the digests of pieces are derived from
// their number, nothing has them. Of a shape with a checkpoint, that.
std::shared_ptr<const Manifest> make_manifest(const ModelShape& shape);

// A file of a model: with a header its tensors lie behind it.
struct FileShape {
  std::string path;
  std::uint64_t bytes = 0;
  FileKind kind = FileKind::kPlain;
  Blob header;
  std::uint64_t pieces = 0;
};

// The same of these files, which are in order. Errors as of Manifest.
Result<std::shared_ptr<const Manifest>> make_manifest(std::span<const FileShape> files);

}  // namespace shardswarm::sim
