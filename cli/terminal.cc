#include "cli/terminal.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"

namespace shardswarm::cli {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kLineEvery = std::chrono::seconds(5);

bool set_in_environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before threads
  return value != nullptr && *value != '\0';
}

bool dumb_terminal() {
  const char* name = std::getenv("TERM");  // NOLINT(concurrency-mt-unsafe): before threads
  return name == nullptr || std::string_view(name) == "dumb";
}

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string time_now() {
  return fmt::format(
      "{:%Y-%m-%dT%H:%M:%SZ}",
      fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

struct Prefix {
  std::string_view text;
  std::string_view colour;
};

Prefix prefix_of(LineKind kind) {
  switch (kind) {
    case LineKind::kNote:
      return {};
    case LineKind::kDebug:
      return {"debug: ", "\x1b[36m"};
    case LineKind::kInfo:
      return {"info: ", "\x1b[32m"};
    case LineKind::kWarning:
      return {"warning: ", "\x1b[33m"};
    case LineKind::kError:
      return {"shardswarm: error: ", "\x1b[31m"};
  }
  return {};
}

}  // namespace

Terminal::Terminal()
    : terminal_(::isatty(STDERR_FILENO) == 1), last_(std::chrono::steady_clock::now()) {
  (void)std::setlocale(LC_CTYPE, "");            // NOLINT(concurrency-mt-unsafe): before threads
  const char* codeset = ::nl_langinfo(CODESET);  // NOLINT(concurrency-mt-unsafe): before threads
  utf8_ = std::string_view(codeset) == "UTF-8";
  redraws_ = terminal_ && !dumb_terminal();
  colours_ = redraws_ && !set_in_environment("NO_COLOR");
}

Terminal::~Terminal() { end_status(); }

void Terminal::set_quiet(bool quiet) {
  const std::scoped_lock lock(mutex_);
  quiet_ = quiet;
}

std::string Terminal::shown(std::string_view text) const {
  return utf8_ ? printable(text) : printable_ascii(text);
}

void Terminal::write_result(std::string_view line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) lost_results_ = true;
}

void Terminal::write_error(std::string_view text) {
  // Nobody could be told of a failure.
  (void)std::fwrite(text.data(), 1, text.size(), stderr);
  (void)std::fflush(stderr);
}

void Terminal::result(std::string_view line) {
  const std::scoped_lock lock(mutex_);
  clear_status();
  write_result(shown(line) + "\n");
  draw_status();
}

void Terminal::results(std::string_view lines) {
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    result(lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
}

void Terminal::raw_result(std::string_view line) {
  const std::scoped_lock lock(mutex_);
  clear_status();
  write_result(line);
  write_result("\n");
  // A program that reads along wants each line when it is written.
  if (std::fflush(stdout) != 0) lost_results_ = true;
  draw_status();
}

bool Terminal::lost_results() {
  const std::scoped_lock lock(mutex_);
  if (std::fflush(stdout) != 0) lost_results_ = true;
  return lost_results_;
}

void Terminal::message(LineKind kind, std::string_view text) {
  const std::scoped_lock lock(mutex_);
  if (quiet_ && kind != LineKind::kError) return;
  const Prefix prefix = prefix_of(kind);
  std::string line;
  // Errors and notes stand alone; a log is read later, beside other hosts' logs.
  const bool log =
      kind == LineKind::kDebug || kind == LineKind::kInfo || kind == LineKind::kWarning;
  if (log && !terminal_) line += time_now() + " ";
  const bool coloured = colours_ && !prefix.colour.empty();
  line +=
      coloured ? fmt::format("{}{}\x1b[0m", prefix.colour, prefix.text) : std::string(prefix.text);
  line += shown(text) + "\n";
  clear_status();
  write_error(line);
  draw_status();
}

void Terminal::ask(std::string_view text) {
  const std::scoped_lock lock(mutex_);
  clear_status();
  write_error(shown(text) + "\n");
}

void Terminal::status(const Status& status) {
  const std::scoped_lock lock(mutex_);
  if (quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  if (!redraws_) {
    if (now - last_ < kLineEvery) return;
    last_ = now;
    write_error(time_now() + " " + shown(status_text(status)) + "\n");
    return;
  }
  last_status_ = status;
  if (drawn_ && now - last_ < kRedraw && status.fraction.value_or(0) < 1) return;
  last_ = now;
  drawn_ = true;
  draw_status();
}

void Terminal::end_status() {
  const std::scoped_lock lock(mutex_);
  if (drawn_) {
    draw_status();
    write_error("\n");
  }
  drawn_ = false;
}

void Terminal::clear_status() {
  if (drawn_) write_error("\r\x1b[K");
}

void Terminal::draw_status() {
  if (drawn_) write_error("\r" + shown(status_line(last_status_, terminal_width())) + "\x1b[K");
}

}  // namespace shardswarm::cli
