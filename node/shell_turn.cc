// The shell's turns: receive, settle, send.
#include <algorithm>
#include <asio/post.hpp>
#include <utility>
#include <vector>

#include "node/shell.h"

namespace shardswarm {
namespace {

// Until sockets are asked again whether they are readable: on loopback 3 MB go out in it.
constexpr auto kTurnLasts = std::chrono::milliseconds(2);
constexpr auto kLeaveLook = std::chrono::milliseconds(4);  // it goes through all pieces
// Less is moved in the time that a thread takes to wake up: 10 to 20 us, of copying.
constexpr std::size_t kWorthAThread = 64 * limits::kKiB;

}  // namespace

void Shell::schedule_turn() {
  if (turn_posted_) return;
  turn_posted_ = true;
  asio::post(io_, [this] { turn(); });
}

void Shell::to_receive(ConnectionId id) {
  to_receive_.insert(id);
  schedule_turn();
}

void Shell::to_send(ConnectionId id) {
  to_send_.insert(id);
  schedule_turn();
}

void Shell::turn() {
  // Sending tells the core what was sent, which lets it choose further pieces: until all is quiet,
  // or others have waited long enough for their turn. What calls for it meanwhile is seen here.
  const Time until = now() + kTurnLasts;
  FlatSet<ConnectionId> later;  // who has received its part
  bool quiet = false;
  while (!quiet && now() < until) {
    for (const ConnectionId id : receive()) later.insert(id);
    core_->settle(now());
    auto actions = core_->take_actions();
    for (Action& action : actions) {
      std::visit([this](auto&& what) { carry_out(std::forward<decltype(what)>(what)); },
                 std::move(action));
    }
    quiet = !send() && actions.empty() && to_receive_.empty();
  }
  turn_posted_ = false;
  to_receive_.insert(later.begin(), later.end());
  if (!quiet || !to_receive_.empty() || !to_send_.empty()) schedule_turn();
  if (!leaving_.empty() && std::chrono::steady_clock::now() - looked_who_leaves_ > kLeaveLook) {
    let_leave();
  }
  arm_timer();
}

std::vector<std::shared_ptr<Connection>> Shell::connections_of(
    const FlatSet<ConnectionId>& ids) const {
  std::vector<std::shared_ptr<Connection>> found;
  for (const ConnectionId id : ids) {
    if (const auto it = connections_.find(id); it != connections_.end()) {
      found.push_back(it->second);
    }
  }
  return found;
}

// Until none of them has anything more to move that way.
void Shell::pass(std::vector<std::shared_ptr<Connection>> connections, bool (Connection::*begin)(),
                 bool (Connection::*end)()) {
  for (const auto& connection : connections) connection->begin_pass();
  while (!connections.empty()) {
    std::erase_if(connections, [&](const auto& c) { return !((*c).*begin)(); });
    move(connections);
    std::erase_if(connections, [&](const auto& c) { return !((*c).*end)(); });
  }
}

// Who has more to receive than its part.
FlatSet<ConnectionId> Shell::receive() {
  const auto connections = connections_of(std::exchange(to_receive_, {}));
  pass(connections, &Connection::begin_receive, &Connection::end_receive);
  FlatSet<ConnectionId> more;
  for (const auto& connection : connections) {
    if (connection->had_its_part()) more.insert(connection->id());
  }
  return more;
}

// Whether there was anybody to send to.
bool Shell::send() {
  auto ids = core_->take_output_ready();
  for (const ConnectionId id : std::exchange(to_send_, {})) ids.insert(id);
  const auto connections = connections_of(ids);
  pass(connections, &Connection::begin_send, &Connection::end_send);
  for (const auto& connection : connections) connection->resume_receive();
  return !connections.empty();
}

void Shell::move(const std::vector<std::shared_ptr<Connection>>& connections) {
  const auto much = static_cast<std::size_t>(std::ranges::count_if(
      connections, [](const auto& c) { return c->expected() >= kWorthAThread; }));
  const unsigned before = moving_.threads();
  moving_.run(connections.size(), much, [&](std::size_t i) { connections[i]->move(); });
  if (moving_.threads() > before) {
    log(LogLevel::kDebug, std::to_string(moving_.threads()) + " threads move bytes");
  }
}

void Shell::arm_timer() {
  const auto due = core_->next_deadline();
  if (!due) {
    timer_.cancel();
    return;
  }
  // At least a millisecond: a deadline that settle() could not meet must not spin.
  timer_.expires_at(
      std::max(started_ + *due, std::chrono::steady_clock::now() + std::chrono::milliseconds(1)));
  timer_.async_wait([this](asio::error_code ec) {
    if (!ec) schedule_turn();
  });
}

}  // namespace shardswarm
