#include "cli/unfinished.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>

#include "cli/json.h"
#include "node/shardswarm.h"

namespace shardswarm::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kRecordVersion = 1;
constexpr std::uintmax_t kRecordBytesMax = 64 << 10;
constexpr std::string_view kEnding = ".json";

// The same for every way of writing a directory's path, whether it exists or not.
fs::path settled(const fs::path& directory) {
  std::error_code ignored;
  fs::path path = fs::absolute(directory, ignored).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a slash at the end
  const fs::path canonical = fs::weakly_canonical(path, ignored);
  return canonical.empty() ? path : canonical;
}

bool is_plain(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,=@%+";
  return !word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos;
}

std::string shell_word(std::string_view word) {
  if (is_plain(word)) return std::string(word);
  const bool printable = std::ranges::all_of(word, [](char c) { return c >= ' ' && c < 0x7f; });
  std::string text = printable ? "'" : "$'";
  for (const char c : word) {
    if (printable) {
      text += c == '\'' ? "'\\''" : std::string(1, c);
    } else if (c >= ' ' && c < 0x7f && c != '\'' && c != '\\') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return text + "'";
}

// Without a key that was given itself, in place of a file.
std::vector<std::string> without_keys(const std::vector<std::string>& arguments) {
  constexpr std::string_view kOption = "--key";
  std::error_code ignored;
  std::vector<std::string> kept;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == kOption && i + 1 < arguments.size()) {
      ++i;
      if (!fs::is_regular_file(arguments[i], ignored)) continue;
      kept.push_back(argument);
      kept.push_back(arguments[i]);
    } else if (!argument.starts_with("--key=") ||
               fs::is_regular_file(argument.substr(kOption.size() + 1), ignored)) {
      kept.push_back(argument);
    }
  }
  return kept;
}

std::string command_of(const std::vector<std::string>& arguments) {
  std::error_code ignored;
  const std::string folder = fs::current_path(ignored).string();
  return "cd " + shell_word(folder) + " && shardswarm " + shell_line(without_keys(arguments));
}

bool in_use(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (fd < 0) return false;
  const bool locked = ::flock(fd, LOCK_SH | LOCK_NB) != 0;
  (void)::close(fd);
  return locked;
}

std::optional<UnfinishedFetch> read_record(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(file, error)) || error ||
      fs::file_size(file, error) > kRecordBytesMax || error) {
    return std::nullopt;
  }
  std::ifstream in(file);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const Json record = Json::parse(text, nullptr, false);
  if (!record.is_object()) return std::nullopt;
  const auto directory = record.find("directory");
  const auto command = record.find("command");
  if (directory == record.end() || !directory->is_string() || command == record.end() ||
      !command->is_string()) {
    return std::nullopt;
  }
  UnfinishedFetch fetch{.directory = *directory, .command = *command};
  if (!fs::is_directory(fetch.directory, error)) return std::nullopt;
  return fetch;
}

}  // namespace

UnfinishedRecord::UnfinishedRecord(const fs::path& state_directory, const fs::path& directory)
    : directory_(settled(directory).string()),
      file_(state_directory / "unfinished" /
            (to_hex(sha256(std::as_bytes(std::span(directory_)))) + std::string(kEnding))) {}

UnfinishedRecord::~UnfinishedRecord() {
  if (lock_ >= 0) (void)::close(lock_);
}

void UnfinishedRecord::begin(const std::vector<std::string>& arguments) {
  if (lock_ >= 0) return;
  std::error_code error;
  fs::create_directories(file_.parent_path(), error);
  fs::path part = file_;
  part += ".part";
  std::ofstream out(part, std::ios::trunc);
  const Json record = {
      {"version", kRecordVersion}, {"directory", directory_}, {"command", command_of(arguments)}};
  out << json_text(record) << "\n";
  out.close();
  if (out) fs::rename(part, file_, error);
  lock_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (lock_ >= 0) (void)::flock(lock_, LOCK_EX | LOCK_NB);
}

void UnfinishedRecord::end() {
  std::error_code ignored;
  fs::remove(file_, ignored);
}

std::vector<UnfinishedFetch> unfinished_fetches(const fs::path& state_directory) {
  std::vector<UnfinishedFetch> found;
  std::error_code error;
  fs::directory_iterator at(state_directory / "unfinished", error);
  for (const fs::directory_iterator end; !error && at != end; at.increment(error)) {
    const fs::path& file = at->path();
    if (file.extension() != kEnding || in_use(file)) continue;
    if (auto fetch = read_record(file)) found.push_back(std::move(*fetch));
  }
  std::ranges::sort(found, {}, &UnfinishedFetch::directory);
  return found;
}

std::string shell_line(const std::vector<std::string>& arguments) {
  std::string line;
  for (const std::string& argument : arguments) {
    if (!line.empty()) line += ' ';
    line += shell_word(argument);
  }
  return line;
}

}  // namespace shardswarm::cli
