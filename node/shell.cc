#include "node/shell.h"

#include <pthread.h>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <csignal>
#include <utility>
#include <variant>

#include "node/connection.h"

namespace shardswarm {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr auto kStopTimeout = std::chrono::seconds(3);

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

// sendfile knows no MSG_NOSIGNAL: in a program that does not ignore SIGPIPE, a peer that goes would
// end it. Helpers inherit it.
void block_broken_pipes() {
  sigset_t pipes;
  ::sigemptyset(&pipes);
  ::sigaddset(&pipes, SIGPIPE);
  (void)::pthread_sigmask(SIG_BLOCK, &pipes, nullptr);
}

}  // namespace

Shell::Shell(NodeOptions options, std::optional<Identity> identity, const NodeId& id)
    : context_(std::move(options), std::move(identity), id),
      turns_(
          context_, [this](Action&& action) { carry_out(std::move(action)); },
          [this] { fetches_.let_leave_if_due(); }),
      network_(
          context_, turns_,
          [this](ModelKey model, PieceIndex piece) { stores_.piece_lost(model, piece); },
          [this] { stop_if_quiet(); }),
      stores_(context_, turns_),
      fetches_(context_, turns_, stores_, network_, [this] { stop_if_quiet(); }),
      tick_(context_.io),
      stop_deadline_(context_.io) {}

void Shell::carry_out(Action&& action) {
  std::visit(Overloaded{
                 [this](action::Dial&& a) { network_.dial(a.address); },
                 [this](action::CloseConnection&& a) { network_.finish(a.connection); },
                 [this](action::ManifestReady&& a) { fetches_.manifest_ready(a); },
                 [this](action::StorePiece&& a) { stores_.store(std::move(a)); },
                 [this](action::PreparePiece&& a) { stores_.prepare(a); },
                 [this](action::ReleasePiece&& a) { stores_.release(a); },
                 [this](action::FinishStore&& a) { stores_.finish(a); },
                 [this](action::FetchEnded&& a) { fetches_.ended(std::move(a)); },
                 [this](action::FindShared&& a) { stores_.find_shared(std::move(a)); },
                 [this](action::ShareEnded&& a) { stores_.end_shared(a); },
                 [this](action::Log&& a) {
                   context_.log(a.warning ? LogLevel::kWarning : LogLevel::kInfo, a.text);
                 },
             },
             std::move(action));
}

void Shell::run() {
  block_broken_pipes();
  every_tick();
  network_.start();
  const auto keep = asio::make_work_guard(context_.io);
  context_.io.run();
}

void Shell::every_tick() {
  fetches_.tick();
  tick_.expires_after(kTick);
  tick_.async_wait([this](asio::error_code ec) {
    if (!ec) every_tick();
  });
}

void Shell::stop() {
  if (std::exchange(context_.stopping, true)) return;
  stores_.stop_finding();
  network_.stop_listening();
  fetches_.cancel_all({Errc::kCancelled, "the node was stopped; run it again to resume"});
  context_.core.close_all(CloseReason::kShutdown);
  turns_.schedule();
  fetches_.let_all_leave();
  stop_deadline_.expires_after(kStopTimeout);
  stop_deadline_.async_wait([this](asio::error_code ec) {
    if (ec) return;
    network_.abort_all();
    stop_if_quiet();
  });
  stop_if_quiet();
}

void Shell::stop_if_quiet() {
  if (!context_.stopping || !fetches_.empty() || !context_.connections.empty()) return;
  stop_deadline_.cancel();
  tick_.cancel();
  turns_.stop();
  // What was posted before runs first: closing sockets among it.
  asio::post(context_.io, [this] { context_.io.stop(); });
}

}  // namespace shardswarm
