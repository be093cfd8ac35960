#include "simulator/scenario_checkpoint.h"

#include <utility>
#include <vector>

#include "base/limits.h"
#include "piece/tiling.h"
#include "simulator/model.h"
#include "storage/model_files.h"

namespace shardswarm::sim {
namespace {

FileShape shape_of(ModelFile& found) {
  FileShape file{.path = found.path,
                 .bytes = found.identity.size,
                 .kind = found.kind,
                 .header = std::move(found.header),
                 .pieces = 0};
  if (file.kind == FileKind::kPlain) {
    file.pieces = tile_bytes(file.bytes).pieces();
    return file;
  }
  for (const TensorInfo& tensor : found.tensors) {
    file.pieces += tile_tensor(tensor.dtype, tensor.shape).pieces();
  }
  return file;
}

}  // namespace

Result<std::shared_ptr<const Manifest>> read_checkpoint(const std::filesystem::path& directory) {
  auto found = find_model_files(directory);
  if (!found) return std::unexpected(found.error());
  std::vector<FileShape> files;
  std::uint64_t pieces = 0;
  for (ModelFile& each : found->files) {
    files.push_back(shape_of(each));
    pieces += files.back().pieces;
    if (pieces > limits::kPiecesMax) return fail(Errc::kLimit, "it has too many pieces");
  }
  if (pieces == 0) return fail(Errc::kMalformed, directory.string() + " has no bytes");
  return make_manifest(files);
}

}  // namespace shardswarm::sim
