#include "cli/secret_input.h"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace shardswarm::cli {
namespace {

constexpr std::size_t kBytesMax = 1 << 20;
constexpr int kLookForSignalMs = 100;

// What is typed on this terminal is not shown while this lives. What was typed and not read is
// thrown away when it begins and when it ends.
class NoEcho {
 public:
  NoEcho() {
    if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
  }
  ~NoEcho() {
    if (changed_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

// A terminal hands over whole lines: one with nothing but a newline is an empty one.
bool ends_with_an_empty_line(const std::string& typed) {
  return typed == "\n" || typed.ends_with("\n\n");
}

Result<std::string> read_input(Context& context,
                               const std::function<bool(const std::string&)>& ends) {
  std::string text;
  std::array<char, 4096> block{};
  while (!ends(text)) {
    if (context.signals.interrupted()) return fail(Errc::kCancelled, "interrupted");
    pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (::poll(&input, 1, kLookForSignalMs) <= 0) continue;
    const ssize_t n = ::read(STDIN_FILENO, block.data(), block.size());
    if (n < 0 && errno != EINTR) return fail_errno(errno, "cannot read the standard input");
    if (n == 0) break;
    if (n > 0) text.append(block.data(), static_cast<std::size_t>(n));
    if (text.size() > kBytesMax) {
      return fail(Errc::kMalformed, "the standard input is too long to be a key");
    }
  }
  return text;
}

}  // namespace

Result<std::string> read_secret(Context& context, std::string_view prompt,
                                const std::function<bool(const std::string&)>& whole) {
  if (::isatty(STDIN_FILENO) != 1) {
    return read_input(context, [](const std::string&) { return false; });
  }
  const NoEcho no_echo;
  context.terminal.ask(prompt);
  return read_input(context, [&whole](const std::string& typed) {
    return ends_with_an_empty_line(typed) || (typed.ends_with('\n') && whole(typed));
  });
}

}  // namespace shardswarm::cli
