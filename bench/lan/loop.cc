#include "bench/lan/loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

namespace shardswarm::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kLookAgain{100};  // for conditions that no event announces
constexpr std::chrono::seconds kLocalCommandPatience{600};

}  // namespace

double monotonic_seconds() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

Loop::Loop() : signals_(io_, SIGINT, SIGTERM), processes_(io_) {
  signals_.async_wait([this](const std::error_code& error, int) { interrupted_ = !error; });
}

bool Loop::wait_anyway(const std::function<bool()>& done, std::chrono::duration<double> patience) {
  const double deadline = monotonic_seconds() + patience.count();
  while (!done()) {
    const double left = deadline - monotonic_seconds();
    if (left <= 0) return false;
    io_.run_one_for(std::min<Clock::duration>(
        kLookAgain,
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(left))));
  }
  return true;
}

Result<void> Loop::wait(const std::function<bool()>& done, std::chrono::duration<double> patience,
                        std::string_view what) {
  const bool came = wait_anyway([&] { return interrupted_ || done(); }, patience);
  if (interrupted_) return fail(Errc::kCancelled, "told to end");
  if (!came) {
    return fail(Errc::kStalled, fmt::format("no {} in {:.1f} s", what, patience.count()));
  }
  return {};
}

Result<std::string> Loop::run(const Command& command, std::string input) {
  std::string output;
  auto process = processes_.start(
      command, [&](std::string_view line) { output.append(line).push_back('\n'); }, {});
  if (!process) return std::unexpected(process.error());
  (*process)->write(std::move(input));
  (*process)->close_stdin();
  const auto ended = [&] { return (*process)->ended().has_value(); };
  if (auto waited = wait(ended, kLocalCommandPatience, "end of " + command.argv.front()); !waited) {
    (*process)->signal(SIGKILL);
    wait_anyway(ended, kLocalCommandPatience);
    return std::unexpected(waited.error());
  }
  const ProcessEnd& end = *(*process)->ended();
  if (end.code != 0) {
    return fail(Errc::kInternal, fmt::format("{}: {}", command.argv.front(), end.text()));
  }
  return output;
}

}  // namespace shardswarm::bench
