#include "storage/index_walk.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/limits.h"
#include "base/text.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDepthMax = 64;

// One walk, from one thread. Keeps the folders that it is in, so that a link back to one of them is
// seen at once instead of after all the depth that paths have.
class Walker {
 public:
  Result<Walk> run(const fs::path& directory) && {
    if (auto walked = enter(directory, ""); !walked) return std::unexpected(walked.error());
    std::ranges::sort(walk_.files, {}, &WalkedFile::path);
    return std::move(walk_);
  }

 private:
  Result<void> enter(const fs::path& folder, const std::string& prefix) {
    struct stat status{};
    if (::stat(folder.c_str(), &status) != 0) return no_folder(folder, prefix, errno);
    const std::pair identity(status.st_dev, status.st_ino);
    if (std::ranges::find(inside_, identity) != inside_.end()) {
      leave_out(prefix, "is a link to a folder that it is in");
      return {};
    }
    if (inside_.size() == kDepthMax) {
      leave_out(prefix, "lies deeper than " + std::to_string(kDepthMax) + " folders");
      return {};
    }
    inside_.push_back(identity);
    auto listed = list(folder, prefix);
    inside_.pop_back();
    return listed;
  }

  Result<void> list(const fs::path& folder, const std::string& prefix) {
    std::error_code ec;
    fs::directory_iterator it(folder, ec);
    if (ec) return no_folder(folder, prefix, ec.value());
    for (; it != fs::directory_iterator(); it.increment(ec)) {
      const std::string name = it->path().filename().string();
      if (name.starts_with('.')) continue;
      if (auto added = add(it->path(), prefix + name); !added) return added;
      if (ec) break;
    }
    if (ec) return fail_errno(ec.value(), "cannot list " + printable(folder.string()));
    return {};
  }

  Result<void> add(const fs::path& location, const std::string& path) {
    struct stat status{};
    if (::stat(location.c_str(), &status) != 0) {
      leave_out(path, errno == ENOENT ? "is a link to nothing"
                      : errno == ELOOP
                          ? "is a link that leads back to itself"
                          : "cannot be read (" + std::generic_category().message(errno) + ")");
      return {};
    }
    if (S_ISDIR(status.st_mode)) return enter(location, path + "/");
    if (!S_ISREG(status.st_mode)) {
      leave_out(path, S_ISFIFO(status.st_mode)   ? "is a named pipe"
                      : S_ISSOCK(status.st_mode) ? "is a socket"
                                                 : "is a device");
      return {};
    }
    if (path.size() > limits::kPathBytesMax) {
      leave_out(path,
                "has a path of more than " + std::to_string(limits::kPathBytesMax) + " bytes");
      return {};
    }
    if (walk_.files.size() == limits::kFilesMax) {
      return fail(Errc::kLimit,
                  "the directory holds more than " + std::to_string(limits::kFilesMax) + " files");
    }
    walk_.files.push_back({.path = path, .location = location});
    return {};
  }

  // The directory itself must be readable; a folder in it may be somebody else's.
  Result<void> no_folder(const fs::path& folder, const std::string& prefix, int error) {
    if (prefix.empty() || (error != EACCES && error != EPERM && error != ENOENT)) {
      return fail_errno(error, "cannot list " + printable(folder.string()));
    }
    leave_out(prefix, "cannot be listed (" + std::generic_category().message(error) + ")");
    return {};
  }

  void leave_out(std::string path, std::string cause) {
    walk_.unread.push_back({.path = std::move(path), .cause = std::move(cause)});
  }

  Walk walk_;
  std::vector<std::pair<dev_t, ino_t>> inside_;
};

}  // namespace

Result<Walk> walk_model(const fs::path& directory) {
  std::error_code ec;
  const fs::file_status status = fs::status(directory, ec);
  if (status.type() == fs::file_type::not_found) {
    return fail(Errc::kNotFound, printable(directory.string()) + " does not exist");
  }
  if (!ec && status.type() != fs::file_type::directory) {
    return fail(Errc::kNotFound, printable(directory.string()) + " is not a directory");
  }
  auto walk = Walker().run(directory);
  if (walk && walk->files.empty()) {
    return fail(Errc::kNotFound, printable(directory.string()) + " holds no files" +
                                     (walk->unread.empty() ? "" : " that can be read"));
  }
  return walk;
}

}  // namespace shardswarm
