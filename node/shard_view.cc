#include "node/shard_view.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "base/limits.h"
#include "piece/manifest.h"
#include "storage/blocking.h"
#include "storage/compact_files.h"
#include "storage/convert.h"
#include "storage/ledger.h"
#include "storage/meta_dir.h"
#include "storage/model_files.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kShardJsonBytesMax = 256 * limits::kMiB;

// The paths that a shard.json names, if it is complete.
Result<std::vector<std::string>> promised_files(const fs::path& directory) {
  const fs::path path = directory / kShardFileName;
  const auto bytes = read_small_file(path, kShardJsonBytesMax);
  if (!bytes) {
    return fail(bytes.error().code,
                directory.string() + " is not a complete shard yet: " + bytes.error().message);
  }
  const auto json = nlohmann::json::parse(
      reinterpret_cast<const char*>(bytes->data()),
      reinterpret_cast<const char*>(bytes->data()) + bytes->size(), nullptr, false);
  const auto bad = [&] {
    return fail(Errc::kMalformed, path.string() + " is not a valid shard.json");
  };
  if (!json.is_object() || !json.contains("complete") || !json["complete"].is_boolean() ||
      !json.contains("files") || !json["files"].is_array()) {
    return bad();
  }
  if (!json["complete"].get<bool>()) {
    return fail(Errc::kNotFound,
                directory.string() + " is not complete: fetch it again to mend it");
  }
  std::vector<std::string> paths;
  for (const auto& file : json["files"]) {
    if (!file.is_object() || !file.contains("path") || !file["path"].is_string()) return bad();
    paths.push_back(file["path"].get<std::string>());
    if (!check_path(paths.back())) return bad();
  }
  return paths;
}

}  // namespace

// One file, mapped whole.
class ShardView::Mapping {
 public:
  static Result<std::shared_ptr<const Mapping>> open(const fs::path& path) {
    auto fd = open_for_reading(path);
    if (!fd) return std::unexpected(fd.error());
    const auto identity = identity_of(fd->get(), path.string());
    if (!identity) return std::unexpected(identity.error());
    auto mapping = std::make_shared<Mapping>();
    mapping->size_ = identity->size;
    if (mapping->size_ > 0) {
      mapping->data_ = ::mmap(nullptr, mapping->size_, PROT_READ, MAP_SHARED, fd->get(), 0);
      if (mapping->data_ == MAP_FAILED) {
        mapping->data_ = nullptr;
        return fail_errno(errno, "cannot map " + path.string());
      }
    }
    return mapping;
  }
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }
  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

class ShardView::Opener {
 public:
  explicit Opener(fs::path directory) : directory_(std::move(directory)) {}

  Result<ShardView> run() {
    std::error_code ec;
    const fs::path meta = directory_ / kMetaDirName;
    Result<void> added;
    if (conversion_is_due(directory_)) {
      return fail(Errc::kBusy, directory_.string() +
                                   " is being converted: any shardswarm command on the directory "
                                   "completes that, `shardswarm verify` for one");
    }
    if (!fs::exists(meta / "root", ec)) {
      added = fs::exists(directory_ / kShardFileName, ec) ? add_promised() : add_walked();
    } else if (const auto head = Ledger::read_head(meta / "ledger"); !head) {
      return std::unexpected(head.error());
    } else {
      added = head->layout == Layout::kCompact ? add_promised() : add_verified();
    }
    if (!added) return std::unexpected(added.error());
    return std::move(view_);
  }

 private:
  Result<void> add_promised() {
    const auto paths = promised_files(directory_);
    if (!paths) return std::unexpected(paths.error());
    for (const std::string& path : *paths) {
      if (auto added = add_file(path); !added) return added;
    }
    return {};
  }

  Result<void> add_walked() {
    const auto found = find_model_files(directory_);
    if (!found) return std::unexpected(found.error());
    for (const ModelFile& file : found->files) {
      if (file.kind != FileKind::kTensors) continue;
      const auto mapping = map(file.path);
      if (!mapping) return std::unexpected(mapping.error());
      for (std::uint32_t t = 0; t < file.tensors.size(); ++t) {
        if (std::ranges::binary_search(file.copies, TensorIndex(t))) continue;
        auto added = add(file.path, file.tensors[t], file.header->size(), **mapping);
        if (!added) return added;
      }
    }
    return {};
  }

