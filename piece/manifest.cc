#include "piece/manifest.h"

#include <algorithm>
#include <cassert>
#include <set>
#include <utility>

#include "base/limits.h"
#include "base/text.h"
#include "proto/manifest.pb.h"

namespace shardswarm {
namespace {

std::unexpected<Error> bad(const FileEntry& file, std::string_view why) {
  return fail(Errc::kMalformed, "file " + shown(file.path) + ": " + std::string(why));
}

// Ascending, of a file that has tensors; that the file has these is seen when its header comes.
Result<void> check_copies(const FileEntry& file) {
  if (file.copies.empty()) return {};
  if (file.kind != FileKind::kTensors) return bad(file, "copies in a file of another kind");
  if (file.copies.back().value >= limits::kTensorsMax) return bad(file, "impossible copies");
  const auto disorder = std::ranges::adjacent_find(
      file.copies, [](TensorIndex a, TensorIndex b) { return a.value >= b.value; });
  if (disorder != file.copies.end()) return bad(file, "copies are not in ascending order");
  return {};
}

Result<void> check_file(const FileEntry& file) {
  if (auto path = check_path(file.path); !path) return path;
  if (file.size > limits::kFileBytesMax)
    return fail(Errc::kLimit, "file " + shown(file.path) + " is too large");
  if (file.kind > FileKind::kSpareTensors) return bad(file, "an unknown kind of file");
  if (auto copies = check_copies(file); !copies) return copies;
  if (file.kind == FileKind::kPlain) {
    if (file.header_bytes != 0 || file.header_digest != Digest{}) {
      return bad(file, "a plain file with a safetensors header");
    }
    if (file.pieces != tile_bytes(file.size).pieces()) {
      return bad(file, "its number of pieces does not follow from its size");
    }
  } else if (file.header_bytes < 10 || file.header_bytes > limits::kHeaderBytesMax ||
             file.header_bytes > file.size) {
    return bad(file, "impossible header length");
  } else if (file.size - file.header_bytes > file.pieces * limits::kPieceBytesMax) {
    // Also bounds the sum of all files: 2^24 pieces are at most 2^44 bytes.
    return bad(file, "more bytes than its pieces can hold");
  }
  if (file.pieces == 0 && file.piece_list_digest != sha256({})) {
    return bad(file, "no pieces, but a piece list");
  }
  return {};
}

Result<void> check_version(std::uint32_t version) {
  if (version == kTilingVersion) return {};
  return fail(Errc::kVersion, "the manifest uses tiling version " + std::to_string(version) +
                                  "; this program knows " + std::to_string(kTilingVersion));
}

Result<void> check_root(const ManifestRoot& root) {
  if (auto known = check_version(root.tiling_version); !known) return known;
  if (root.files.empty()) return fail(Errc::kMalformed, "the manifest names no file");
  if (root.files.size() > limits::kFilesMax)
    return fail(Errc::kLimit, "the manifest names too many files");
  std::uint64_t pieces = 0;
  std::set<std::string_view> folders;
  for (std::size_t i = 0; i < root.files.size(); ++i) {
    const FileEntry& file = root.files[i];
    if (auto checked = check_file(file); !checked) return checked;
    if (i > 0 && root.files[i - 1].path >= file.path) {
      return bad(file, "files are not sorted by path, or one is named twice");
    }
    pieces += file.pieces;
    for (std::size_t slash = file.path.find('/'); slash != std::string::npos;
         slash = file.path.find('/', slash + 1)) {
      folders.insert(std::string_view(file.path).substr(0, slash));
    }
  }
  for (const FileEntry& file : root.files) {
    if (folders.contains(file.path)) return bad(file, "a file and a folder of the same name");
  }
  if (pieces > limits::kPiecesMax) return fail(Errc::kLimit, "the model has too many pieces");
  return {};
}

std::string bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

bool take_digest(const std::string& bytes, Digest& digest) {
  if (bytes.size() != digest.bytes.size()) return false;
  std::copy_n(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size(), digest.bytes.begin());
  return true;
}

// Protobuf's C++ writer emits fields by number and leaves defaults out; with no maps and no unknown
// fields the bytes are a function of the content (MAN rules of spec/manifest.md).
std::vector<std::byte> serialize(const ManifestRoot& root) {
  proto::ManifestRoot message;
  message.set_tiling_version(root.tiling_version);
  for (const FileEntry& file : root.files) {
    proto::ManifestFile& entry = *message.add_files();
    entry.set_path(file.path);
    entry.set_size(file.size);
    entry.set_kind(static_cast<std::uint32_t>(file.kind));
    entry.set_header_bytes(file.header_bytes);
    if (file.kind != FileKind::kPlain) entry.set_header_digest(bytes_of(file.header_digest));
    entry.set_pieces(file.pieces);
    entry.set_piece_list_digest(bytes_of(file.piece_list_digest));
    for (const TensorIndex copy : file.copies) entry.add_copies(copy.value);
  }
  const std::string text = message.SerializeAsString();
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

Result<void> check_path(std::string_view path) {
  const auto refuse = [&](std::string_view why) {
    return fail(Errc::kMalformed, "a manifest path " + std::string(why));
  };
  if (path.empty()) return refuse("is empty");
  if (path.size() > limits::kPathBytesMax) return refuse("is too long");
  if (path.find('\0') != std::string_view::npos) return refuse("holds a zero byte");
  for (std::size_t from = 0; from <= path.size();) {
    const std::size_t slash = std::min(path.find('/', from), path.size());
    const std::string_view component = path.substr(from, slash - from);
    if (component.empty()) return refuse("has an empty component");
    if (component.front() == '.') return refuse("has a component that begins with '.'");
    from = slash + 1;
  }
  return {};
}

Result<std::vector<std::byte>> encode_root(const ManifestRoot& root) {
  if (auto checked = check_root(root); !checked) return std::unexpected(checked.error());
  auto bytes = serialize(root);
  if (bytes.size() > limits::kRootBytesMax)
    return fail(Errc::kLimit, "the manifest root is too large");
  return bytes;
}

Result<ManifestRoot> decode_root(std::span<const std::byte> bytes) {
  if (bytes.size() > limits::kRootBytesMax)
    return fail(Errc::kLimit, "the manifest root is too large");
  proto::ManifestRoot message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(Errc::kMalformed, "these bytes are not a manifest root");
  }
  ManifestRoot root;
  root.tiling_version = message.tiling_version();
  // Before the rest, which another version may have changed.
  if (auto known = check_version(root.tiling_version); !known) {
    return std::unexpected(known.error());
  }
  if (static_cast<std::size_t>(message.files_size()) > limits::kFilesMax) {
    return fail(Errc::kLimit, "the manifest names too many files");
  }
  for (const proto::ManifestFile& entry : message.files()) {
    FileEntry file;
    file.path = entry.path();
    file.size = entry.size();
    if (entry.kind() > static_cast<std::uint32_t>(FileKind::kSpareTensors)) {
      return fail(Errc::kMalformed, "the manifest names an unknown kind of file");
    }
    file.kind = static_cast<FileKind>(entry.kind());
    file.header_bytes = entry.header_bytes();
    file.pieces = entry.pieces();
    for (const std::uint32_t copy : entry.copies()) file.copies.emplace_back(copy);
    const bool has_header = file.kind != FileKind::kPlain;
    if (!take_digest(entry.piece_list_digest(), file.piece_list_digest) ||
        (has_header ? !take_digest(entry.header_digest(), file.header_digest)
                    : !entry.header_digest().empty())) {
      return fail(Errc::kMalformed, "a digest of the manifest is missing, or not 32 bytes");
    }
    root.files.push_back(std::move(file));
  }
  if (auto checked = check_root(root); !checked) return std::unexpected(checked.error());
  if (!std::ranges::equal(serialize(root), bytes)) {
    return fail(Errc::kMalformed, "the manifest root is not in its canonical encoding");
  }
  return root;
}

Result<Manifest> Manifest::from_root(std::span<const std::byte> bytes) {
  auto root = decode_root(bytes);
  if (!root) return std::unexpected(root.error());
  Manifest manifest;
  manifest.id_ = sha256(bytes);
  manifest.root_blob_ = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
  manifest.root_ = std::move(*root);
  manifest.files_.resize(manifest.root_.files.size());
  manifest.first_piece_.push_back(0);
  for (const FileEntry& file : manifest.root_.files) {
    manifest.piece_count_ += file.pieces;
    manifest.total_bytes_ += file.size;
    manifest.data_bytes_ += file.size - file.header_bytes;
    manifest.first_piece_.push_back(manifest.piece_count_);
  }
  return manifest;
}

std::optional<FileIndex> Manifest::find_file(std::string_view path) const {
  const auto it = std::ranges::lower_bound(root_.files, path, {}, &FileEntry::path);
  if (it == root_.files.end() || it->path != path) return std::nullopt;
  return FileIndex(static_cast<std::uint32_t>(it - root_.files.begin()));
}

FileIndex Manifest::file_of(PieceIndex piece) const {
  assert(piece.value < piece_count_);
  const auto next = std::ranges::upper_bound(first_piece_, piece.value);
  return FileIndex(static_cast<std::uint32_t>(next - first_piece_.begin()) - 1);
}

Result<void> Manifest::add_header(FileIndex index, Blob bytes) {
  const FileEntry& file = root_.files[index.value];
  FileState& state = files_[index.value];
  if (state.header) return {};
  if (file.kind == FileKind::kPlain) return bad(file, "a plain file has no header");
  if (bytes->size() != file.header_bytes || sha256(*bytes) != file.header_digest) {
    return fail(Errc::kCorrupt,
                "file " + shown(file.path) + ": its header does not match its digest");
  }
  auto header = parse_safetensors_header(*bytes);
  if (!header)
    return fail(header.error().code, "file " + shown(file.path) + ": " + header.error().message);
  if (header->data_bytes != file.size - file.header_bytes) {
    return bad(file, "header and tensors do not fill the file");
  }
  std::vector<TensorEntry> tensors;
  tensors.reserve(header->tensors.size());
  std::uint64_t pieces = 0;
  for (TensorInfo& info : header->tensors) {
    const Tiling tiling = tile_tensor(info.dtype, info.shape);
    const std::uint64_t first = first_piece_[index.value] + pieces;
    pieces += tiling.pieces();
    if (pieces > file.pieces) break;
    tensors.push_back({.info = std::move(info),
                       .tiling = tiling,
                       .first_piece = PieceIndex(static_cast<std::uint32_t>(first)),
                       .pieces = static_cast<std::uint32_t>(tiling.pieces())});
  }
  if (pieces != file.pieces) return bad(file, "its tensors do not make as many pieces as stated");
  if (!file.copies.empty() && file.copies.back().value >= tensors.size()) {
    return bad(file, "more copies than it has tensors");
  }
  state.tensors = std::move(tensors);
  state.metadata = std::move(header->metadata);
  state.header = std::move(bytes);
  return {};
}

Result<void> Manifest::add_piece_list(FileIndex index, Blob bytes) {
  const FileEntry& file = root_.files[index.value];
  FileState& state = files_[index.value];
  if (state.piece_list) return {};
  if (bytes->size() != std::size_t{file.pieces} * sizeof(Digest) ||
      sha256(*bytes) != file.piece_list_digest) {
    return fail(Errc::kCorrupt,
                "file " + shown(file.path) + ": its piece list does not match its digest");
  }
  state.piece_list = std::move(bytes);
  return {};
}

bool Manifest::needs_header(FileIndex file) const {
  return root_.files[file.value].kind != FileKind::kPlain && !files_[file.value].header;
}

bool Manifest::needs_piece_list(FileIndex file) const {
  return root_.files[file.value].pieces > 0 && !files_[file.value].piece_list;
}

Blob Manifest::header_blob(FileIndex file) const { return files_[file.value].header; }

Blob Manifest::piece_list_blob(FileIndex file) const { return files_[file.value].piece_list; }

Blob Manifest::find_blob(const Digest& digest) const {
  if (digest == id_) return root_blob_;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const FileEntry& file = root_.files[i];
    if (files_[i].header && file.header_digest == digest) return files_[i].header;
    if (files_[i].piece_list && file.piece_list_digest == digest) return files_[i].piece_list;
  }
  return nullptr;
}

bool Manifest::is_piece_list(const Digest& digest) const {
  return std::ranges::find(root_.files, digest, &FileEntry::piece_list_digest) != root_.files.end();
}

PieceExtent Manifest::extent(PieceIndex piece) const {
  const FileIndex index = file_of(piece);
  const FileEntry& file = root_.files[index.value];
  const std::uint32_t within = piece.value - first_piece_[index.value];
  if (file.kind == FileKind::kPlain) {
    const Tiling tiling = tile_bytes(file.size);
    return {index, tiling.piece_offset(within), tiling.piece_bytes(within)};
  }
  const TensorEntry& tensor = files_[index.value].tensors[tensor_of(piece)->value];
  const std::uint32_t i = piece.value - tensor.first_piece.value;
  return {index, file.header_bytes + tensor.info.begin + tensor.tiling.piece_offset(i),
          tensor.tiling.piece_bytes(i)};
}

Digest Manifest::digest(PieceIndex piece) const {
  const FileIndex file = file_of(piece);
  const Blob& list = files_[file.value].piece_list;
  assert(list);
  Digest digest;
  const std::size_t at = std::size_t{piece.value - first_piece_[file.value]} * sizeof(Digest);
  std::copy_n(list->begin() + static_cast<std::ptrdiff_t>(at), sizeof(Digest),
              digest.bytes.begin());
  return digest;
}

std::span<const TensorEntry> Manifest::tensors(FileIndex file) const {
  return files_[file.value].tensors;
}

bool Manifest::is_copy(FileIndex file, TensorIndex tensor) const {
  return std::ranges::binary_search(root_.files[file.value].copies, tensor);
}

std::optional<TensorIndex> Manifest::tensor_of(PieceIndex piece) const {
  const FileIndex file = file_of(piece);
  if (root_.files[file.value].kind == FileKind::kPlain) return std::nullopt;
  const auto& tensors = files_[file.value].tensors;
  assert(!tensors.empty());
  // Tensors without bytes share the first piece of their successor: the last one that begins at or
  // before the piece holds it.
  const auto next = std::ranges::upper_bound(tensors, piece, {}, &TensorEntry::first_piece);
  return TensorIndex(static_cast<std::uint32_t>(std::prev(next) - tensors.begin()));
}

std::span<const std::pair<std::string, std::string>> Manifest::metadata(FileIndex file) const {
  return files_[file.value].metadata;
}

}  // namespace shardswarm
