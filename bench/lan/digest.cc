#include "piece/digest.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "bench/lan/agent.h"
#include "bench/lan/json.h"

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

}  // namespace

int run_digest(const char* directory) {
  std::error_code error;
  if (!fs::is_directory(directory, error)) {
    fmt::print(stderr, "{} is no directory\n", directory);
    return 1;
  }
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
