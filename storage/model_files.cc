#include "storage/model_files.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "base/text.h"
#include "storage/file_kinds.h"
#include "storage/index_walk.h"
#include "storage/weight_index.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

using State = FoundWeights::State;

// Pointers have three lines; the specification wants them below this.
constexpr std::uint64_t kPointerBytesMax = 1024;
constexpr std::string_view kPointerBegins = "version https://git-lfs";

// What repositories without safetensors keep their weights in, as far as Git LFS has them.
constexpr std::array<std::string_view, 10> kOtherWeights = {
    ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".onnx_data", ".h5", ".msgpack", ".npz"};

bool is_other_weights(std::string_view path) {
  return std::ranges::any_of(kOtherWeights,
                             [&](std::string_view ending) { return path.ends_with(ending); });
}

bool is_weights(std::string_view path) { return path.ends_with(kTensorsEnding); }

struct NotRead {
  State state = State::kOdd;
  std::string cause;
};

// Reads what a directory holds. Lives for one call, on its caller's thread.
class FileFinder {
 public:
  explicit FileFinder(const fs::path& directory) : directory_(directory) {}

  Result<ModelFiles> run() {
    auto walk = walk_model(directory_);
    if (!walk) return std::unexpected(walk.error());
    unread_ = std::move(walk->unread);
    for (WalkedFile& file : walk->files) {
      if (auto opened = open(std::move(file)); !opened) return std::unexpected(opened.error());
    }
    std::ranges::sort(unread_, {}, &UnreadFile::path);
    for (const UnreadFile& file : unread_) {
      result_.warnings.push_back(shown(file.path) + " " + file.cause + ": it is left out");
    }
    if (auto checked = check_pointers(); !checked) return std::unexpected(checked.error());
    if (auto decided = decide(); !decided) return std::unexpected(decided.error());
    if (result_.files.empty()) {
      return fail(Errc::kNotFound,
                  printable(directory_.string()) + " holds no files that can be read");
    }
    return std::move(result_);
  }

 private:
  Result<void> open(WalkedFile walked) {
    auto fd = open_for_reading(walked.location);
    if (!fd) {
      // Somebody else's, or gone since it was listed. Other errors are the machine's.
      if (fd.error().code != Errc::kPermission && fd.error().code != Errc::kNotFound) {
        return std::unexpected(fd.error());
      }
      unread_.push_back({.path = std::move(walked.path),
                         .cause = fd.error().code == Errc::kPermission
                                      ? "may not be read by this user"
                                      : "is gone"});
      return {};
    }
    const auto identity = identity_of(fd->get(), printable(walked.location.string()));
    if (!identity) return std::unexpected(identity.error());
    if (identity->size > limits::kFileBytesMax) {
      return fail(Errc::kLimit, printable(walked.location.string()) + " is too large");
    }
    ModelFile file{.path = std::move(walked.path),
                   .location = std::move(walked.location),
                   .fd = std::move(*fd),
                   .identity = *identity};
    const auto pointer = is_pointer(file);
    if (!pointer) return std::unexpected(pointer.error());
    pointers_.push_back(*pointer);
    result_.files.push_back(std::move(file));
    return {};
  }

  static Result<bool> is_pointer(const ModelFile& file) {
    if (file.identity.size < kPointerBegins.size() || file.identity.size > kPointerBytesMax) {
      return false;
    }
    std::string begin(kPointerBegins.size(), '\0');
    auto read = read_exactly(file.fd.get(), 0, std::as_writable_bytes(std::span(begin)),
                             printable(file.location.string()));
    if (!read) return std::unexpected(read.error());
    return begin == kPointerBegins;
  }

  // A clone without its large files: of weights in another format than safetensors, which
  // decide_kinds() judges, one that is whole makes the others side files.
  Result<void> check_pointers() {
    std::optional<std::size_t> first;
    bool whole = false;
    for (std::size_t i = 0; i < result_.files.size(); ++i) {
      const std::string& path = result_.files[i].path;
      if (is_weights(path)) {
        whole = true;
      } else if (!pointers_[i]) {
        whole = whole || is_other_weights(path);
      } else {
        if (!first && is_other_weights(path)) first = i;
        result_.warnings.push_back(shown(path) +
                                   " is a Git LFS pointer and is shared as such; `git lfs pull` "
                                   "brings the file");
      }
    }
    if (whole || !first) return {};
    return fail(Errc::kMalformed,
                shown(result_.files[*first].path) +
                    " is a Git LFS pointer in place of the weights, and no other "
                    "weights are there: run `git lfs pull` there, then try again");
  }

