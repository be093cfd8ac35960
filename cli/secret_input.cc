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

// What is typed on this terminal is not shown, until it goes.
class NoEcho {
 public:
  NoEcho() {
    if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &quiet) == 0;
  }
  ~NoEcho() {
    if (changed_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

bool ends(const std::string& typed) {
  if (typed.find("-----BEGIN") == std::string::npos) return typed.find('\n') != std::string::npos;
  return typed.find("-----END CERTIFICATE-----") != std::string::npos;
}

Result<std::string> read_input(Context& context, bool terminal) {
  std::string text;
  std::array<char, 4096> block{};
  while (!(terminal && ends(text))) {
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

Result<std::string> read_secret(Context& context, std::string_view prompt) {
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (!terminal) return read_input(context, false);
  const NoEcho no_echo;
  context.terminal.note(prompt);
  return read_input(context, true);
}

}  // namespace shardswarm::cli
