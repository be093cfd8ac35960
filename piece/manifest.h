// The manifest of a model, two levels: a small root and, per file, content-addressed blobs (the
// safetensors header, the piece list). Encoding and worked example: spec/manifest.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "piece/digest.h"
#include "piece/safetensors.h"
#include "piece/tiling.h"

namespace shardswarm {

using Blob = std::shared_ptr<const std::vector<std::byte>>;

enum class FileKind : std::uint8_t {
  kPlain = 0,         // cut at multiples of 1 MiB
  kTensors = 1,       // safetensors that hold the model's tensors
  kSpareTensors = 2,  // safetensors with another copy of the weights, by the index beside them or
                      // by their names: tiled by tensor for reuse, selected like a plain file
};

struct FileEntry {
  std::string path;  // relative, any bytes, '/'-separated, strict (see check_path)
  std::uint64_t size = 0;
  FileKind kind = FileKind::kPlain;
  std::uint64_t header_bytes = 0;  // 8 + JSON; 0 for plain files
  Digest header_digest;            // SHA-256 of these bytes; zero for plain files
  std::uint32_t pieces = 0;        // stated so that pieces are numbered from the root alone
  Digest piece_list_digest;        // SHA-256 of the concatenated digests; of nothing if no pieces
  // Of a kTensors file: tensors that another file of the folder holds for the model. They are moved
  // and verified with the file, and no selection means them.
  std::vector<TensorIndex> copies;  // ascending

  friend bool operator==(const FileEntry&, const FileEntry&) = default;
};

struct ManifestRoot {
  std::uint32_t tiling_version = kTilingVersion;
  std::vector<FileEntry> files;  // sorted by path bytes, unique

  friend bool operator==(const ManifestRoot&, const ManifestRoot&) = default;
};

// Relative, no NUL, no empty component, none that begins with '.', at most kPathBytesMax bytes. All
// other bytes that a file's name may have on UNIX are fine: line feeds, backslashes, what is not
// UTF-8. Who shows a path escapes it (base/text.h).
Result<void> check_path(std::string_view path);

// "vae/" of "vae/x.safetensors"; "" of a path without a folder.
inline std::string_view folder_of(std::string_view path) {
  return path.substr(0, path.rfind('/') + 1);
}

// Canonical bytes of a root. kMalformed/kLimit if `root` breaks a rule that decode would refuse.
Result<std::vector<std::byte>> encode_root(const ManifestRoot& root);
// Refuses any bytes that encode_root would not have made.
Result<ManifestRoot> decode_root(std::span<const std::byte> bytes);

// Where a piece lies in the original file.
struct PieceExtent {
  FileIndex file;
  std::uint64_t offset = 0;  // from the start of the file
  std::uint32_t length = 0;  // 1 .. kPieceBytesMax
};

// A tensor of a file with its pieces.
struct TensorEntry {
  TensorInfo info;
  Tiling tiling;
  PieceIndex first_piece;  // within the model
  std::uint32_t pieces = 0;
};

// What is known of a model: always the root, blobs as they come. Not thread-safe while blobs are
// added; const access from several threads afterwards is fine.
class Manifest {
 public:
  // kMalformed, kLimit, or kVersion for an unknown tiling version.
  static Result<Manifest> from_root(std::span<const std::byte> root_bytes);

  const ModelId& id() const { return id_; }
  const ManifestRoot& root() const { return root_; }
  const Blob& root_blob() const { return root_blob_; }
  std::uint32_t file_count() const { return static_cast<std::uint32_t>(root_.files.size()); }
  std::uint32_t piece_count() const { return piece_count_; }
  std::uint64_t total_bytes() const { return total_bytes_; }  // of all files
  std::uint64_t data_bytes() const { return data_bytes_; }    // of all pieces: without headers
  const FileEntry& file(FileIndex file) const { return root_.files[file.value]; }
  std::optional<FileIndex> find_file(std::string_view path) const;

  // Pieces of a file: [first_piece, first_piece + file().pieces).
  PieceIndex first_piece(FileIndex file) const { return PieceIndex(first_piece_[file.value]); }
  FileIndex file_of(PieceIndex piece) const;

  // Blobs. add_header checks the digest (kCorrupt), the format, that header and tensors fill the
  // file, and that the tiling gives as many pieces as the root says (kMalformed). Errors name the
  // file. Adding twice is harmless.
  Result<void> add_header(FileIndex file, Blob bytes);
  Result<void> add_piece_list(FileIndex file, Blob bytes);
  bool needs_header(FileIndex file) const;      // tensors file whose header is not there yet
  bool needs_piece_list(FileIndex file) const;  // has pieces, list not there yet
  Blob header_blob(FileIndex file) const;       // null if plain or not there
  Blob piece_list_blob(FileIndex file) const;   // null if not there
  // The blob with this digest if it is here (root, header or piece list), else null.
  Blob find_blob(const Digest& digest) const;
  bool is_piece_list(const Digest& digest) const;  // of a file, whether or not it is here

  // REQUIRES: !needs_header(file_of(piece)).
  PieceExtent extent(PieceIndex piece) const;
  // REQUIRES: !needs_piece_list(file_of(piece)).
  Digest digest(PieceIndex piece) const;
  // Tensors by offset; empty for plain files. REQUIRES: !needs_header(file).
  std::span<const TensorEntry> tensors(FileIndex file) const;
  // Whether another file of the folder holds this tensor for the model (FileEntry::copies).
  bool is_copy(FileIndex file, TensorIndex tensor) const;
  // The tensor that this piece is part of; nothing for pieces of plain files.
  // REQUIRES: !needs_header(file_of(piece)).
  std::optional<TensorIndex> tensor_of(PieceIndex piece) const;
  // Entries of the header's __metadata__. REQUIRES: !needs_header(file).
  std::span<const std::pair<std::string, std::string>> metadata(FileIndex file) const;

 private:
  struct FileState {
    Blob header;
    Blob piece_list;
    std::vector<TensorEntry> tensors;
    std::vector<std::pair<std::string, std::string>> metadata;
  };

  ModelId id_;
  Blob root_blob_;
  ManifestRoot root_;
  std::uint32_t piece_count_ = 0;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t data_bytes_ = 0;
  std::vector<std::uint32_t> first_piece_;  // one more than files: the last is piece_count_
  std::vector<FileState> files_;
};

}  // namespace shardswarm
