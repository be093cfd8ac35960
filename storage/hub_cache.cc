#include "storage/hub_cache.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/text.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kRefBytesMax = 1024;
constexpr std::size_t kListedMax = 12;

bool is_folder(const fs::path& path) {
  std::error_code ec;
  return fs::is_directory(path, ec);
}

// Names of the folders in a folder that do not begin with '.', sorted.
std::vector<std::string> folders_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    std::string name = it->path().filename().string();
    if (!name.starts_with('.') && is_folder(it->path())) names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  return names;
}

bool is_repository(const fs::path& folder) {
  return is_folder(folder / "snapshots") &&
         (is_folder(folder / "refs") || is_folder(folder / "blobs")) &&
         !fs::exists(folder / "config.json");
}

bool names_repository(std::string_view name) {
  constexpr std::array<std::string_view, 3> kKinds = {"models--", "datasets--", "spaces--"};
  return std::ranges::any_of(kKinds, [&](std::string_view kind) { return name.starts_with(kind); });
}

std::string listed(const fs::path& folder, const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kListedMax; ++i) {
    text += (i == 0 ? "" : ", ") + printable((folder / names[i]).string());
  }
  if (names.size() > kListedMax)
    text += " and " + std::to_string(names.size() - kListedMax) + " more";
  return text;
}

// The commit that refs/main names; empty when it names none of the snapshots.
std::string main_commit(const fs::path& repository, const std::vector<std::string>& snapshots) {
  const auto bytes = read_small_file(repository / "refs" / "main", kRefBytesMax);
  if (!bytes) return "";
  std::string commit(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  commit.erase(commit.find_last_not_of(" \t\r\n") + 1);
  return std::ranges::find(snapshots, commit) == snapshots.end() ? "" : commit;
}

Result<ModelPlace> snapshot_of(const fs::path& repository) {
  const fs::path folder = repository / "snapshots";
  const std::vector<std::string> snapshots = folders_in(folder);
  const std::string name = printable(repository.string());
  if (snapshots.empty()) {
    return fail(Errc::kNotFound, name +
                                     " is a repository of the Hugging Face cache without a "
                                     "snapshot: download the model first");
  }
  std::string commit = main_commit(repository, snapshots);
  const bool by_ref = !commit.empty();
  if (!by_ref && snapshots.size() > 1) {
    return fail(Errc::kUsage, name + " is a repository of the Hugging Face cache with " +
                                  std::to_string(snapshots.size()) +
                                  " snapshots, and refs/main names none of them: give one of " +
                                  listed(folder, snapshots));
  }
  if (!by_ref) commit = snapshots.front();
  return ModelPlace{.directory = folder / commit,
                    .note = name + " is a repository of the Hugging Face cache: its snapshot " +
                            printable(commit) +
                            (by_ref ? " (refs/main) is taken" : " (the only one) is taken")};
}

}  // namespace

Result<ModelPlace> find_model_place(const fs::path& directory) {
  // "models--a--b/" and "." are called by their own name.
  std::error_code ec;
  const fs::path canonical = fs::canonical(directory, ec);
  if (ec) return ModelPlace{.directory = directory, .note = {}};
  if (is_repository(directory)) return snapshot_of(directory);
  if (canonical.filename() == "snapshots" && is_repository(canonical.parent_path())) {
    return snapshot_of(canonical.parent_path());
  }
  std::vector<std::string> repositories;
  for (std::string& name : folders_in(directory)) {
    if (names_repository(name) && is_folder(directory / name / "snapshots")) {
      repositories.push_back(std::move(name));
    }
  }
  if (repositories.empty()) return ModelPlace{.directory = directory, .note = {}};
  return fail(Errc::kUsage, printable(directory.string()) +
                                " is the whole Hugging Face cache: give one of " +
                                listed(directory, repositories));
}

}  // namespace shardswarm