  Result<void> decide() {
    std::vector<FoundWeights> found;
    for (std::size_t i = 0; i < result_.files.size(); ++i) {
      if (!is_weights(result_.files[i].path)) continue;
      auto weights = look_at(i);
      if (!weights) return std::unexpected(weights.error());
      found.push_back(std::move(*weights));
    }
    for (const UnreadFile& file : unread_) {
      if (!is_weights(file.path)) continue;
      found.push_back({.path = file.path, .state = State::kAbsent, .cause = file.cause});
    }
    std::ranges::sort(found, {}, &FoundWeights::path);
    auto kinds = decide_kinds(found, read_indexes());
    if (!kinds) {
      return fail(kinds.error().code,
                  printable(directory_.string()) + ": " + kinds.error().message);
    }
    std::ranges::move(kinds->warnings, std::back_inserter(result_.warnings));
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto file =
          std::ranges::lower_bound(result_.files, found[i].path, {}, &ModelFile::path);
      if (file == result_.files.end() || file->path != found[i].path) continue;
      file->kind = kinds->files[i].kind;
      file->copies = std::move(kinds->files[i].copies);
    }
    return {};
  }

  Result<FoundWeights> look_at(std::size_t index) {
    ModelFile& file = result_.files[index];
    FoundWeights found{.path = file.path};
    if (pointers_[index]) {
      found.state = State::kPointer;
      return found;
    }
    const auto wrong = read_header(file);
    if (!wrong) return std::unexpected(wrong.error());
    if (*wrong) {
      found.state = (*wrong)->state;
      found.cause = (*wrong)->cause;
      return found;
    }
    for (const TensorInfo& tensor : file.tensors) found.tensors.emplace_back(tensor.name);
    return found;
  }

  // Why it is not safetensors; nothing when it is.
  static Result<std::optional<NotRead>> read_header(ModelFile& file) {
    const std::string name = printable(file.location.string());
    const std::uint64_t size = file.identity.size;
    const auto not_read = [](State state, std::string cause) {
      return std::optional<NotRead>({.state = state, .cause = std::move(cause)});
    };
    std::array<std::byte, 8> prefix{};
    if (size == 0) return not_read(State::kShort, "the file is empty");
    if (size < prefix.size()) return not_read(State::kShort, "the file ends within its header");
    if (auto read = read_exactly(file.fd.get(), 0, prefix, name); !read) {
      return std::unexpected(read.error());
    }
    const auto length = safetensors_header_bytes(prefix);
    if (!length) return not_read(State::kOdd, length.error().message);
    if (*length > size) return not_read(State::kShort, "the file ends within its header");
    auto bytes = std::make_shared<std::vector<std::byte>>(*length);
    if (auto read = read_exactly(file.fd.get(), 0, *bytes, name); !read) {
      return std::unexpected(read.error());
    }
    auto header = parse_safetensors_header(*bytes);
    if (!header) return not_read(State::kOdd, header.error().message);
    const std::uint64_t end = header->header_bytes + header->data_bytes;
    if (end != size) {
      return not_read(
          end > size ? State::kShort : State::kOdd,
          "its tensors end at " + std::to_string(end) + ", the file at " + std::to_string(size));
    }
    file.header = std::move(bytes);
    file.tensors = std::move(header->tensors);
    return std::nullopt;
  }

  std::vector<FoundIndex> read_indexes() {
    std::vector<FoundIndex> indexes;
    for (const ModelFile& file : result_.files) {
      const std::string_view folder = folder_of(file.path);
      if (!index_name(std::string_view(file.path).substr(folder.size()))) continue;
      auto map = read_weight_map(file.location, folder);
      if (map) {
        indexes.push_back({.path = file.path, .map = std::move(*map)});
      } else {
        result_.warnings.push_back(shown(file.path) + " is passed over: " + map.error().message);
      }
    }
    return indexes;
  }

  const fs::path& directory_;
  ModelFiles result_;
  std::vector<bool> pointers_;  // by file
  std::vector<UnreadFile> unread_;
};

}  // namespace

Result<ModelFiles> find_model_files(const fs::path& directory) {
  return FileFinder(directory).run();
}

}  // namespace shardswarm
