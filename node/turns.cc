#include "node/turns.h"

#include <algorithm>
#include <asio/post.hpp>
#include <string>
#include <thread>
#include <utility>

#include "node/connection.h"
#include "node/shell_context.h"

namespace shardswarm {
namespace {

// Until sockets are asked again whether they are readable: on loopback 3 MB go out in it.
constexpr auto kTurnLasts = std::chrono::milliseconds(2);
// Less is moved in the time that a thread takes to wake up: 10 to 20 us, of copying.
constexpr std::size_t kWorthAThread = 64 * limits::kKiB;
// Of moving, hashing and writing a piece, moving is a fifth, under TLS two fifths
// (docs/data-path.md): so one in four cores, and no helper below eight.
constexpr unsigned kCoresPerNetworkThread = 4;
constexpr unsigned kNetworkThreadsAutoMax = 8;

unsigned network_threads(unsigned asked) {
  if (asked != 0) return asked;
  return std::clamp(std::thread::hardware_concurrency() / kCoresPerNetworkThread, 1U,
                    kNetworkThreadsAutoMax);
}

}  // namespace

Turns::Turns(ShellContext& context, CarryOut carry_out, std::function<void()> after_turn)
    : context_(context),
      carry_out_(std::move(carry_out)),
      after_turn_(std::move(after_turn)),
      timer_(context.io),
      moving_(network_threads(context.options.network_threads)) {}

void Turns::schedule() {
  if (std::exchange(posted_, true)) return;
  asio::post(context_.io, [this] { turn(); });
}

void Turns::to_receive(ConnectionId id) {
  to_receive_.insert(id);
  schedule();
}

void Turns::to_send(ConnectionId id) {
  to_send_.insert(id);
  schedule();
}

void Turns::turn() {
  // Sending tells the core what was sent, which lets it choose further pieces: until all is quiet,
  // or others have waited long enough for their turn. What calls for it meanwhile is seen here.
  Core& core = context_.core;
  const Time until = context_.now() + kTurnLasts;
  FlatSet<ConnectionId> later;  // who has received its part
  bool quiet = false;
  while (!quiet && context_.now() < until) {
    for (const ConnectionId id : receive()) later.insert(id);
    core.settle(context_.now());
    auto actions = core.take_actions();
    for (Action& action : actions) carry_out_(std::move(action));
    quiet = !send() && actions.empty() && to_receive_.empty();
  }
  posted_ = false;
  to_receive_.insert(later.begin(), later.end());
  if (!quiet || !to_receive_.empty() || !to_send_.empty()) schedule();
  after_turn_();
  arm_timer();
}

Turns::Connections Turns::connections_of(const FlatSet<ConnectionId>& ids) const {
  Connections found;
  for (const ConnectionId id : ids) {
    if (auto connection = context_.connection(id)) found.push_back(std::move(connection));
  }
  return found;
}

// Until none of them has anything more to move that way.
void Turns::pass(Connections connections, bool (Connection::*begin)(), bool (Connection::*end)()) {
  for (const auto& connection : connections) connection->begin_pass();
  while (!connections.empty()) {
    std::erase_if(connections, [&](const auto& c) { return !((*c).*begin)(); });
    move(connections);
    std::erase_if(connections, [&](const auto& c) { return !((*c).*end)(); });
  }
}

// Who has more to receive than its part.
FlatSet<ConnectionId> Turns::receive() {
  const auto connections = connections_of(std::exchange(to_receive_, {}));
  pass(connections, &Connection::begin_receive, &Connection::end_receive);
  FlatSet<ConnectionId> more;
  for (const auto& connection : connections) {
    if (connection->had_its_part()) more.insert(connection->id());
  }
  return more;
}

// Whether there was anybody to send to.
bool Turns::send() {
  auto ids = context_.core.take_output_ready();
  for (const ConnectionId id : std::exchange(to_send_, {})) ids.insert(id);
  const auto connections = connections_of(ids);
  pass(connections, &Connection::begin_send, &Connection::end_send);
  for (const auto& connection : connections) connection->resume_receive();
  return !connections.empty();
}

void Turns::move(const Connections& connections) {
  const auto much = static_cast<std::size_t>(std::ranges::count_if(
      connections, [](const auto& c) { return c->expected() >= kWorthAThread; }));
  const unsigned before = moving_.threads();
  moving_.run(connections.size(), much, [&](std::size_t i) { connections[i]->move(); });
  if (moving_.threads() > before) {
    context_.log(LogLevel::kDebug, std::to_string(moving_.threads()) + " threads move bytes");
  }
}

void Turns::arm_timer() {
  const auto due = context_.core.next_deadline();
  if (!due) {
    timer_.cancel();
    return;
  }
  // At least a millisecond: a deadline that settle() could not meet must not spin.
  timer_.expires_at(std::max(context_.started + *due,
                             std::chrono::steady_clock::now() + std::chrono::milliseconds(1)));
  timer_.async_wait([this](asio::error_code ec) {
    if (!ec) schedule();
  });
}

}  // namespace shardswarm