  // What the ledger vouches for; holes of a mirror are left out, and so is what stands under a
  // name of the model without a verified piece: it may be anything.
  Result<void> add_verified() {
    BlockingStorage storage(1);
    std::vector<std::string> warnings;
    const auto store =
        Store::open_source(storage.environment(), {.directory = directory_}, warnings);
    if (!store) return std::unexpected(store.error());
    const Manifest& manifest = (*store)->manifest();
    for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
      const FileEntry& file = manifest.file(FileIndex(i));
      if (file.kind != FileKind::kTensors || !has_any((*store)->have(), manifest, FileIndex(i))) {
        continue;
      }
      std::error_code ec;
      if (!fs::exists(directory_ / file.path, ec)) continue;  // not under its name yet
      const auto mapping = map(file.path);
      if (!mapping) return std::unexpected(mapping.error());
      const auto tensors = manifest.tensors(FileIndex(i));
      for (std::uint32_t t = 0; t < tensors.size(); ++t) {
        if (manifest.is_copy(FileIndex(i), TensorIndex(t))) continue;
        const TensorEntry& tensor = tensors[t];
        // A tensor without bytes may stand behind the end of a file that was cut off.
        bool here = file.header_bytes + tensor.info.end <= (*mapping)->bytes().size();
        for (std::uint32_t p = 0; p < tensor.pieces && here; ++p) {
          here = (*store)->have().contains(PieceIndex(tensor.first_piece.value + p));
        }
        if (!here) continue;
        if (auto added = add(file.path, tensor.info, file.header_bytes, **mapping); !added) {
          return added;
        }
      }
    }
    return {};
  }

  static bool has_any(const PieceSet& have, const Manifest& manifest, FileIndex file) {
    const PieceIndex first = manifest.first_piece(file);
    if (manifest.file(file).pieces == 0) return false;
    const auto next = have.next(first);
    return next && next->value < first.value + manifest.file(file).pieces;
  }

  Result<void> add_file(const std::string& path) {
    const auto mapping = map(path);
    if (!mapping) return std::unexpected(mapping.error());
    const auto bytes = (*mapping)->bytes();
    const auto named = [&](const Error& error) {
      return fail(error.code, (directory_ / path).string() + ": " + error.message);
    };
    const auto length = safetensors_header_bytes(bytes);
    if (!length) return named(length.error());
    if (*length > bytes.size()) return named({Errc::kMalformed, "the file ends in its header"});
    const auto header = parse_safetensors_header(bytes.first(*length));
    if (!header) return named(header.error());
    if (header->header_bytes + header->data_bytes != bytes.size()) {
      return named({Errc::kMalformed, "its tensors do not fill the file"});
    }
    for (const TensorInfo& info : header->tensors) {
      if (auto added = add(path, info, header->header_bytes, **mapping); !added) return added;
    }
    return {};
  }

  Result<std::shared_ptr<const Mapping>> map(const std::string& path) {
    auto mapping = Mapping::open(directory_ / path);
    if (mapping) view_.mappings_.push_back(*mapping);
    return mapping;
  }

  Result<void> add(const std::string& path, const TensorInfo& info, std::uint64_t header_bytes,
                   const Mapping& mapping) {
    const auto bytes = mapping.bytes();
    if (header_bytes + info.end > bytes.size()) {
      return fail(Errc::kMalformed, (directory_ / path).string() + " ends before tensor '" +
                                        info.name.substr(0, 200) + "' does");
    }
    const auto [at, fresh] = view_.tensors_.try_emplace(
        std::string(folder_of(path)) + info.name,
        TensorView{.dtype = info.dtype,
                   .shape = info.shape,
                   .bytes = bytes.subspan(header_bytes + info.begin, info.bytes()),
                   .file = directory_ / path});
    if (!fresh) {
      return fail(Errc::kMalformed, "tensor '" + info.name.substr(0, 200) + "' stands in " +
                                        at->second.file.string() + " and in " +
                                        (directory_ / path).string());
    }
    return {};
  }

  fs::path directory_;
  ShardView view_;
};

Result<ShardView> ShardView::open(const fs::path& directory) { return Opener(directory).run(); }

const TensorView* ShardView::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace shardswarm
