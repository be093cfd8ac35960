// What an agent's host does with the files of a model, each a process of its own.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "bench/lan/agent.h"
#include "bench/lan/json.h"
#include "piece/digest.h"

namespace shardswarm::bench {
namespace {

namespace fs = std::filesystem;

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

std::vector<fs::path> files_below(const fs::path& directory) {
  std::vector<fs::path> files;
  for (auto entry = fs::recursive_directory_iterator(directory);
       entry != fs::recursive_directory_iterator(); ++entry) {
    if (is_hidden(entry->path())) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file()) {
      files.push_back(entry->path());
    }
  }
  std::ranges::sort(files);
  return files;
}

std::string digest_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> buffer(1 << 20);
  Sha256 sha;
  while (file) {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    sha.update(std::as_bytes(std::span(buffer.data(), static_cast<std::size_t>(file.gcount()))));
  }
  return to_hex(sha.finish());
}

bool is_directory(const char* directory) {
  std::error_code error;
  if (fs::is_directory(directory, error)) return true;
  fmt::print(stderr, "{} is no directory\n", directory);
  return false;
}

// Only clean pages go.
bool evict(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done =
      file >= 0 && ::fdatasync(file) == 0 && ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0;
  if (file >= 0) ::close(file);
  return done;
}

}  // namespace

int run_evict(const char* directory) {
  constexpr long kTmpfs = 0x01021994;
  if (!is_directory(directory)) return 1;
  struct statfs where{};
  if (::statfs(directory, &where) == 0 && where.f_type == kTmpfs) {
    fmt::print(stderr, "{} is in memory: nothing there is ever cold\n", directory);
    return 1;
  }
  for (const fs::path& path : files_below(directory)) {
    if (evict(path)) continue;
    fmt::print(stderr, "cannot take {} out of the page cache\n", path.string());
    return 1;
  }
  return 0;
}

int run_digest(const char* directory) {
  if (!is_directory(directory)) return 1;
  for (const fs::path& path : files_below(directory)) {
    const Json line = {{"path", path.lexically_relative(directory).string()},
                       {"size", fs::file_size(path)},
                       {"sha256", digest_of(path)}};
    fmt::print("{}\n", line.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  fmt::print("{}\n", Json({{"event", "done"}}).dump());
  return 0;
}

}  // namespace shardswarm::bench
