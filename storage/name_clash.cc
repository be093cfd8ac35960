#include "storage/name_clash.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/text.h"
#include "storage/meta_dir.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kProbeName = "probe";

// The path as the least exact file system would have it, if all of it is ASCII.
std::string folded(std::string_view path) {
  std::string text;
  const auto end_component = [&] {
    while (!text.empty() && (text.back() == '.' || text.back() == ' ')) text.pop_back();
  };
  for (const char c : path) {
    if (c == '/') end_component();
    text += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  end_component();
  return text;
}

// Whether any file system could take two of the paths for one. How other scripts fold differs from
// one file system to the next, so any of their characters makes the paths suspect.
bool suspect(const std::vector<std::string>& paths) {
  std::set<std::string> names;
  std::set<std::string> folders;
  for (const std::string& path : paths) {
    if (std::ranges::any_of(path, [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
      return true;
    }
    std::string name = folded(path);
    for (std::size_t slash = name.find('/'); slash != std::string::npos;
         slash = name.find('/', slash + 1)) {
      folders.insert(name.substr(0, slash));
    }
    if (!names.insert(std::move(name)).second) return true;
  }
  return std::ranges::any_of(names,
                             [&](const std::string& name) { return folders.contains(name); });
}

// The names, made one after the other in a folder that nothing else is in.
class Probe {
 public:
  Probe(int root, const fs::path& directory) : root_(root), directory_(directory) {}
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  ~Probe() {
    std::error_code ignored;
    fs::remove_all(directory_ / kMetaDirName / kProbeName, ignored);
  }

  Result<void> make(const std::string& path) {
    const fs::path below = fs::path(kMetaDirName) / kProbeName / path;
    auto there = open_beneath(root_, below, O_RDONLY | O_NONBLOCK);
    if (there) return clash(path, there->get());
    if (there.error().code == Errc::kForeign) return clash(path, -1);
    if (there.error().code != Errc::kNotFound) return std::unexpected(there.error());
    const auto made = open_beneath(root_, below, O_WRONLY | O_CREAT | O_EXCL);
    if (!made) return std::unexpected(made.error());
    const auto identity = identity_of(made->get(), path);
    if (!identity) return std::unexpected(identity.error());
    by_inode_[identity->inode] = path;
    return {};
  }

 private:
  std::unexpected<Error> clash(const std::string& path, int fd) const {
    std::string other = "another file";
    const auto identity = fd >= 0 ? identity_of(fd, path) : fail(Errc::kNotFound, "");
    const auto known = identity ? by_inode_.find(identity->inode) : by_inode_.end();
    if (known != by_inode_.end()) other = shown(known->second);
    return fail(Errc::kForeign, shown(path) + " and " + other +
                                    " of this model are one name in the file system of " +
                                    printable(directory_.string()) +
                                    ": fetch into another file system, or select only one of them");
  }

  int root_;
  const fs::path& directory_;
  std::map<std::uint64_t, std::string> by_inode_;
};

}  // namespace

Result<void> check_names(int root, const fs::path& directory,
                         const std::vector<std::string>& paths) {
  if (!suspect(paths)) return {};
  Probe probe(root, directory);
  for (const std::string& path : paths) {
    if (auto made = probe.make(path); !made) return made;
  }
  return {};
}

}  // namespace shardswarm
