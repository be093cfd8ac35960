#include "bench/lan/deploy.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "piece/digest.h"

namespace shardswarm::bench {
namespace {

namespace fs = std::filesystem;

struct File {
  fs::path from;
  std::string to;  // below the directory on the host
  std::string bytes;
};

Result<std::vector<File>> files_to_copy(const Options& options) {
  std::vector<File> files;
  for (const char* name : {"shardswarm-bench", "shardswarm", "shardswarm-make-checkpoint"}) {
    files.push_back({.from = options.programs / name, .to = name});
  }
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(options.root / "bench" / "rivals", none)) {
    if (entry.path().extension() == ".py") {
      files.push_back({.from = entry.path(), .to = "rivals/" + entry.path().filename().string()});
    }
  }
  std::ranges::sort(files, {}, &File::to);
  for (File& file : files) {
    std::ifstream stream(file.from, std::ios::binary);
    std::ostringstream bytes;
    bytes << stream.rdbuf();
    if (!stream) return fail(Errc::kIo, fmt::format("cannot read {}", file.from.string()));
    file.bytes = std::move(bytes).str();
  }
  return files;
}

// Names the directory: other builds have others, and a half copied one is never taken for whole.
std::string digest_of(const std::vector<File>& files) {
  Sha256 sha;
  for (const File& file : files) {
    const std::string head = fmt::format("{}:{}\n", file.to, file.bytes.size());
    sha.update(std::as_bytes(std::span(head)));
    sha.update(std::as_bytes(std::span(file.bytes)));
  }
  return to_hex(sha.finish()).substr(0, 16);
}

Result<std::string> remote(Loop& loop, const Options& options, const HostSpec& host,
                           const std::string& script, std::string input = {}) {
  std::vector<std::string> words = ssh_words(options, host);
  words.push_back("exec sh -c " + shell_quoted(script));
  auto output = loop.run({.argv = std::move(words)}, std::move(input));
  if (!output && output.error().code == Errc::kInternal) {
    return fail(Errc::kUnreachable, fmt::format("{}: {}", host.name, output.error().message));
  }
  return output;
}

}  // namespace

std::string shell_quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::vector<std::string> ssh_words(const Options& options, const HostSpec& host) {
  std::vector<std::string> words;
  std::istringstream command(options.ssh);
  for (std::string word; command >> word;) words.push_back(word);
  // Nobody is there to be asked. Without a terminal of its own the remote side sees stdin's end.
  words.insert(words.end(), {"-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"});
  if (host.port != 0) words.insert(words.end(), {"-p", std::to_string(host.port)});
  words.insert(words.end(), {"--", host.target});
  return words;
}

Result<Programs> deploy(Loop& loop, const Options& options, const HostSpec& host) {
  const auto files = files_to_copy(options);
  if (!files) return std::unexpected(files.error());
  const std::string directory = shell_quoted(options.remote_directory + "/" + digest_of(*files));
  const auto found = remote(loop, options, host,
                            fmt::format("mkdir -p {0}/rivals && cd {0} && pwd -P && "
                                        "if test -e complete; then echo complete; fi",
                                        directory));
  if (!found) return std::unexpected(found.error());
  const std::string place = found->substr(0, found->find('\n'));
  if (found->find("\ncomplete\n") == std::string::npos) {
    for (const File& file : *files) {
      const std::string to = shell_quoted(place + "/" + file.to);
      const auto copied = remote(
          loop, options, host,
          fmt::format("cat > {0}.part && chmod 755 {0}.part && mv {0}.part {0}", to), file.bytes);
      if (!copied) return std::unexpected(copied.error());
    }
    const auto marked = remote(loop, options, host, "touch " + shell_quoted(place + "/complete"));
    if (!marked) return std::unexpected(marked.error());
  }
  return Programs{.bench = place + "/shardswarm-bench",
                  .shardswarm = place + "/shardswarm",
                  .make_checkpoint = place + "/shardswarm-make-checkpoint",
                  .rivals = place + "/rivals"};
}

}  // namespace shardswarm::bench
