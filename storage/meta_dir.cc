#include "storage/meta_dir.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "storage/indexer.h"
#include "storage/ledger.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

fs::path blob_path(const fs::path& meta, const Digest& digest) {
  return meta / "blobs" / to_hex(digest);
}

Result<void> save_blob(const fs::path& meta, const Digest& digest, const Blob& blob) {
  if (!blob) return {};
  const fs::path path = blob_path(meta, digest);
  const auto kept = read_small_file(path, blob->size());
  if (kept && *kept == *blob) return {};
  return replace_file(path, *blob);
}

Result<void> make_directories(const fs::path& path) {
  std::error_code ec;
  fs::create_directories(path, ec);
  if (ec) return fail_errno(ec.value(), "cannot make folder " + path.string());
  return {};
}

Blob load_blob(const fs::path& meta, const Digest& digest, std::uint64_t bytes) {
  auto content = read_small_file(blob_path(meta, digest), bytes);
  if (!content || content->size() != bytes) return nullptr;
  return std::make_shared<const std::vector<std::byte>>(std::move(*content));
}

}  // namespace

Result<void> save_manifest(const fs::path& meta, const Manifest& manifest) {
  if (auto made = make_directories(meta / "blobs"); !made) return made;
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const FileEntry& file = manifest.file(FileIndex(i));
    auto saved = save_blob(meta, file.header_digest, manifest.header_blob(FileIndex(i)));
    if (saved) {
      saved = save_blob(meta, file.piece_list_digest, manifest.piece_list_blob(FileIndex(i)));
    }
    if (!saved) return saved;
  }
  // The root last: where it stands, the rest does too.
  std::error_code ec;
  if (fs::exists(meta / "root", ec)) return {};
  return replace_file(meta / "root", *manifest.root_blob());
}

Result<Manifest> load_root(const fs::path& meta) {
  const auto root = read_small_file(meta / "root", limits::kRootBytesMax);
  if (!root) return std::unexpected(root.error());
  auto manifest = Manifest::from_root(*root);
  if (!manifest) {
    return fail(manifest.error().code, (meta / "root").string() + ": " + manifest.error().message);
  }
  return manifest;
}

std::uint32_t kept_pieces(const fs::path& meta, const Manifest& root) {
  std::uint32_t pieces = 0;
  for (const FileEntry& file : root.root().files) {
    if (file.pieces == 0) continue;
    std::error_code ec;
    const auto bytes = fs::file_size(blob_path(meta, file.piece_list_digest), ec);
    if (!ec && bytes == std::uint64_t{file.pieces} * sizeof(Digest)) pieces += file.pieces;
  }
  return pieces;
}

Result<std::shared_ptr<Manifest>> load_manifest_from(const fs::path& meta) {
  auto manifest = load_root(meta);
  if (!manifest) return std::unexpected(manifest.error());
  auto shared = std::make_shared<Manifest>(std::move(*manifest));
  for (std::uint32_t i = 0; i < shared->file_count(); ++i) {
    const FileIndex index(i);
    const FileEntry& file = shared->file(index);
    if (shared->needs_header(index)) {
      if (auto blob = load_blob(meta, file.header_digest, file.header_bytes)) {
        (void)shared->add_header(index, std::move(blob));  // a wrong one counts as missing
      }
    }
    if (shared->needs_piece_list(index)) {
      const std::uint64_t bytes = std::uint64_t{file.pieces} * sizeof(Digest);
      if (auto blob = load_blob(meta, file.piece_list_digest, bytes)) {
        (void)shared->add_piece_list(index, std::move(blob));
      }
    }
  }
  return shared;
}

fs::path model_meta_dir(const fs::path& state, const ModelId& id) {
  return state / "models" / to_hex(id);
}

Result<fs::path> directory_ledger(const fs::path& state, const fs::path& directory) {
  std::error_code ec;
  const fs::path canonical = fs::canonical(directory, ec);
  if (ec) return fail_errno(ec.value(), "cannot open " + directory.string());
  const std::string text = canonical.string();
  return state / "directories" / to_hex(sha256(std::as_bytes(std::span(text))));
}

Result<DirectoryRecord> find_record(const fs::path& directory, const fs::path& state) {
  std::error_code ec;
  if (!fs::is_directory(directory, ec)) {
    const std::string name = printable(directory.string());
    if (ec) return fail(Errc::kNotFound, name + " does not exist");
    return fail(Errc::kNotFound, name + " is not a directory");
  }
  const fs::path own = directory / kMetaDirName;
  if (fs::exists(own / "root", ec)) return DirectoryRecord{own, own / "ledger", true};
  const auto ledger = directory_ledger(state, directory);
  if (!ledger) return std::unexpected(ledger.error());
  const auto head = Ledger::read_head(*ledger);
  if (!head) {
    return fail(Errc::kNotFound, directory.string() +
                                     " was not indexed yet: run `shardswarm index " +
                                     directory.string() + "`");
  }
  return DirectoryRecord{model_meta_dir(state, head->model), *ledger, false};
}

Result<std::shared_ptr<const Manifest>> load_manifest(const fs::path& state, const ModelId& id) {
  auto manifest = load_manifest_from(model_meta_dir(state, id));
  if (!manifest) return std::unexpected(manifest.error());
  if ((*manifest)->id() != id) {
    return fail(Errc::kCorrupt,
                "the state directory's manifest of " + to_hex(id) + " is another's");
  }
  return *manifest;
}

}  // namespace shardswarm
