#include "storage/index_walk.h"

#include <simdjson.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "piece/limits.h"
#include "storage/file.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr int kDepthMax = 32;
constexpr std::uint64_t kIndexBytesMax = 256 * limits::kMiB;
constexpr std::string_view kTensorsEnding = ".safetensors";
constexpr std::string_view kIndexEnding = ".safetensors.index.json";

Result<void> walk_folder(const fs::path& folder, const std::string& prefix, int depth,
                         std::vector<WalkedFile>& files) {
  if (depth > kDepthMax) {
    return fail(Errc::kLimit, folder.string() + ": folders nest deeper than " +
                                  std::to_string(kDepthMax) + " (a link to itself?)");
  }
  std::error_code ec;
  for (auto it = fs::directory_iterator(folder, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with('.')) continue;
    std::error_code status_error;
    const fs::file_status status = it->status(status_error);  // follows links
    if (status_error || status.type() == fs::file_type::not_found) {
      return fail(Errc::kNotFound, it->path().string() + " is a link to nothing");
    }
    if (status.type() == fs::file_type::directory) {
      auto walked = walk_folder(it->path(), prefix + name + "/", depth + 1, files);
      if (!walked) return walked;
    } else if (status.type() == fs::file_type::regular) {
      if (auto checked = check_path(prefix + name); !checked) {
        return fail(checked.error().code, it->path().string() + ": " + checked.error().message);
      }
      if (files.size() == limits::kFilesMax) {
        return fail(Errc::kLimit, folder.string() + " holds more than " +
                                      std::to_string(limits::kFilesMax) + " files");
      }
      const bool tensors = name.ends_with(kTensorsEnding);
      files.push_back({.path = prefix + name,
                       .location = it->path(),
                       .kind = tensors ? FileKind::kTensors : FileKind::kPlain});
    }
  }
  if (ec) return fail_errno(ec.value(), "cannot list " + folder.string());
  return {};
}

// Files that an index names, as paths below its own folder.
Result<std::set<std::string>> named_files(const WalkedFile& index) {
  const auto bad = [&](std::string_view why) {
    return fail(Errc::kMalformed, index.location.string() + ": " + std::string(why));
  };
  auto bytes = read_small_file(index.location, kIndexBytesMax);
  if (!bytes) return std::unexpected(bytes.error());
  if (bytes->empty()) return bad("it is empty");
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const auto error =
      parser.parse(reinterpret_cast<const char*>(bytes->data()), bytes->size(), true).get(root);
  if (error != simdjson::SUCCESS) {
    return bad(std::string("no valid JSON: ") + simdjson::error_message(error));
  }
  simdjson::dom::object map;
  if (root["weight_map"].get(map) != simdjson::SUCCESS) return bad("it has no weight_map");
  std::set<std::string> names;
  for (const auto& [tensor, file] : map) {
    std::string_view name;
    if (file.get(name) != simdjson::SUCCESS)
      return bad("weight_map holds something else than names");
    names.emplace(name);
  }
  return names;
}

Result<void> apply_indexes(std::vector<WalkedFile>& files) {
  std::map<std::string, std::set<std::string>> named_by_folder;
  for (const WalkedFile& file : files) {
    if (!file.path.ends_with(kIndexEnding)) continue;
    auto names = named_files(file);
    if (!names) return std::unexpected(names.error());
    const std::string folder = file.path.substr(0, file.path.rfind('/') + 1);
    for (const std::string& name : *names) {
      const bool here = std::any_of(files.begin(), files.end(), [&](const WalkedFile& other) {
        return other.path == folder + name && other.kind == FileKind::kTensors;
      });
      if (!here) {
        return fail(Errc::kMalformed, file.location.string() + " names '" + name.substr(0, 200) +
                                          "', which is not there: the download is incomplete");
      }
    }
    named_by_folder[folder].merge(*names);
  }
  for (WalkedFile& file : files) {
    if (file.kind != FileKind::kTensors) continue;
    const std::size_t slash = file.path.rfind('/');
    const std::size_t name_at = slash == std::string::npos ? 0 : slash + 1;
    const auto folder = named_by_folder.find(file.path.substr(0, name_at));
    if (folder != named_by_folder.end() && !folder->second.contains(file.path.substr(name_at))) {
      file.kind = FileKind::kSpareTensors;
    }
  }
  return {};
}

}  // namespace

Result<std::vector<WalkedFile>> walk_model(const fs::path& directory) {
  std::error_code ec;
  if (!fs::is_directory(directory, ec)) {
    return fail(Errc::kNotFound, directory.string() + " is no directory");
  }
  std::vector<WalkedFile> files;
  if (auto walked = walk_folder(directory, "", 0, files); !walked) {
    return std::unexpected(walked.error());
  }
  if (files.empty()) return fail(Errc::kNotFound, directory.string() + " holds no files");
  std::ranges::sort(files, {}, &WalkedFile::path);
  if (auto applied = apply_indexes(files); !applied) return std::unexpected(applied.error());
  return files;
}

}  // namespace shardswarm
