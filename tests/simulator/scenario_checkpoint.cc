#include "simulator/scenario_checkpoint.h"

#include <fstream>
#include <vector>

#include "piece/limits.h"
#include "piece/tiling.h"
#include "simulator/model.h"
#include "storage/index_walk.h"

namespace shardswarm::sim {
namespace {

Result<Blob> read_header(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(Errc::kIo, "cannot be opened");
  std::vector<char> bytes(8);
  in.read(bytes.data(), 8);
  const auto length = safetensors_header_bytes(
      std::as_bytes(std::span(bytes).first(static_cast<std::size_t>(in.gcount()))));
  if (!length) return std::unexpected(length.error());
  bytes.resize(*length);
  in.read(bytes.data() + 8, static_cast<std::streamsize>(*length - 8));
  if (!in) return fail(Errc::kMalformed, "ends within its header");
  const auto read = std::as_bytes(std::span(bytes));
  return std::make_shared<const std::vector<std::byte>>(read.begin(), read.end());
}

Result<FileShape> shape_of(const WalkedFile& walked) {
  FileShape file{.path = walked.path, .bytes = 0, .kind = walked.kind, .header = {}, .pieces = 0};
  std::error_code error;
  file.bytes = std::filesystem::file_size(walked.location, error);
  if (error) return fail(Errc::kIo, error.message());
  if (walked.kind == FileKind::kPlain) {
    file.pieces = tile_bytes(file.bytes).pieces();
    return file;
  }
  auto header = read_header(walked.location);
  if (!header) return std::unexpected(header.error());
  file.header = std::move(*header);
  const auto parsed = parse_safetensors_header(*file.header);
  if (!parsed) return std::unexpected(parsed.error());
  if (file.header->size() + parsed->data_bytes != file.bytes) {
    return fail(Errc::kMalformed, "is not as long as its header says");
  }
  for (const TensorInfo& tensor : parsed->tensors) {
    file.pieces += tile_tensor(tensor.dtype, tensor.shape).pieces();
  }
  return file;
}

}  // namespace

Result<std::shared_ptr<const Manifest>> read_checkpoint(const std::filesystem::path& directory) {
  const auto walked = walk_model(directory);
  if (!walked) return std::unexpected(walked.error());
  std::vector<FileShape> files;
  std::uint64_t pieces = 0;
  for (const WalkedFile& each : *walked) {
    auto file = shape_of(each);
    if (!file) return fail(file.error().code, each.location.string() + ": " + file.error().message);
    pieces += file->pieces;
    if (pieces > limits::kPiecesMax) return fail(Errc::kLimit, "it has too many pieces");
    files.push_back(std::move(*file));
  }
  if (pieces == 0) return fail(Errc::kMalformed, directory.string() + " has no bytes");
  return make_manifest(files);
}

}  // namespace shardswarm::sim
