#include "cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/format.h"

namespace shardswarm::cli {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kLineEvery = std::chrono::seconds(5);
constexpr std::size_t kBarMin = 10;
constexpr std::size_t kBarMax = 40;

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::string_view phase_name(FetchPhase phase) {
  switch (phase) {
    case FetchPhase::kConnecting:
      return "connecting";
    case FetchPhase::kManifest:
      return "manifest";
    case FetchPhase::kChecking:
      return "checking";
    case FetchPhase::kFetching:
      return "fetching";
    case FetchPhase::kFinishing:
      return "finishing";
    case FetchPhase::kDone:
      return "done";
    case FetchPhase::kFailed:
      return "failed";
  }
  return "?";
}

ProgressView::ProgressView(bool quiet)
    : quiet_(quiet),
      terminal_(::isatty(STDERR_FILENO) == 1),
      started_(std::chrono::steady_clock::now()) {}

ProgressView::~ProgressView() { finish(); }

void ProgressView::finish() {
  const std::scoped_lock lock(mutex_);
  if (drawn_ && terminal_) (void)std::fputs("\n", stderr);
  drawn_ = false;
  quiet_ = true;
}

void ProgressView::show(const FetchProgress& progress) {
  const double fraction = progress.wanted_bytes == 0
                              ? 0
                              : static_cast<double>(progress.present_bytes) /
                                    static_cast<double>(progress.wanted_bytes);
  std::string text(phase_name(progress.phase));
  if (progress.wanted_bytes > 0) {
    const auto left = static_cast<double>(progress.wanted_bytes - progress.present_bytes);
    text = fmt::format("{} of {}  {}", bytes_text(progress.present_bytes),
                       bytes_text(progress.wanted_bytes), rate_text(progress.bytes_per_second));
    if (left > 0 && progress.bytes_per_second > 0) {
      text += fmt::format("  {} left", seconds_text(left / progress.bytes_per_second));
    }
  }
  text += fmt::format("  {} peer{}", progress.peers, progress.peers == 1 ? "" : "s");
  draw(fraction, text);
}

void ProgressView::show_indexing(std::uint64_t done, std::uint64_t total) {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  draw(total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total),
       fmt::format("hashing {} of {}  {}", bytes_text(done), bytes_text(total), rate_text(rate)));
}

void ProgressView::draw(double fraction, const std::string& text) {
  const std::scoped_lock lock(mutex_);
  if (quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_) {
    if (now - std::max(last_, started_) < kLineEvery) return;
    last_ = now;
    fmt::print(stderr, "{:3.0f} %  {}\n", fraction * 100, text);
    return;
  }
  if (now - last_ < kRedraw && fraction < 1) return;
  last_ = now;
  drawn_ = true;
  const std::size_t width = terminal_width();
  const std::size_t room = width > text.size() + 10 ? width - text.size() - 10 : 0;
  std::string line;
  if (room >= kBarMin) {
    const std::size_t bar = std::min(room, kBarMax);
    const auto full =
        static_cast<std::size_t>(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(bar));
    line = fmt::format("{:3.0f} % [{:#<{}}{:.<{}}] ", fraction * 100, "", full, "", bar - full);
  }
  fmt::print(stderr, "\r{}\x1b[K", (line + text).substr(0, width - 1));
  (void)std::fflush(stderr);
}

}  // namespace shardswarm::cli
