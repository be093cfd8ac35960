#include "cli/unfinished.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <span>

#include "cli/json.h"
#include "node/shardswarm.h"

namespace shardswarm::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kRecordBytesMax = 64 << 10;
constexpr std::string_view kEnding = ".json";

fs::path settled(const fs::path& directory) {
  std::error_code ignored;
  const fs::path path = fs::weakly_canonical(directory, ignored);
  return path.empty() ? directory : path;
}

bool plain(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,=@%+";
  return !word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos;
}

std::string shell_word(std::string_view word) {
  if (plain(word)) return std::string(word);
  std::string text = "'";
  for (const char c : word) {
    if (c == '\'') {
      text += "'\\''";
    } else {
      text += c;
    }
  }
  return text + "'";
}

}  // namespace

UnfinishedFetches::UnfinishedFetches(const fs::path& state_directory)
    : folder_(state_directory / "unfinished") {}

fs::path UnfinishedFetches::file_of(const fs::path& directory) const {
  const std::string path = settled(directory).string();
  return folder_ / (to_hex(sha256(std::as_bytes(std::span(path)))) + std::string(kEnding));
}

void UnfinishedFetches::add(const fs::path& directory,
                            const std::vector<std::string>& arguments) const {
  std::error_code error;
  fs::create_directories(folder_, error);
  const fs::path file = file_of(directory);
  fs::path part = file;
  part += ".part";
  std::ofstream out(part, std::ios::trunc);
  out << json_text({{"schema", kJsonSchema},
                    {"directory", settled(directory).string()},
                    {"command", "shardswarm " + shell_line(arguments)}})
      << "\n";
  out.close();
  if (out) fs::rename(part, file, error);
}

void UnfinishedFetches::remove(const fs::path& directory) const {
  std::error_code ignored;
  fs::remove(file_of(directory), ignored);
}

std::vector<UnfinishedFetch> UnfinishedFetches::all() const {
  std::vector<UnfinishedFetch> found;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != kEnding || !it->is_regular_file(error) ||
        it->file_size(error) > kRecordBytesMax || error) {
      error.clear();
      continue;
    }
    std::ifstream in(it->path());
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    const Json record = Json::parse(text, nullptr, false);
    if (!record.is_object() || !record.contains("directory") || !record.contains("command") ||
        !record["directory"].is_string() || !record["command"].is_string()) {
      continue;
    }
    UnfinishedFetch fetch{.directory = record["directory"], .command = record["command"]};
    std::error_code gone;
    if (fs::is_directory(fetch.directory, gone)) found.push_back(std::move(fetch));
  }
  std::ranges::sort(found, {}, &UnfinishedFetch::directory);
  return found;
}

std::string shell_line(const std::vector<std::string>& arguments) {
  std::string line;
  for (const std::string& argument : arguments)
    line += (line.empty() ? "" : " ") + shell_word(argument);
  return line;
}

}  // namespace shardswarm::cli
